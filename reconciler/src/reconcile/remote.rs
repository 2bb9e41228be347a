//! Continuous jobs of a control plane, over gRPC.

use async_trait::async_trait;
use dcp_model::primitive::Address;
use dcp_proto::control::v1 as proto;
use dcp_proto::control::v1::continuous_jobs_client::ContinuousJobsClient;
use dcp_server::client::AuthenticatedChannel;
use jiff::Timestamp;

use super::store::Event;
use super::{ContinuousJobs, Leader, Overview, Request};
use crate::registry::Result;
use crate::registry::remote::Remote;
use crate::state::Scope;
use crate::wire::job_status::read_status;
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

    async fn jobs(&self, scope: &Scope, address: Option<&Address>) -> Result<Overview> {
        let request =
            proto::JobsRequest { scope: scope.to_string(), address: address.map(ToString::to_string) };
        let (jobs, runner_error) = self
            .call_jobs(|mut client| {
                let request = request.clone();
                async move {
                    let mut parts = client.jobs(request).await?.into_inner();
                    let (mut jobs, mut runner_error) = (Vec::new(), None);
                    while let Some(part) = parts.message().await? {
                        jobs.extend(part.jobs);
                        runner_error = runner_error.or(part.runner_error);
                    }
                    Ok((jobs, runner_error))
                }
            })
            .await?;
        let jobs = jobs.into_iter().map(|it| read_status(it).map_err(|what| self.unreadable(what)));
        Ok(Overview { jobs: jobs.collect::<Result<_>>()?, runner_error })
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
