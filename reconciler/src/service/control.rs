//! The calls about the registry: reads requests, calls the registry, and splits responses into messages.

use dcp_model::primitive::{Address, Fingerprint};
use dcp_proto::control::v1::control_server;
use dcp_proto::control::v1::{
    BodiesRequest, BodiesResponse, CommitRequest, CommitResponse, Domains, HistoryRequest, HistoryResponse,
    PublishedRequest, PublishedResponse, RevisionsRequest, RevisionsResponse, StateAtRequest, StateRequest,
    StateResponse,
};
use dcp_server::{CallNotes, Caller};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use tonic::{Request, Response, Status, Streaming};

use super::request::{at_most, invalid, read_scope};
use super::{Limits, commit};
use crate::guarded::Protected;
use crate::registry::Registry;
use crate::state::{Head, State};
use crate::wire;

/// Entries in one message of a state.
const ENTRIES_PER_MESSAGE: usize = 2_000;
/// Fingerprints in one request, and bodies in memory at a time.
const MAX_FINGERPRINTS: usize = 1_000;
const BODIES_AT_ONCE: usize = 32;
const MAX_SERIALS: usize = 10_000;
const MAX_COMMITS: u32 = 1_000;

#[derive(Debug)]
pub(super) struct ControlService {
    pub(super) registry: Protected<dyn Registry>,
    pub(super) limits: Limits,
    pub(super) clock: fn() -> Timestamp,
}

type GrpcResult<T> = std::result::Result<Response<T>, Status>;
type Parts<T> = BoxStream<'static, std::result::Result<T, Status>>;

#[tonic::async_trait]
impl control_server::Control for ControlService {
    type StateStream = Parts<StateResponse>;
    type StateAtStream = Parts<StateResponse>;
    type BodiesStream = Parts<BodiesResponse>;

    async fn state(&self, request: Request<StateRequest>) -> GrpcResult<Self::StateStream> {
        let registry = self.registry.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let state = registry.state(&scope).await?;
        Ok(Response::new(parts(state)))
    }

    async fn state_at(&self, request: Request<StateAtRequest>) -> GrpcResult<Self::StateAtStream> {
        let registry = self.registry.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let StateAtRequest { serial, .. } = request.into_inner();
        let state = registry.state_at(&scope, serial).await?;
        Ok(Response::new(parts(state)))
    }

    async fn bodies(&self, request: Request<BodiesRequest>) -> GrpcResult<Self::BodiesStream> {
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let registry = self.registry.used_by(Caller::of(&request)?);
        let BodiesRequest { fingerprints, .. } = request.into_inner();
        at_most(MAX_FINGERPRINTS, fingerprints.len(), "fingerprints")?;
        let wanted =
            fingerprints.iter().map(|it| wire::read_fingerprint(it)).collect::<wire::Result<Vec<_>>>();
        let wanted = wanted.map_err(invalid)?;
        let some: Vec<_> = wanted.chunks(BODIES_AT_ONCE).map(<[Fingerprint]>::to_vec).collect();
        let fetch = move |some: Vec<Fingerprint>| {
            let (registry, scope) = (registry.clone(), scope.clone());
            async move { registry.bodies(&scope, &some).await.map_err(Status::from) }
        };
        let parts = stream::iter(some).then(fetch).flat_map(|texts| match texts {
            Ok(texts) => {
                stream::iter(texts.into_iter().map(|text| Ok(BodiesResponse { texts: vec![text] }))).boxed()
            }
            Err(status) => stream::iter([Err(status)]).boxed(),
        });
        Ok(Response::new(parts.boxed()))
    }

    async fn revisions(&self, request: Request<RevisionsRequest>) -> GrpcResult<RevisionsResponse> {
        let registry = self.registry.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let address = request.get_ref().address.parse::<Address>().map_err(invalid)?;
        let revisions = registry.revisions(&scope, &address).await?;
        Ok(Response::new(RevisionsResponse {
            revisions: revisions.into_iter().map(wire::revision).collect(),
        }))
    }

    async fn history(&self, request: Request<HistoryRequest>) -> GrpcResult<HistoryResponse> {
        let registry = self.registry.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let HistoryRequest { before, limit, .. } = request.into_inner();
        let applied = registry.history(&scope, before, limit.min(MAX_COMMITS)).await?;
        Ok(Response::new(HistoryResponse { applied: applied.iter().map(wire::applied).collect() }))
    }

    async fn commit(&self, request: Request<Streaming<CommitRequest>>) -> GrpcResult<CommitResponse> {
        let registry = self.registry.used_by(Caller::of(&request)?);
        let by = Caller::of(&request)?.name.to_string();
        let notes = request.extensions().get::<CallNotes>().cloned().unwrap_or_default();
        let (scope, mut commit) = commit::read(request.into_inner(), &self.limits).await?;
        notes.subject(scope.as_str());
        commit.by = by;
        commit.at = (self.clock)();
        let head = registry.commit(&scope, commit).await?;
        Ok(Response::new(CommitResponse { head: Some(wire::head(&head)) }))
    }

    async fn published(&self, request: Request<PublishedRequest>) -> GrpcResult<PublishedResponse> {
        let registry = self.registry.used_by(Caller::of(&request)?);
        let scope = read_scope(&request, &request.get_ref().scope)?;
        let PublishedRequest { serials, .. } = request.into_inner();
        at_most(MAX_SERIALS, serials.len(), "serials")?;
        registry.published(&scope, &serials).await?;
        Ok(Response::new(PublishedResponse {}))
    }
}

fn parts(state: State) -> Parts<StateResponse> {
    let State { base, applied, entries, unpublished, visible } = state;
    let head = wire::head(&Head { base, applied });
    let first = StateResponse {
        head: Some(head),
        unpublished,
        entries: Vec::new(),
        visible: visible.map(|names| Domains { names: names.into_iter().collect() }),
    };
    let entries: Vec<_> = entries.into_iter().map(wire::entry).collect();
    let entries: Vec<_> = entries.chunks(ENTRIES_PER_MESSAGE).map(<[_]>::to_vec).collect();
    let rest = entries.into_iter().map(|entries| StateResponse { entries, ..StateResponse::default() });
    stream::iter(std::iter::once(first).chain(rest).map(Ok)).boxed()
}
