//! A Runner as a gRPC service, `dcp.runner.v1`. `dcp_server::serve` serves it.
//!
//! All input has limits, and the token identifies the caller.

use std::sync::Arc;

use dcp_proto::runner::v1 as proto;
use dcp_proto::runner::v1::runner_server;
use dcp_proto::runner::v1::runner_server::RunnerServer;
use dcp_server::{CallNotes, Caller, Services, offload};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tonic::{Request, Response, Status};

use crate::api::{self, Error, Filter, Holder, LogPart, LogRequest, MAX_POSITION_BYTES, Runner};
use crate::execution::Id;
use crate::guarded::{Guarded, Protected};
use crate::page;
use crate::results::Format;
use crate::wire::{self, DefinitionCache};

/// Maximum size of a message: a job with its SQL.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Capacity of the cache of definitions, in bytes of text.
const DEFINITION_CACHE_BYTES: usize = 8 << 20;

/// Long-lived calls by gRPC and REST: transitions of an execution, and logs.
const STREAMING_CALLS: [&str; 4] =
    ["/dcp.runner.v1.Runner/Watch", "/dcp.runner.v1.Runner/Logs", "/steps", "/logs"];

/// Adds a Runner to the services.
pub fn add(services: Services, runner: Arc<dyn Runner>) -> Services {
    services.streaming(&STREAMING_CALLS).with(
        RunnerServer::new(Service {
            runner: Protected::new(runner),
            definitions: Arc::new(DefinitionCache::new(DEFINITION_CACHE_BYTES)),
        })
        .max_decoding_message_size(MAX_MESSAGE_BYTES),
    )
}

#[derive(Debug)]
struct Service {
    runner: Protected,
    definitions: Arc<DefinitionCache>,
}

impl Service {
    fn used_by<T>(&self, request: &Request<T>) -> Result<Guarded, Status> {
        Ok(self.runner.used_by(Caller::of(request)?))
    }
}

