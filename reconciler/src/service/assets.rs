//! The calls about assets.

use dcp_proto::control::v1 as proto;
use dcp_proto::control::v1::assets_server;
use dcp_server::Caller;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::request::read_scope;
use crate::assets::Assets as AssetStore;
use crate::guarded::Protected;
use crate::wire::assets as wire;

/// Assets in one message.
const ASSETS_PER_MESSAGE: usize = 500;

#[derive(Debug)]
pub(super) struct AssetsService {
    pub(super) assets: Protected<dyn AssetStore>,
    pub(super) clock: fn() -> Timestamp,
}

type GrpcResult<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl assets_server::Assets for AssetsService {
    type CompletedStream = BoxStream<'static, Result<proto::CompletedResponse, Status>>;

    async fn complete(
        &self,
        request: Request<proto::CompleteRequest>,
    ) -> GrpcResult<proto::CompleteResponse> {
        let assets = self.assets.used_by(Caller::of(&request)?);
        let by = Caller::of(&request)?.name.to_string();
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let new = wire::read_new_completions(request.into_inner());
        let completions = assets.complete(&scope, &new, &by, (self.clock)()).await?;
        let completions = completions.into_iter().map(wire::completion).collect();
        Ok(Response::new(proto::CompleteResponse { completions }))
    }

    async fn completions(
        &self,
        request: Request<proto::CompletionsRequest>,
    ) -> GrpcResult<proto::CompletionsResponse> {
        let assets = self.assets.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let proto::CompletionsRequest { after, asset, limit, .. } = request.into_inner();
        let page = assets.completions(&scope, after, asset.as_deref(), limit).await?;
        Ok(Response::new(wire::page(page)))
    }

    async fn completed(
        &self,
        request: Request<proto::CompletedRequest>,
    ) -> GrpcResult<Self::CompletedStream> {
        let assets = self.assets.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let all = assets.completed(&scope).await?;
        let all: Vec<_> = all.into_iter().map(wire::completed).collect();
        let parts: Vec<_> = all
            .chunks(ASSETS_PER_MESSAGE)
            .map(|completed| Ok(proto::CompletedResponse { completed: completed.to_vec() }))
            .collect();
        Ok(Response::new(stream::iter(parts).boxed()))
    }
}
