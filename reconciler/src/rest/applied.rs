//! Calls about what is applied.

use axum::response::{IntoResponse as _, Response};
use dcp_server::ServiceError;
use dcp_server::rest::{Call, CommonErrors, Query, Within, json, lines};
use http::header::CONTENT_TYPE;

use super::Used;
use super::error::{ScopeErrors, empty_scope, not_found};
use super::request::{AppliedQuery, BodyQuery, HistoryQuery, RevisionsQuery, limit};
use super::response::{AppliedLine, History, Revisions};

/// Returns what is applied to a scope
///
/// The first line has the `head` of the scope; each further line has an `entry`, sorted by address.
#[utoipa::path(
    get,
    path = "/api/v1/applied",
    params(AppliedQuery),
    responses(
        (status = 200, description = "A line of JSON for the head, and one for each entry",
            content((AppliedLine = "application/x-ndjson"))),
        ScopeErrors,
        CommonErrors
    ),
    tag = "applied"
)]
pub(super) async fn applied(
    Used(plane): Used,
    call: Call,
    Query(AppliedQuery { scope, serial }): Query<AppliedQuery>,
) -> Result<Response, ServiceError> {
    let scope = scope.noted(&call);
    let state = match serial {
        Some(Within(serial)) => plane.registry.state_at(&scope, serial).await?,
        None => plane.registry.state(&scope).await?,
    };
    match state.base.serial {
        0 => Err(empty_scope(&scope)),
        _ => Ok(lines(AppliedLine::all(state))),
    }
}

/// Lists the revisions of an address, the newest first
#[utoipa::path(
    get,
    path = "/api/v1/applied/revisions",
    params(RevisionsQuery),
    responses(
        (status = 200, description = "All revisions, also those before a deletion", body = Revisions),
        ScopeErrors,
        CommonErrors
    ),
    tag = "applied"
)]
pub(super) async fn revisions(
    Used(plane): Used,
    call: Call,
    Query(RevisionsQuery { scope, address }): Query<RevisionsQuery>,
) -> Result<Response, ServiceError> {
    let (scope, address) = (scope.noted(&call), address.0);
    let revisions = plane.registry.revisions(&scope, &address).await?;
    if revisions.is_empty() {
        return Err(not_found(format!("`{address}` was never applied to `{scope}`")));
    }
    Ok(json(&Revisions { revisions: revisions.into_iter().map(Into::into).collect() }))
}

/// Lists commits, the newest first
#[utoipa::path(
    get,
    path = "/api/v1/applied/history",
    params(HistoryQuery),
    responses((status = 200, description = "A page of commits", body = History), ScopeErrors, CommonErrors),
    tag = "applied"
)]
pub(super) async fn history(
    Used(plane): Used,
    call: Call,
    Query(HistoryQuery { scope, before, limit: size }): Query<HistoryQuery>,
) -> Result<Response, ServiceError> {
    let (scope, size) = (scope.noted(&call), limit(size));
    let found = plane.registry.history(&scope, before.map(|Within(serial)| serial), size).await?;
    if found.is_empty() && plane.registry.history(&scope, None, 1).await?.is_empty() {
        return Err(empty_scope(&scope));
    }
    let is_full = u32::try_from(found.len()).is_ok_and(|number| number >= size);
    let next_before = found.last().map(|last| last.serial).filter(|serial| is_full && *serial > 1);
    Ok(json(&History { commits: found.into_iter().map(Into::into).collect(), next_before }))
}

/// Returns the body of a primitive
///
/// It is the canonical text of which the fingerprint is the SHA-256.
#[utoipa::path(
    get,
    path = "/api/v1/applied/body",
    params(BodyQuery),
    responses(
        (status = 200, description = "The primitive", content((Object = "application/json"))),
        ScopeErrors,
        CommonErrors
    ),
    tag = "applied"
)]
pub(super) async fn body(
    Used(plane): Used,
    call: Call,
    Query(BodyQuery { scope, fingerprint }): Query<BodyQuery>,
) -> Result<Response, ServiceError> {
    let (scope, fingerprint) = (scope.noted(&call), fingerprint.0);
    let text = plane.registry.bodies(&scope, std::slice::from_ref(&fingerprint)).await?.pop();
    let missing = || not_found(format!("there is no body with the fingerprint {}", fingerprint.as_str()));
    Ok(([(CONTENT_TYPE, "application/json")], text.ok_or_else(missing)?).into_response())
}
