//! The calls about assets.

use std::sync::Arc;

use dcp_proto::control::v1 as proto;
use dcp_proto::control::v1::assets_server;
use dcp_server::Caller;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::request::noted;
use crate::assets::Assets as NewCompletions;
use crate::wire::{assets as wire, status};

/// Assets in one message.
const ASSETS: usize = 500;

#[derive(Debug)]
pub(super) struct Assets {
    pub(super) assets: Arc<dyn NewCompletions>,
    pub(super) clock: fn() -> Timestamp,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl assets_server::Assets for Assets {
    type CompletedStream = BoxStream<'static, Result<proto::CompletedResponse, Status>>;

    async fn complete(&self, request: Request<proto::CompleteRequest>) -> Answer<proto::CompleteResponse> {
        let caller = request.extensions().get::<Caller>().cloned();
        let Caller(by) = caller.ok_or_else(|| status::unauthenticated("nobody is known to call"))?;
        let scope = noted(&request, &request.get_ref().scope)?;
        let new = wire::read_told(request.into_inner());
        let completions = self.assets.complete(&scope, &new, &by, (self.clock)()).await;
        let completions = completions.map_err(|error| status::of(&error))?;
        let completions = completions.into_iter().map(wire::completion).collect();
        Ok(Response::new(proto::CompleteResponse { completions }))
    }

    async fn completions(
        &self,
        request: Request<proto::CompletionsRequest>,
    ) -> Answer<proto::CompletionsResponse> {
        let scope = noted(&request, &request.get_ref().scope)?;
        let proto::CompletionsRequest { after, asset, limit, .. } = request.into_inner();
        let page = self.assets.completions(&scope, after, asset.as_deref(), limit).await;
        Ok(Response::new(wire::page(page.map_err(|error| status::of(&error))?)))
    }

    async fn completed(&self, request: Request<proto::CompletedRequest>) -> Answer<Self::CompletedStream> {
        let scope = noted(&request, &request.get_ref().scope)?;
        let all = self.assets.completed(&scope).await.map_err(|error| status::of(&error))?;
        let all: Vec<_> = all.into_iter().map(wire::completed).collect();
        let parts: Vec<_> = all
            .chunks(ASSETS)
            .map(|completed| Ok(proto::CompletedResponse { completed: completed.to_vec() }))
            .collect();
        Ok(Response::new(stream::iter(parts).boxed()))
    }
}
