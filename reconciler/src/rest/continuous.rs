//! Calls about continuous jobs.

use axum::response::Response;
use dcp_model::primitive::Kind;
use dcp_server::ServiceError;
use dcp_server::rest::{Body, Call, CommonErrors, Query, json};

use super::error::{BodyErrors, ScopeErrors, empty_scope, not_found};
use super::job::ContinuousJobs;
use super::request::{EventsQuery, JobAddress, JobsQuery, limit};
use super::response::{Events, JobRequest, Reconciler};
use super::{ControlPlane, Used};
use crate::reconcile::{self, Request};

/// Returns the reconciler that holds the lease
#[utoipa::path(
    get,
    path = "/api/v1/reconciler",
    responses(
        (status = 200, description = "The reconciler; empty if none ever held the lease", body = Reconciler),
        CommonErrors
    ),
    tag = "continuous"
)]
pub(super) async fn reconciler(Used(plane): Used) -> Result<Response, ServiceError> {
    let leader = plane.jobs.leader().await?;
    Ok(json(&leader.map(Reconciler::from).unwrap_or_default()))
}

/// Lists continuous jobs, each with its condition
#[utoipa::path(
    get,
    path = "/api/v1/continuous",
    params(JobsQuery),
    responses((status = 200, description = "The jobs", body = ContinuousJobs), ScopeErrors, CommonErrors),
    tag = "continuous"
)]
pub(super) async fn jobs(
    Used(plane): Used,
    call: Call,
    Query(JobsQuery { scope, address }): Query<JobsQuery>,
) -> Result<Response, ServiceError> {
    let scope = scope.noted(&call);
    let overview = plane.jobs.jobs(&scope, address.as_ref().map(|it| &it.0)).await?;
    let reconcile::Overview { jobs, runner_error } = overview;
    if jobs.is_empty() && plane.registry.history(&scope, None, 1).await?.is_empty() {
        return Err(empty_scope(&scope));
    }
    Ok(json(&ContinuousJobs { jobs: jobs.into_iter().map(Into::into).collect(), runner_error }))
}

/// Pauses a continuous job
///
/// Responds once the request is recorded; `events` reports when the job has stopped.
#[utoipa::path(
    post,
    path = "/api/v1/continuous/pause",
    request_body = JobAddress,
    responses(
        (status = 200, description = "The recorded request", body = JobRequest),
        ScopeErrors,
        BodyErrors,
        CommonErrors
    ),
    tag = "continuous"
)]
pub(super) async fn pause(Used(plane): Used, call: Call, body: Body) -> Result<Response, ServiceError> {
    request(&plane, call, &body, Request::Pause).await
}

/// Resumes a paused continuous job
#[utoipa::path(
    post,
    path = "/api/v1/continuous/resume",
    request_body = JobAddress,
    responses(
        (status = 200, description = "The recorded request", body = JobRequest),
        ScopeErrors,
        BodyErrors,
        CommonErrors
    ),
    tag = "continuous"
)]
pub(super) async fn resume(Used(plane): Used, call: Call, body: Body) -> Result<Response, ServiceError> {
    request(&plane, call, &body, Request::Resume).await
}

/// Restarts a continuous job
///
/// A repeated call restarts it again.
#[utoipa::path(
    post,
    path = "/api/v1/continuous/restart",
    request_body = JobAddress,
    responses(
        (status = 200, description = "The recorded request", body = JobRequest),
        ScopeErrors,
        BodyErrors,
        CommonErrors
    ),
    tag = "continuous"
)]
pub(super) async fn restart(Used(plane): Used, call: Call, body: Body) -> Result<Response, ServiceError> {
    request(&plane, call, &body, Request::Restart).await
}

async fn request(
    plane: &ControlPlane,
    call: Call,
    body: &Body,
    request: Request,
) -> Result<Response, ServiceError> {
    let JobAddress { scope, address } = body.parse()?;
    let (scope, address, at) = (scope.noted(&call), address.0, (plane.clock)());
    plane.jobs.request(&scope, &address, request, &call.caller.name, at).await?;
    Ok(json(&JobRequest::new(&scope, &address, request, call.caller.name.to_string(), at)))
}

/// Lists the last decisions about a continuous job, the newest first
#[utoipa::path(
    get,
    path = "/api/v1/continuous/events",
    params(EventsQuery),
    responses((status = 200, description = "The last events", body = Events), ScopeErrors, CommonErrors),
    tag = "continuous"
)]
pub(super) async fn events(
    Used(plane): Used,
    call: Call,
    Query(EventsQuery { scope, address, limit: size }): Query<EventsQuery>,
) -> Result<Response, ServiceError> {
    let (scope, address) = (scope.noted(&call), address.0);
    let was_applied = !plane.registry.revisions(&scope, &address).await?.is_empty();
    if address.kind != Kind::ContinuousJob || !was_applied {
        return Err(not_found(format!("no continuous job `{address}` was ever applied to `{scope}`")));
    }
    let events = plane.jobs.events(&scope, &address, limit(size)).await?;
    Ok(json(&Events { events: events.into_iter().map(Into::into).collect() }))
}