type GrpcResult<T> = Result<Response<T>, Status>;
type PartStream<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl runner_server::Runner for Service {
    type WatchStream = PartStream<proto::WatchResponse>;
    type LogsStream = PartStream<proto::LogsResponse>;
    type ResultStream = PartStream<proto::ResultResponse>;

    async fn submit(&self, request: Request<proto::SubmitRequest>) -> GrpcResult<proto::SubmitResponse> {
        let caller = Caller::of(&request)?.clone();
        let by = caller.name.to_string();
        let noted = request.extensions().get::<CallNotes>().cloned();
        let (message, definitions) = (request.into_inner(), Arc::clone(&self.definitions));
        let read =
            offload(definition_bytes(&message), move || wire::read_submit(message, by, &definitions)).await;
        let submit = read.map_err(|what| invalid("job", what))?;
        let submitted = self.runner.used_by(&caller).submit(submit).await?;
        note(noted.as_ref(), submitted.record.id());
        let execution = Some(wire::record(&submitted.record));
        Ok(Response::new(proto::SubmitResponse { execution, fresh: submitted.fresh }))
    }

    async fn check(&self, request: Request<proto::CheckRequest>) -> GrpcResult<proto::CheckResponse> {
        let id = execution_id(&request, &request.get_ref().id)?;
        let record = self.used_by(&request)?.check(&id).await?;
        Ok(Response::new(proto::CheckResponse { execution: Some(wire::record(&record)) }))
    }

    async fn cancel(&self, request: Request<proto::CancelRequest>) -> GrpcResult<proto::CancelResponse> {
        let id = execution_id(&request, &request.get_ref().id)?;
        let by = &Caller::of(&request)?.name;
        let record = self.used_by(&request)?.cancel(&id, by).await?;
        Ok(Response::new(proto::CancelResponse { execution: Some(wire::record(&record)) }))
    }

    async fn list(&self, request: Request<proto::ListRequest>) -> GrpcResult<proto::ListResponse> {
        let runner = self.used_by(&request)?;
        let proto::ListRequest { scope, domain, name, phases, page_size, page: from } = request.into_inner();
        if phases.len() > page::MAX_PHASES {
            return Err(invalid("phases", format!("`phases` are {} at most", page::MAX_PHASES)));
        }
        let phases = phases.into_iter().map(wire::read_phase).collect::<Result<_, _>>();
        let phases = phases.map_err(|what| invalid("phases", what))?;
        let before = match from.as_str() {
            "" => None,
            from => Some(wire::read_id(from).map_err(|_| {
                invalid("page", "`page` has to be the `next_page` of an earlier answer".to_owned())
            })?),
        };
        let size = if page_size == 0 { page::DEFAULT_SIZE } else { page_size.min(page::MAX_SIZE) };
        let filter = Filter { scope, domain, name, phases, ..Filter::default() };
        let found = runner.list(&filter, before.as_ref(), size).await?;
        let next_page = page::next(&found, size).unwrap_or_default();
        let executions =
            offload(page::estimated_bytes(&found), move || found.iter().map(wire::record).collect()).await;
        Ok(Response::new(proto::ListResponse { executions, next_page }))
    }

    async fn holders(&self, request: Request<proto::HoldersRequest>) -> GrpcResult<proto::HoldersResponse> {
        let runner = self.used_by(&request)?;
        let proto::HoldersRequest { after, page_size } = request.into_inner();
        if after.len() > MAX_POSITION_BYTES {
            return Err(invalid("after", format!("`after` has to be {MAX_POSITION_BYTES} bytes at most")));
        }
        let size = if page_size == 0 { page::MAX_SIZE } else { page_size.min(page::MAX_SIZE) };
        let found = runner.holders(&after, size).await?;
        let full = u32::try_from(found.len()).is_ok_and(|number| number >= size);
        let next = found.last().filter(|_| full).map(Holder::position).unwrap_or_default();
        Ok(Response::new(proto::HoldersResponse { holders: found.iter().map(wire::holder).collect(), next }))
    }

    async fn watch(&self, request: Request<proto::WatchRequest>) -> GrpcResult<Self::WatchStream> {
        let id = execution_id(&request, &request.get_ref().id)?;
        let from = usize::try_from(request.get_ref().from).unwrap_or(usize::MAX);
        // An unknown id fails the call itself, instead of its stream.
        let runner = self.used_by(&request)?;
        runner.check(&id).await?;
        let steps = runner.watch(&id, from).map(|step| match step {
            Ok(step) => Ok(proto::WatchResponse { transition: Some(wire::transition(&step)) }),
            Err(error) => Err(error.into()),
        });
        Ok(Response::new(steps.boxed()))
    }

    async fn logs(&self, request: Request<proto::LogsRequest>) -> GrpcResult<Self::LogsStream> {
        let id = execution_id(&request, &request.get_ref().id)?;
        let runner = self.used_by(&request)?;
        let proto::LogsRequest { id: _, attempt, cursor, follow } = request.into_inner();
        runner.check(&id).await?;
        let after =
            cursor.parse().map_err(|error: dcp_gateway::Error| invalid("cursor", error.to_string()))?;
        let request = LogRequest { attempt, after, follow };
        let parts = runner.logs(&id, request).map(|part| match part {
            Ok(LogPart { attempt, next, bytes }) => {
                Ok(proto::LogsResponse { attempt, cursor: next.as_str().to_owned(), data: bytes })
            }
            Err(error) => Err(error.into()),
        });
        Ok(Response::new(parts.boxed()))
    }

    async fn result(&self, request: Request<proto::ResultRequest>) -> GrpcResult<Self::ResultStream> {
        let id = execution_id(&request, &request.get_ref().id)?;
        let format = match request.get_ref().format() {
            proto::Format::Json => Format::Json,
            proto::Format::Avro => Format::Avro,
            proto::Format::Unspecified => {
                return Err(invalid("format", "`format` has to be JSON or AVRO".to_owned()));
            }
        };
        check_first_part(self.used_by(&request)?.result(&id, format), |data| proto::ResultResponse {
            data: data.into(),
        })
        .await
    }
}

/// Returns an error of the first part as the error of the call, instead of its stream.
async fn check_first_part<T, R>(
    parts: BoxStream<'static, api::Result<T>>,
    respond: impl Fn(T) -> R + Send + 'static,
) -> GrpcResult<PartStream<R>>
where
    T: Send + 'static,
    R: Send + 'static,
{
    let mut parts = parts.map(move |part| part.map(&respond).map_err(Status::from)).boxed();
    match parts.next().await {
        Some(Err(status)) => Err(status),
        first => Ok(Response::new(stream::iter(first).chain(parts).boxed())),
    }
}

/// Returns the number of bytes of a request that are parsed.
fn definition_bytes(message: &proto::SubmitRequest) -> usize {
    let definition = match &message.job {
        Some(proto::submit_request::Job::Definition(text)) => text.len(),
        Some(proto::submit_request::Job::Reference(_)) | None => 0,
    };
    let checkpoint = message.streaming.as_ref().and_then(|it| it.checkpoint.as_ref());
    definition + checkpoint.map_or(0, String::len)
}

/// Parses the id of a request's execution, and notes it for the log.
fn execution_id<T>(request: &Request<T>, id: &str) -> Result<Id, Status> {
    let id = wire::read_id(id).map_err(|what| invalid("id", what))?;
    note(request.extensions().get::<CallNotes>(), &id);
    Ok(id)
}

fn note(noted: Option<&CallNotes>, id: &Id) {
    if let Some(noted) = noted {
        noted.subject(id.as_str());
    }
}

fn invalid(field: &str, message: String) -> Status {
    Error::Invalid { field: field.to_owned(), message }.into()
}
