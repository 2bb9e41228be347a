//! A Runner over REST: JSON over HTTP, with an `OpenAPI` document of the interface.
//!
//! It only converts: requests become calls of [`crate::api`], and results become responses. [`dcp_server::rest`] has the
//! parts that all interfaces share.

mod attempt;
mod document;
mod error;
mod request;
mod response;
mod types;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use dcp_server::rest::{
    Api, Body, Call, CommonErrors, ErrorBody, FIRST_PIECE_TIMEOUT, Interface, KEEP_ALIVE_INTERVAL, Query,
    StreamFormat, check_first_piece, encode_values, json, prefers, respond,
};
use dcp_server::{ServiceError, offload};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::header::{ACCEPT, LOCATION};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{LogRequest, Runner};
use crate::guarded::{Guarded, Protected};
use crate::results::Format;
use crate::{page, wire};
use error::JobErrors;
use request::{Job, ListQuery, LogsQuery, ResultQuery, StepsQuery, Submit};
pub use response::Progress;
use response::{Execution, LogLine, Page, Row, Step};

pub use document::document;

/// The Runner that an interface is of.
#[derive(Debug, Clone)]
struct Served(Protected);

impl Interface for Served {
    const DOMAIN: &'static str = wire::error::DOMAIN;
}

/// The Runner as the caller of a request may use it.
#[derive(Debug)]
struct Used(Guarded);

impl FromRequestParts<Served> for Used {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, ServiceError> {
        let call = Call::from_request_parts(parts, served).await?;
        Ok(Self(served.0.used_by(&call.caller)))
    }
}

/// Returns the interface of a Runner.
pub fn api(runner: Arc<dyn Runner>) -> Api {
    Api::new(routes(), document(), Served(Protected::new(runner)))
}

/// Returns the routes and their part of the document, from one list.
fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::with_openapi(document::tags())
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
        (status = 201, description = "The job is stored, and will run", body = Execution,
            headers(("Location" = String, description = "Path of the job")),
            links(
                ("check" = (operation_id = "check", parameters(("id" = "$response.body#/id")))),
                ("cancel" = (operation_id = "cancel", parameters(("id" = "$response.body#/id")))),
                ("logs" = (operation_id = "logs", parameters(("id" = "$response.body#/id")))),
                ("steps" = (operation_id = "steps", parameters(("id" = "$response.body#/id")))),
                ("result" = (operation_id = "result", parameters(("id" = "$response.body#/id"))))
            )),
        (status = 200, description = "The token is known: the job of the first submit", body = Execution,
            headers(("Location" = String, description = "Path of the job"))),
        (status = 404, description = "The referenced job is not applied", body = ErrorBody),
        (status = 409, description = "The token belongs to another request: `TOKEN_REUSED`; another job holds the key: `HELD`; the lease is over: `FENCED`", body = ErrorBody),
        (status = 413, description = "The body is larger than 4 MiB", body = ErrorBody),
        (status = 415, description = "The content type is not JSON", body = ErrorBody),
        CommonErrors
    ),
    tag = "jobs"
)]
async fn submit(Used(runner): Used, call: Call, body: Body) -> Result<Response, ServiceError> {
    let by = call.caller.name.to_string();
    let request = offload(body.len(), move || body.parse::<Submit>()?.by(by)).await?;
    let submitted = runner.submit(request).await?;
    let id = submitted.record.id();
    call.note(id.as_str());
    let status = if submitted.fresh { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(LOCATION, format!("/api/v1/job/{id}"))];
    Ok((status, location, json(&Execution::from(submitted.record))).into_response())
}

/// Lists jobs, the newest first
#[utoipa::path(
    get,
    path = "/api/v1/job",
    params(ListQuery),
    responses((status = 200, description = "A page of jobs", body = Page), CommonErrors),
    tag = "jobs"
)]
async fn list(Used(runner): Used, Query(query): Query<ListQuery>) -> Result<Response, ServiceError> {
    let (filter, before, size) = query.split()?;
    let found = runner.list(&filter, before.as_ref(), size).await?;
    let weight = page::estimated_bytes(&found);
    let next_page = page::next(&found, size);
    let write = move || {
        let jobs = found.into_iter().map(Execution::from).collect();
        json(&Page { jobs, next_page })
    };
    Ok(offload(weight, write).await)
}

/// Returns the status of a job
#[utoipa::path(
    get,
    path = "/api/v1/job/{id}",
    params(Job),
    responses(
        (status = 200, description = "The status of the job", body = Execution),
        JobErrors,
        CommonErrors
    ),
    tag = "jobs"
)]
async fn check(Used(runner): Used, Job { id }: Job) -> Result<Response, ServiceError> {
    Ok(json(&Execution::from(runner.check(&id).await?)))
}

/// Stops a job
///
/// Responds at once; the job has stopped when its phase is final. A job that has ended is left unchanged.
#[utoipa::path(
    post,
    path = "/api/v1/job/{id}/cancel",
    params(Job),
    responses(
        (status = 200, description = "The job will stop, or has ended", body = Execution),
        JobErrors,
        CommonErrors
    ),
    tag = "jobs"
)]
async fn cancel(Used(runner): Used, call: Call, Job { id }: Job) -> Result<Response, ServiceError> {
    Ok(json(&Execution::from(runner.cancel(&id, &call.caller.name).await?)))
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
        (status = 200, description = "The log as it was written, or in parts",
            content((String = "text/plain"), (LogLine = "application/x-ndjson"))),
        JobErrors,
        CommonErrors
    ),
    tag = "parts"
)]
async fn logs(
    Used(runner): Used,
    Job { id }: Job,
    Query(query): Query<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, ServiceError> {
    runner.check(&id).await?;
    let parts = check_first_piece(runner.logs(&id, LogRequest::from(query)), FIRST_PIECE_TIMEOUT).await?;
    let format = StreamFormat::Lines;
    if prefers(headers.get(ACCEPT), format.content_type()) {
        let parts = parts.map_ok(LogLine::from);
        return Ok(respond(format.content_type(), encode_values("part", parts, format, KEEP_ALIVE_INTERVAL)));
    }
    let bytes = parts.map_ok(|part| part.bytes);
    Ok(respond("text/plain; charset=utf-8", bytes))
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
    Used(runner): Used,
    Job { id }: Job,
    Query(query): Query<StepsQuery>,
    headers: HeaderMap,
) -> Result<Response, ServiceError> {
    runner.check(&id).await?;
    let from = query.from();
    let steps = check_first_piece(runner.watch(&id, from), FIRST_PIECE_TIMEOUT).await?;
    let format = StreamFormat::of(headers.get(ACCEPT));
    let numbered = (from..).map(|number| number as u64);
    let steps = futures_util::stream::iter(numbered).zip(steps);
    let steps = steps.map(|(number, step)| step.map(|step| Step::of(number, step)));
    Ok(respond(format.content_type(), encode_values("step", steps, format, KEEP_ALIVE_INTERVAL)))
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
        (status = 409, description = "The job has not succeeded yet, or its result is not available in this format: `NOT_NOW`", body = ErrorBody),
        JobErrors,
        CommonErrors
    ),
    tag = "parts"
)]
async fn result(
    Used(runner): Used,
    Job { id }: Job,
    Query(query): Query<ResultQuery>,
    headers: HeaderMap,
) -> Result<Response, ServiceError> {
    let format = query.format(headers.get(ACCEPT));
    let content_type = match format {
        Format::Avro => request::AVRO,
        Format::Json => "application/json",
    };
    Ok(respond(content_type, check_first_piece(runner.result(&id, format), FIRST_PIECE_TIMEOUT).await?))
}
