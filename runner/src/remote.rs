//! A Runner in another process, over gRPC.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use dcp_proto::runner::v1 as proto;
use dcp_proto::runner::v1::runner_client::RunnerClient;
use dcp_server::client::{AuthenticatedChannel, CallError, Client, Service};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tonic::{Status, Streaming};

use crate::api::{Error, Filter, Holder, LogPart, LogRequest, Record, Result, Runner, Submitted};
use crate::execution::{Id, Transition};
use crate::request::Submit;
use crate::results::Format;
use crate::wire::{self, error};

pub use dcp_server::client::Options;

const SERVICE: Service = Service { name: "Runner", domain: error::DOMAIN };

/// Maximum size of a message: a page of executions, each with its history.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// A client of a Runner. It sends nothing before the first call.
#[derive(Debug, Clone)]
pub struct Remote {
    client: Client,
    runner: RunnerClient<AuthenticatedChannel>,
}

impl From<CallError> for Error {
    fn from(fault: CallError) -> Self {
        match fault {
            CallError::Rejected(error) => Self::from(*error),
            CallError::Invalid(message) => Error::Invalid { field: "server".to_owned(), message },
            CallError::Denied(why) => Error::Denied(why),
            CallError::Unavailable(why) => Error::Unavailable(why),
        }
    }
}

