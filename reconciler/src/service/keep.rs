//! Each call about continuous jobs.

use std::sync::Arc;

use dcp_model::primitive::Address;
use dcp_proto::control::v1 as proto;
use dcp_proto::control::v1::keep_server;
use dcp_server::Caller;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::request::{invalid, noted};
use crate::keep::Keep as Kept;
use crate::wire::{keep as wire, status};

/// Jobs in one message.
const JOBS: usize = 500;
const EVENTS: u32 = 1_000;

#[derive(Debug)]
pub(super) struct Keep {
    pub(super) keep: Arc<dyn Kept>,
    pub(super) clock: fn() -> Timestamp,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl keep_server::Keep for Keep {
    type JobsStream = BoxStream<'static, Result<proto::JobsResponse, Status>>;

    async fn acting(&self, _: Request<proto::ActingRequest>) -> Answer<proto::ActingResponse> {
        let acting = self.keep.acting().await.map_err(|error| status::of(&error))?;
        Ok(Response::new(wire::acting(acting.as_ref())))
    }

    async fn jobs(&self, request: Request<proto::JobsRequest>) -> Answer<Self::JobsStream> {
        let scope = noted(&request, &request.get_ref().scope)?;
        let address = request.get_ref().address.as_deref().map(address).transpose()?;
        let jobs = self.keep.jobs(&scope, address.as_ref()).await.map_err(|error| status::of(&error))?;
        let jobs: Vec<_> = jobs.iter().map(wire::told).collect();
        let parts: Vec<_> =
            jobs.chunks(JOBS).map(|jobs| proto::JobsResponse { jobs: jobs.to_vec() }).collect();
        Ok(Response::new(stream::iter(parts.into_iter().map(Ok)).boxed()))
    }

    async fn ask(&self, request: Request<proto::AskRequest>) -> Answer<proto::AskResponse> {
        let caller = request.extensions().get::<Caller>().cloned();
        let Caller(by) = caller.ok_or_else(|| status::unauthenticated("nobody is known to call"))?;
        let scope = noted(&request, &request.get_ref().scope)?;
        let address = address(&request.get_ref().address)?;
        let ask = wire::read_ask(request.get_ref().ask).map_err(invalid)?;
        let asked = self.keep.ask(&scope, &address, ask, &by, (self.clock)()).await;
        asked.map_err(|error| status::of(&error))?;
        Ok(Response::new(proto::AskResponse {}))
    }

    async fn events(&self, request: Request<proto::EventsRequest>) -> Answer<proto::EventsResponse> {
        let scope = noted(&request, &request.get_ref().scope)?;
        let address = address(&request.get_ref().address)?;
        let limit = request.get_ref().limit.min(EVENTS);
        let events = self.keep.events(&scope, &address, limit).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(proto::EventsResponse { events: events.iter().map(wire::event).collect() }))
    }
}

fn address(text: &str) -> Result<Address, Status> {
    text.parse().map_err(|why: String| invalid(why))
}
