//! A Runner over REST: JSON over HTTP, with an `OpenAPI` document of the interface.
//!
//! It only converts: requests become calls of [`crate::api`], and results become responses. [`dcp_server`] serves it
//! beside the gRPC service, with the same tokens, limits and log. Unknown fields and parameters are rejected by name,
//! because they may be misspelt.

mod document;
mod error;
mod request;
mod response;
mod streamed;
mod types;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dcp_server::offload;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode, Uri};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{LogRequest, Runner};
use crate::page;
use crate::results::Format;
use error::{CommonErrors, ErrorResponse, JobErrors};
use request::{Body, Call, Job, ListQuery, LogsQuery, Query, ResultQuery, StepsQuery, Submit};
use response::{Execution, LogLine, Page, Row, Step};
use streamed::{
    FIRST_PIECE_TIMEOUT, KEEP_ALIVE_INTERVAL, StreamFormat, check_first_piece, encode_values, prefers,
};

pub use document::document;

/// Maximum size of a body: a job with its SQL.
const MAX_BODY_BYTES: usize = 4 << 20;

type RunnerState = State<Arc<dyn Runner>>;

/// Returns all routes, for a server.
pub fn router(runner: Arc<dyn Runner>) -> Router {
    let document = document();
    let (router, _) = routes().split_for_parts();
    router
        .route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], document)))
        .fallback(unknown_path)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(runner)
}

/// Returns the routes and their part of the document, from one list.
fn routes() -> OpenApiRouter<Arc<dyn Runner>> {
    OpenApiRouter::with_openapi(document::base())
        .routes(routes!(submit, list))
        .routes(routes!(check))
        .routes(routes!(cancel))
        .routes(routes!(logs))
        .routes(routes!(steps))
        .routes(routes!(result))
}

/// Runs a job once
///
/// Responds as soon as the job is stored. A repeated submit with the same `token` returns the same job, so that a retry
/// after a lost response is safe.
#[utoipa::path(
    post,
    path = "/api/v1/job",
    request_body = Submit,
    responses(
        (status = 201, description = "It is kept, and will run", body = Execution,
            headers(("Location" = String, description = "Where it can be asked for")),
            links(
                ("check" = (operation_id = "check", parameters(("id" = "$response.body#/id")))),
                ("cancel" = (operation_id = "cancel", parameters(("id" = "$response.body#/id")))),
                ("logs" = (operation_id = "logs", parameters(("id" = "$response.body#/id")))),
                ("steps" = (operation_id = "steps", parameters(("id" = "$response.body#/id")))),
                ("result" = (operation_id = "result", parameters(("id" = "$response.body#/id"))))
            )),
        (status = 200, description = "It was known by its token", body = Execution,
            headers(("Location" = String, description = "Where it can be asked for"))),
        (status = 404, description = "The job that is referred to is not applied", body = error::ErrorBody),
        (status = 409, description = "The token belongs to another request: `TOKEN_REUSED`; another job holds the key: `HELD`; the lease is over: `FENCED`", body = error::ErrorBody),
        (status = 413, description = "The body is larger than 4 MiB", body = error::ErrorBody),
        (status = 415, description = "The body is not said to be JSON", body = error::ErrorBody),
        CommonErrors
    ),
    tag = "jobs"
)]
async fn submit(State(runner): RunnerState, call: Call, Body(body): Body) -> Result<Response, ErrorResponse> {
    let by = call.by.clone();
    let request = offload(body.len(), move || request::json::<Submit>(&body)?.by(by)).await?;
    let submitted = runner.submit(request).await?;
    let id = submitted.record.id();
    call.note(id);
    let status = if submitted.fresh { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(LOCATION, format!("/api/v1/job/{id}"))];
    Ok((status, location, response::json(&Execution::from(submitted.record))).into_response())
}

/// Lists jobs, the newest first
#[utoipa::path(
    get,
    path = "/api/v1/job",
    params(ListQuery),
    responses((status = 200, description = "A page of them", body = Page), CommonErrors),
    tag = "jobs"
)]
async fn list(State(runner): RunnerState, Query(query): Query<ListQuery>) -> Result<Response, ErrorResponse> {
    let (filter, before, size) = query.split()?;
    let found = runner.list(&filter, before.as_ref(), size).await?;
    let weight = page::estimated_bytes(&found);
    let next_page = page::next(&found, size);
    let write = move || {
        let jobs = found.into_iter().map(Execution::from).collect();
        response::json(&Page { jobs, next_page })
    };
    Ok(offload(weight, write).await)
}

/// Returns the status of a job
#[utoipa::path(
    get,
    path = "/api/v1/job/{id}",
    params(Job),
    responses(
        (status = 200, description = "All that is known of it", body = Execution),
        JobErrors,
        CommonErrors
    ),
    tag = "jobs"
)]
async fn check(State(runner): RunnerState, Job { id }: Job) -> Result<Response, ErrorResponse> {
    Ok(response::json(&Execution::from(runner.check(&id).await?)))
}

