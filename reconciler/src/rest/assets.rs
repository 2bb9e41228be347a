//! Calls about assets.

use axum::response::Response;
use dcp_server::rest::{Body, Call, CommonErrors, Query, Within, json, lines};
use dcp_server::{ServiceError, offload};

use super::error::{BodyErrors, ScopeErrors, empty_scope};
use super::request::{AssetName, Complete, CompletedQuery, CompletionsQuery, limit};
use super::response::{Completed, Completions, Reported};
use super::{ControlPlane, Used};
use crate::state::Scope;

/// Records that assets are complete
///
/// A repeated call is safe: an asset, a partition and a run are recorded once.
#[utoipa::path(
    post,
    path = "/api/v1/asset",
    request_body = Complete,
    responses(
        (status = 200, description = "The completions", body = Reported),
        BodyErrors,
        CommonErrors
    ),
    tag = "assets"
)]
pub(super) async fn complete(Used(plane): Used, call: Call, body: Body) -> Result<Response, ServiceError> {
    let (scope, new) = offload(body.len(), move || body.parse::<Complete>()?.split()).await?;
    let scope = scope.noted(&call);
    let completions = plane.assets.complete(&scope, &new, &call.caller.name, (plane.clock)()).await?;
    Ok(json(&Reported { completions: completions.into_iter().map(Into::into).collect() }))
}

/// Lists completed assets, by name
#[utoipa::path(
    get,
    path = "/api/v1/asset",
    params(CompletedQuery),
    responses(
        (status = 200, description = "A line of JSON for each asset",
            content((Completed = "application/x-ndjson"))),
        ScopeErrors,
        CommonErrors
    ),
    tag = "assets"
)]
pub(super) async fn completed(
    Used(plane): Used,
    call: Call,
    Query(CompletedQuery { scope }): Query<CompletedQuery>,
) -> Result<Response, ServiceError> {
    let scope = scope.noted(&call);
    let all = plane.assets.completed(&scope).await?;
    if all.is_empty() {
        check_scope(&plane, &scope).await?;
    }
    Ok(lines(all.into_iter().map(Completed::from)))
}

/// Lists completions, in the order of their numbers
#[utoipa::path(
    get,
    path = "/api/v1/asset/completions",
    params(CompletionsQuery),
    responses(
        (status = 200, description = "A page of completions", body = Completions),
        ScopeErrors,
        CommonErrors
    ),
    tag = "assets"
)]
pub(super) async fn completions(
    Used(plane): Used,
    call: Call,
    Query(CompletionsQuery { scope, after, asset, limit: size }): Query<CompletionsQuery>,
) -> Result<Response, ServiceError> {
    let scope = scope.noted(&call);
    let (after, asset) = (after.map(|Within(number)| number), asset.map(|AssetName(name)| name));
    let page = plane.assets.completions(&scope, after, asset.as_deref(), limit(size)).await?;
    if page.completions.is_empty() {
        check_scope(&plane, &scope).await?;
    }
    Ok(json(&Completions::from(page)))
}

/// Fails if a scope has neither commits nor completions.
async fn check_scope(plane: &ControlPlane, scope: &Scope) -> Result<(), ServiceError> {
    let is_known = !plane.registry.history(scope, None, 1).await?.is_empty()
        || !plane.assets.completions(scope, None, None, 1).await?.completions.is_empty();
    if is_known { Ok(()) } else { Err(empty_scope(scope)) }
}