impl Remote {
    pub fn new(options: Options) -> Result<Self> {
        let client = Client::new(options, SERVICE)?;
        let runner = RunnerClient::new(client.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client, runner })
    }

    async fn call<T, F>(
        &self,
        call: impl Fn(RunnerClient<AuthenticatedChannel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, Status>> + Send,
    {
        Ok(self.client.call(|| call(self.runner.clone())).await?)
    }

    fn unreadable(&self, what: impl std::fmt::Display) -> Error {
        Error::Corrupt(self.client.unreadable(what))
    }

    fn record(&self, record: Option<proto::Execution>) -> Result<Record> {
        let record = record.ok_or_else(|| self.unreadable("no execution"))?;
        wire::read_record(record).map_err(|what| self.unreadable(what))
    }

    /// Streams the parts of a call's response, each converted by `read`.
    fn parts<P, T, F>(
        &self,
        call: impl Fn(RunnerClient<AuthenticatedChannel>) -> F + Send + Sync + 'static,
        read: impl Fn(P) -> wire::Result<T> + Send + Sync + 'static,
    ) -> BoxStream<'static, Result<T>>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: Future<Output = std::result::Result<Streaming<P>, Status>> + Send + 'static,
    {
        let remote = self.clone();
        let opened = async move {
            let parts = remote.call(call).await?;
            let read = move |part: std::result::Result<P, Status>| match part {
                Ok(part) => read(part).map_err(|what| remote.unreadable(what)),
                Err(status) => Err(remote.client.call_error(&status).into()),
            };
            Ok::<_, Error>(parts.map(read))
        };
        let whole = stream::once(opened).flat_map(|opened| match opened {
            Ok(parts) => parts.boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        });
        whole.boxed()
    }
}

/// Time for which a watch tries to reconnect, beside the timeouts of its calls.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// The position of a watch.
struct Watch {
    remote: Remote,
    id: Id,
    next: usize,
    steps: Option<BoxStream<'static, Result<Transition>>>,
    /// Start of the current loss of the connection.
    lost_since: Option<Instant>,
}

impl Watch {
    async fn next(&mut self) -> Result<Option<Transition>> {
        loop {
            let steps = self.steps.get_or_insert_with(|| self.remote.steps(&self.id, self.next));
            let error = match steps.next().await {
                Some(Ok(step)) => {
                    self.next += 1;
                    self.lost_since = None;
                    return Ok(Some(step));
                }
                Some(Err(error)) => error,
                // A lost connection may look like the end of the stream.
                None => match self.remote.check(&self.id).await {
                    Ok(record) if record.execution.phase.is_final() && record.history.len() <= self.next => {
                        return Ok(None);
                    }
                    Ok(_) => Error::Unavailable("the connection was lost".to_owned()),
                    Err(error) => error,
                },
            };
            let since = self.lost_since.get_or_insert_with(Instant::now);
            if !matches!(error, Error::Unavailable(_)) || since.elapsed() > RECONNECT_TIMEOUT {
                return Err(error);
            }
            self.steps = None;
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }
}

impl Remote {
    /// Streams transitions from an index until the connection ends.
    fn steps(&self, id: &Id, from: usize) -> BoxStream<'static, Result<Transition>> {
        let request = proto::WatchRequest { id: id.to_string(), from: from as u64 };
        self.parts(
            move |mut client| {
                let request = request.clone();
                async move { Ok(client.watch(request).await?.into_inner()) }
            },
            |part| match part.transition {
                Some(transition) => wire::read_transition(transition),
                None => Err("a step that is none".to_owned()),
            },
        )
    }
}

#[async_trait]
impl Runner for Remote {
    async fn submit(&self, submit: Submit) -> Result<Submitted> {
        let request = wire::submit(&submit);
        let response = self
            .call(|mut client| {
                let request = request.clone();
                async move { Ok(client.submit(request).await?.into_inner()) }
            })
            .await?;
        Ok(Submitted { record: self.record(response.execution)?, fresh: response.fresh })
    }

    async fn check(&self, id: &Id) -> Result<Record> {
        let request = proto::CheckRequest { id: id.to_string() };
        let response = self
            .call(|mut client| {
                let request = request.clone();
                async move { Ok(client.check(request).await?.into_inner()) }
            })
            .await?;
        self.record(response.execution)
    }

    /// The server identifies the caller by the token, so `by` is unused.
    async fn cancel(&self, id: &Id, _by: &str) -> Result<Record> {
        let request = proto::CancelRequest { id: id.to_string() };
        let response = self
            .call(|mut client| {
                let request = request.clone();
                async move { Ok(client.cancel(request).await?.into_inner()) }
            })
            .await?;
        self.record(response.execution)
    }

    async fn list(&self, filter: &Filter, before: Option<&Id>, limit: u32) -> Result<Vec<Record>> {
        let Filter { scope, domain, name, phases, visible: _ } = filter.clone();
        let phases: Vec<i32> = phases.into_iter().map(wire::phase).collect();
        let mut page = before.map(Id::to_string).unwrap_or_default();
        let mut found = Vec::new();
        loop {
            let missing = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            if missing == 0 {
                return Ok(found);
            }
            let request = proto::ListRequest {
                scope: scope.clone(),
                domain: domain.clone(),
                name: name.clone(),
                phases: phases.clone(),
                page_size: missing,
                page,
            };
            let response = self
                .call(|mut client| {
                    let request = request.clone();
                    async move { Ok(client.list(request).await?.into_inner()) }
                })
                .await?;
            for execution in response.executions {
                found.push(self.record(Some(execution))?);
            }
            // A server may return fewer executions than requested.
            if response.next_page.is_empty() || response.next_page == request.page {
                return Ok(found);
            }
            page = response.next_page;
        }
    }

    async fn holders(&self, after: &str, limit: u32) -> Result<Vec<Holder>> {
        let mut after = after.to_owned();
        let mut found: Vec<Holder> = Vec::new();
        loop {
            let missing = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            if missing == 0 {
                return Ok(found);
            }
            let request = proto::HoldersRequest { after, page_size: missing };
            let response = self
                .call(|mut client| {
                    let request = request.clone();
                    async move { Ok(client.holders(request).await?.into_inner()) }
                })
                .await?;
            for holder in response.holders {
                found.push(wire::read_holder(holder).map_err(|what| self.unreadable(what))?);
            }
            if response.next.is_empty() || response.next == request.after {
                return Ok(found);
            }
            after = response.next;
        }
    }

    /// Resumes after the connection was lost.
    fn watch(&self, id: &Id, from: usize) -> BoxStream<'static, Result<Transition>> {
        let watch = Watch { remote: self.clone(), id: id.clone(), next: from, steps: None, lost_since: None };
        stream::try_unfold(watch, |mut it| async move { Ok(it.next().await?.map(|step| (step, it))) }).boxed()
    }

    fn logs(&self, id: &Id, request: LogRequest) -> BoxStream<'static, Result<LogPart>> {
        let LogRequest { attempt, after, follow } = request;
        let cursor = after.as_str().to_owned();
        let request = proto::LogsRequest { id: id.to_string(), attempt, cursor, follow };
        self.parts(
            move |mut client| {
                let request = request.clone();
                async move { Ok(client.logs(request).await?.into_inner()) }
            },
            |proto::LogsResponse { attempt, cursor, data }| {
                let next = cursor.parse().map_err(|error: dcp_gateway::Error| error.to_string())?;
                Ok(LogPart { attempt, next, bytes: data })
            },
        )
    }

    fn result(&self, id: &Id, format: Format) -> BoxStream<'static, Result<Bytes>> {
        let format = match format {
            Format::Json => proto::Format::Json,
            Format::Avro => proto::Format::Avro,
        };
        let request = proto::ResultRequest { id: id.to_string(), format: format.into() };
        self.parts(
            move |mut client| {
                let request = request.clone();
                async move { Ok(client.result(request).await?.into_inner()) }
            },
            |part| Ok(part.data.into()),
        )
    }
}
