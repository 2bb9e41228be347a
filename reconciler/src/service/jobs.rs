//! The calls about continuous jobs.

use dcp_model::primitive::Address;
use dcp_proto::control::v1 as proto;
use dcp_proto::control::v1::continuous_jobs_server;
use dcp_server::Caller;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::request::{invalid, read_scope};
use crate::guarded::Protected;
use crate::reconcile::ContinuousJobs;
use crate::wire::{job_status, jobs as wire};

/// Jobs in one message.
const JOBS_PER_MESSAGE: usize = 500;
const MAX_EVENTS: u32 = 1_000;

#[derive(Debug)]
pub(super) struct JobsService {
    pub(super) jobs: Protected<dyn ContinuousJobs>,
    pub(super) clock: fn() -> Timestamp,
}

type GrpcResult<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl continuous_jobs_server::ContinuousJobs for JobsService {
    type JobsStream = BoxStream<'static, Result<proto::JobsResponse, Status>>;

    async fn leader(&self, request: Request<proto::LeaderRequest>) -> GrpcResult<proto::LeaderResponse> {
        let jobs = self.jobs.used_by(Caller::of(&request)?);
        let leader = jobs.leader().await?;
        Ok(Response::new(wire::leader(leader.as_ref())))
    }

    async fn jobs(&self, request: Request<proto::JobsRequest>) -> GrpcResult<Self::JobsStream> {
        let jobs = self.jobs.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let address = request.get_ref().address.as_deref().map(address).transpose()?;
        let overview = jobs.jobs(&scope, address.as_ref()).await?;
        let jobs: Vec<_> = overview.jobs.iter().map(job_status::status).collect();
        let part = |jobs: &[_]| proto::JobsResponse { jobs: jobs.to_vec(), runner_error: None };
        let first = proto::JobsResponse { jobs: Vec::new(), runner_error: overview.runner_error };
        let parts: Vec<_> = std::iter::once(first).chain(jobs.chunks(JOBS_PER_MESSAGE).map(part)).collect();
        Ok(Response::new(stream::iter(parts.into_iter().map(Ok)).boxed()))
    }

    async fn request_job(
        &self,
        request: Request<proto::RequestJobRequest>,
    ) -> GrpcResult<proto::RequestJobResponse> {
        let jobs = self.jobs.used_by(Caller::of(&request)?);
        let by = Caller::of(&request)?.name.to_string();
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let address = address(&request.get_ref().address)?;
        let ask = wire::read_request(request.get_ref().request).map_err(invalid)?;
        jobs.request(&scope, &address, ask, &by, (self.clock)()).await?;
        Ok(Response::new(proto::RequestJobResponse {}))
    }

    async fn events(&self, request: Request<proto::EventsRequest>) -> GrpcResult<proto::EventsResponse> {
        let jobs = self.jobs.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let address = address(&request.get_ref().address)?;
        let limit = request.get_ref().limit.min(MAX_EVENTS);
        let events = jobs.events(&scope, &address, limit).await?;
        Ok(Response::new(proto::EventsResponse { events: events.iter().map(wire::event).collect() }))
    }
}

fn address(text: &str) -> Result<Address, Status> {
    text.parse().map_err(|why: String| invalid(why))
}