/// Stops a job
///
/// Responds at once; the job has stopped when its phase is final. A job that has ended is left unchanged.
#[utoipa::path(
    post,
    path = "/api/v1/job/{id}/cancel",
    params(Job),
    responses(
        (status = 200, description = "It will stop, or has ended", body = Execution),
        JobErrors,
        CommonErrors
    ),
    tag = "jobs"
)]
async fn cancel(State(runner): RunnerState, call: Call, Job { id }: Job) -> Result<Response, ErrorResponse> {
    Ok(response::json(&Execution::from(runner.cancel(&id, &call.by).await?)))
}

/// Returns the log of a job's driver
///
/// If reading the log fails, the connection is closed. Clients that accept `application/x-ndjson` before all else get a
/// line of JSON for each part, with the `cursor` that requests the rest; if the stream fails, the last line is an error.
#[utoipa::path(
    get,
    path = "/api/v1/job/{id}/logs",
    params(Job, LogsQuery),
    responses(
        (status = 200, description = "As it was written, or in parts",
            content((String = "text/plain"), (LogLine = "application/x-ndjson"))),
        JobErrors,
        CommonErrors
    ),
    tag = "parts"
)]
async fn logs(
    State(runner): RunnerState,
    Job { id }: Job,
    Query(query): Query<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, ErrorResponse> {
    runner.check(&id).await?;
    let parts = check_first_piece(runner.logs(&id, LogRequest::from(query)), FIRST_PIECE_TIMEOUT).await?;
    let format = StreamFormat::Lines;
    if prefers(headers.get(ACCEPT), format.content_type()) {
        let parts = parts.map_ok(LogLine::from);
        return Ok(streamed::respond(
            format.content_type(),
            encode_values(parts, format, KEEP_ALIVE_INTERVAL),
        ));
    }
    let bytes = parts.map_ok(|part| part.bytes);
    Ok(streamed::respond("text/plain; charset=utf-8", bytes))
}

/// Streams the steps of a job, which are its transitions between phases
///
/// The response ends with the job. Each line is a step; if the stream fails, the last line is an error. Clients that
/// accept server-sent events before all else get events: `step`, and `error` at the end.
#[utoipa::path(
    get,
    path = "/api/v1/job/{id}/steps",
    params(Job, StepsQuery),
    responses(
        (status = 200, description = "A line of JSON for each step, or an event",
            content((Step = "application/x-ndjson"), (String = "text/event-stream"))),
        JobErrors,
        CommonErrors
    ),
    tag = "parts"
)]
async fn steps(
    State(runner): RunnerState,
    Job { id }: Job,
    Query(query): Query<StepsQuery>,
    headers: HeaderMap,
) -> Result<Response, ErrorResponse> {
    runner.check(&id).await?;
    let from = query.from();
    let steps = check_first_piece(runner.watch(&id, from), FIRST_PIECE_TIMEOUT).await?;
    let format = StreamFormat::of(headers.get(ACCEPT));
    let numbered = (from..).map(|number| number as u64);
    let steps = futures_util::stream::iter(numbered).zip(steps);
    let steps = steps.map(|(number, step)| step.map(|step| Step::of(number, step)));
    Ok(streamed::respond(format.content_type(), encode_values(steps, format, KEEP_ALIVE_INTERVAL)))
}

/// Returns the rows that a job's SQL returned
///
/// Rows exist once the job has succeeded, if its SQL returns them (`returnResult: true`). Each row is an object on its
/// own line. `format=avro`, or accepting `avro/binary` before all else, selects Avro. If reading the result fails, the
/// connection is closed.
#[utoipa::path(
    get,
    path = "/api/v1/job/{id}/result",
    params(Job, ResultQuery),
    responses(
        (status = 200, description = "All rows, as an array or as one Avro object container file",
            content((Vec<Row> = "application/json"), (String = "avro/binary"))),
        (status = 409, description = "The job has not succeeded yet, or its result can't be had in this format: `NOT_NOW`", body = error::ErrorBody),
        JobErrors,
        CommonErrors
    ),
    tag = "parts"
)]
async fn result(
    State(runner): RunnerState,
    Job { id }: Job,
    Query(query): Query<ResultQuery>,
    headers: HeaderMap,
) -> Result<Response, ErrorResponse> {
    let format = query.format(headers.get(ACCEPT));
    let content_type = match format {
        Format::Avro => streamed::AVRO,
        Format::Json => "application/json",
    };
    Ok(streamed::respond(
        content_type,
        check_first_piece(runner.result(&id, format), FIRST_PIECE_TIMEOUT).await?,
    ))
}

async fn unknown_path(method: Method, uri: Uri) -> ErrorResponse {
    ErrorResponse::no_such_path(&method, &uri)
}

async fn not_allowed(method: Method, uri: Uri) -> ErrorResponse {
    ErrorResponse::not_allowed(&method, &uri)
}
