//! Continuous jobs of a control plane, over gRPC.

use async_trait::async_trait;
use dcp_model::primitive::Address;
use dcp_proto::control::v1 as proto;
use dcp_proto::control::v1::continuous_jobs_client::ContinuousJobsClient;
use dcp_server::client::AuthenticatedChannel;
use jiff::Timestamp;

use super::store::Event;
use super::{ContinuousJobs, JobStatus, Leader, Request};
use crate::registry::Result;
use crate::registry::remote::Remote;
use crate::state::Scope;
use crate::wire::jobs as wire;

#[async_trait]
impl ContinuousJobs for Remote {
    async fn leader(&self) -> Result<Option<Leader>> {
        let ask = |mut client: ContinuousJobsClient<AuthenticatedChannel>| async move {
            Ok(client.leader(proto::LeaderRequest {}).await?.into_inner())
        };
        let response = self.call_jobs(ask).await?;
        wire::read_leader(response).map_err(|what| self.unreadable(what))
    }

    async fn jobs(&self, scope: &Scope, address: Option<&Address>) -> Result<Vec<JobStatus>> {
        let request =
            proto::JobsRequest { scope: scope.to_string(), address: address.map(ToString::to_string) };
        let response = self
            .call_jobs(|mut client| {
                let request = request.clone();
                async move {
                    let mut parts = client.jobs(request).await?.into_inner();
                    let mut jobs = Vec::new();
                    while let Some(part) = parts.message().await? {
                        jobs.extend(part.jobs);
                    }
                    Ok(jobs)
                }
            })
            .await?;
        response.iter().map(|it| wire::read_status(it).map_err(|what| self.unreadable(what))).collect()
    }

    /// The control plane sets the caller and the time itself.
    async fn request(
        &self,
        scope: &Scope,
        address: &Address,
        request: Request,
        _: &str,
        _: Timestamp,
    ) -> Result<()> {
        let request = proto::RequestJobRequest {
            scope: scope.to_string(),
            address: address.to_string(),
            request: wire::request(request),
        };
        self.call_jobs(|mut client| {
            let request = request.clone();
            async move { client.request_job(request).await.map(drop) }
        })
        .await
    }

    async fn events(&self, scope: &Scope, address: &Address, limit: u32) -> Result<Vec<Event>> {
        let request = proto::EventsRequest { scope: scope.to_string(), address: address.to_string(), limit };
        let response = self
            .call_jobs(|mut client| {
                let request = request.clone();
                async move { Ok(client.events(request).await?.into_inner().events) }
            })
            .await?;
        response.into_iter().map(|it| wire::read_event(it).map_err(|what| self.unreadable(what))).collect()
    }
}
