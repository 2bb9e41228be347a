//! The registry of a control plane, over gRPC.

mod parts;

use async_trait::async_trait;
use dcp_model::primitive::{Address, Fingerprint};
use dcp_proto::control::v1::assets_client::AssetsClient;
use dcp_proto::control::v1::continuous_jobs_client::ContinuousJobsClient;
use dcp_proto::control::v1::control_client::ControlClient;
use dcp_proto::control::v1::{
    BodiesRequest, HistoryRequest, PublishedRequest, RevisionsRequest, StateAtRequest, StateRequest,
    StateResponse,
};
use dcp_server::client::{AuthenticatedChannel, CallError, Client, Service};
use tonic::{Status, Streaming};

use super::{Error, Registry, Result};
use crate::state::{Applied, Commit, Head, Revision, Scope, State};
use crate::wire::{self, error};

pub use dcp_server::client::Options;

const SERVICE: Service = Service { name: "control plane", domain: error::DOMAIN };

/// A control plane. Nothing is sent before the first call.
#[derive(Debug, Clone)]
pub struct Remote {
    client: Client,
    control: ControlClient<AuthenticatedChannel>,
    jobs: ContinuousJobsClient<AuthenticatedChannel>,
    assets: AssetsClient<AuthenticatedChannel>,
}

type Reply<T> = std::result::Result<T, Status>;

/// Maximum size of a message: the largest body, and more than a page of anything else.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Number of items that one call requests.
const FINGERPRINTS_PER_CALL: usize = 1_000;
const SERIALS_PER_CALL: usize = 1_000;

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Rejected(error) => Self::from(*error),
            CallError::Invalid(why) => Error::Invalid(why),
            CallError::Denied(why) => Error::Denied(why),
            CallError::Unavailable(why) => Error::Unavailable(why),
        }
    }
}

impl Remote {
    pub fn new(options: Options) -> Result<Self> {
        let client = Client::new(options, SERVICE)?;
        let control = ControlClient::new(client.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let jobs = ContinuousJobsClient::new(client.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let assets = AssetsClient::new(client.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client, control, jobs, assets })
    }

    async fn call<T, F>(
        &self,
        call: impl Fn(ControlClient<AuthenticatedChannel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = Reply<T>> + Send,
    {
        Ok(self.client.call(|| call(self.control.clone())).await?)
    }

    pub(crate) async fn call_jobs<T, F>(
        &self,
        call: impl Fn(ContinuousJobsClient<AuthenticatedChannel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = Reply<T>> + Send,
    {
        Ok(self.client.call(|| call(self.jobs.clone())).await?)
    }

    pub(crate) async fn call_assets<T, F>(
        &self,
        call: impl Fn(AssetsClient<AuthenticatedChannel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = Reply<T>> + Send,
    {
        Ok(self.client.call(|| call(self.assets.clone())).await?)
    }

    /// Makes the error of a malformed response.
    pub(crate) fn unreadable(&self, what: impl std::fmt::Display) -> Error {
        Error::Corrupt(self.client.unreadable(what))
    }

    async fn read_state(&self, mut parts: Streaming<StateResponse>) -> Reply<Result<State>> {
        let mut state = State::default();
        let mut first = true;
        while let Some(part) = parts.message().await? {
            let StateResponse { head, unpublished, entries, visible } = part;
            if std::mem::take(&mut first) {
                match wire::read_head(head) {
                    Ok(head) => (state.base, state.applied) = (head.base, head.applied),
                    Err(what) => return Ok(Err(self.unreadable(what))),
                }
                state.unpublished = unpublished;
                state.visible = visible.map(|domains| domains.names.into_iter().collect());
            }
            for entry in &entries {
                match wire::read_entry(entry) {
                    Ok((address, entry)) => drop(state.entries.insert(address, entry)),
                    Err(what) => return Ok(Err(self.unreadable(what))),
                }
            }
        }
        Ok(if first { Err(self.unreadable("a state without a head")) } else { Ok(state) })
    }

    async fn some_bodies(&self, scope: &Scope, wanted: &[Fingerprint]) -> Result<Vec<String>> {
        let fingerprints: Vec<_> = wanted.iter().map(|it| it.as_str().to_owned()).collect();
        let request = BodiesRequest { scope: scope.to_string(), fingerprints };
        let texts = self
            .call(|mut client| {
                let request = request.clone();
                async move {
                    let mut parts = client.bodies(request).await?.into_inner();
                    let mut texts = Vec::new();
                    while let Some(part) = parts.message().await? {
                        texts.extend(part.texts);
                    }
                    Ok(texts)
                }
            })
            .await?;
        let right = texts.len() == wanted.len()
            && texts.iter().zip(wanted).all(|(text, it)| Fingerprint::of(text) == *it);
        if right { Ok(texts) } else { Err(self.unreadable("bodies that are not those asked for")) }
    }
}

#[async_trait]
impl Registry for Remote {
    async fn state(&self, scope: &Scope) -> Result<State> {
        let request = StateRequest { scope: scope.to_string() };
        self.call(|mut client| {
            let request = request.clone();
            async move { self.read_state(client.state(request).await?.into_inner()).await }
        })
        .await?
    }

    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State> {
        let request = StateAtRequest { scope: scope.to_string(), serial };
        self.call(|mut client| {
            let request = request.clone();
            async move { self.read_state(client.state_at(request).await?.into_inner()).await }
        })
        .await?
    }

    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>> {
        let mut texts = Vec::with_capacity(fingerprints.len());
        for some in fingerprints.chunks(FINGERPRINTS_PER_CALL) {
            texts.extend(self.some_bodies(scope, some).await?);
        }
        Ok(texts)
    }

    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        let request = RevisionsRequest { scope: scope.to_string(), address: address.to_string() };
        let response = self
            .call(|mut client| {
                let request = request.clone();
                async move { Ok(client.revisions(request).await?.into_inner().revisions) }
            })
            .await?;
        response.into_iter().map(|it| wire::read_revision(it).map_err(|what| self.unreadable(what))).collect()
    }

    async fn history(&self, scope: &Scope, mut before: Option<u64>, limit: u32) -> Result<Vec<Applied>> {
        let mut history: Vec<Applied> = Vec::new();
        loop {
            let missing = limit - u32::try_from(history.len()).unwrap_or(limit).min(limit);
            let request = HistoryRequest { scope: scope.to_string(), before, limit: missing };
            let page = self
                .call(|mut client| {
                    let request = request.clone();
                    async move { Ok(client.history(request).await?.into_inner().applied) }
                })
                .await?;
            let page = page.into_iter().map(wire::read_applied).collect::<wire::Result<Vec<_>>>();
            history.extend(page.map_err(|what| self.unreadable(what))?);
            // The server may return fewer than requested, so pages are read until the last.
            let last = history.last().map(|applied| applied.serial);
            if last.is_none() || last == before || last == Some(1) || history.len() >= limit as usize {
                return Ok(history);
            }
            before = last;
        }
    }

    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head> {
        let requests = parts::split(scope, &commit);
        let head = self
            .call(|mut client| {
                let requests = requests.clone();
                async move { Ok(client.commit(futures_util::stream::iter(requests)).await?.into_inner().head) }
            })
            .await?;
        wire::read_head(head).map_err(|what| self.unreadable(what))
    }

    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        for some in serials.chunks(SERIALS_PER_CALL) {
            let request = PublishedRequest { scope: scope.to_string(), serials: some.to_vec() };
            self.call(|mut client| {
                let request = request.clone();
                async move { client.published(request).await.map(drop) }
            })
            .await?;
        }
        Ok(())
    }
}
