//! Pools, sessions and SQL over REST. SQL is for queries that are quick enough for one request.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use dcp_model::manifest::Memory;
use dcp_server::rest::{Api, Body, Call, CommonErrors, ErrorBody, Interface, Query, Within, json, non_null};
use dcp_server::{ServiceError, offload};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use utoipa::openapi::OpenApi;
use utoipa::{IntoParams, OpenApi as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::client::{Rows, Session, Wanted};
use crate::ending::{Ending, Named};
use crate::overview::{DOMAIN, Overview, PoolStatus, SessionStatus};
use crate::proxy::{CallerProxy, Proxy};

const DEFAULT_ROWS: u64 = 1_000;
const MAX_ROWS: u64 = 10_000;
const DEFAULT_TIMEOUT: u64 = 60;
const MAX_TIMEOUT: u64 = 600;
const MAX_CORES: u64 = 1_000_000;
/// Maximum size of the rows that one response has, as Arrow.
const MAX_BYTES: usize = 32 << 20;
/// Time for ending the session of a request.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Served(Proxy);

impl Interface for Served {
    const DOMAIN: &'static str = DOMAIN;
}

#[derive(utoipa::OpenApi)]
#[openapi(tags(
    (name = "pools", description = "Pools of Spark Connect drivers, and their sessions"),
    (name = "sql", description = "Queries on the drivers of pools")
))]
struct Tags;

/// Returns the interface.
pub fn api(proxy: Proxy) -> Api {
    Api::new(routes(), document(), Served(proxy))
}

/// Returns the part of the document.
pub fn document() -> OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::with_openapi(Tags::openapi())
        .routes(routes!(pools))
        .routes(routes!(sessions))
        .routes(routes!(end_session))
        .routes(routes!(sql))
}

/// Selects pools.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PoolsQuery {
    /// Only pools of this domain; all domains by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(nullable = false)]
    domain: Option<String>,
}

/// Selects sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SessionsQuery {
    /// Only sessions of this domain; all domains by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(nullable = false)]
    domain: Option<String>,
    /// Whether sessions of other users are listed too.
    #[serde(default)]
    #[param(default = false)]
    all: bool,
}

/// The pools of Spark Connect drivers.
#[derive(Debug, Serialize, ToSchema)]
struct PoolList {
    pools: Vec<PoolStatus>,
}

/// The sessions that have not ended.
#[derive(Debug, Serialize, ToSchema)]
struct SessionList {
    sessions: Vec<SessionStatus>,
}

/// Lists the pools of Spark Connect drivers
///
/// Pools of domains that the caller may not read are left out.
#[utoipa::path(
    get,
    path = "/api/v1/pool",
    params(PoolsQuery),
    responses((status = 200, description = "The pools", body = PoolList), CommonErrors),
    tag = "pools"
)]
async fn pools(
    State(Served(proxy)): State<Served>,
    call: Call,
    Query(PoolsQuery { domain }): Query<PoolsQuery>,
) -> Result<Response, ServiceError> {
    note(&call, domain.as_deref());
    let pools = Overview { store: proxy.store(), caller: &call.caller }.pools(domain.as_deref()).await?;
    Ok(json(&PoolList { pools }))
}

/// Lists the caller's sessions
///
/// With `all`, those of other users too, in the domains in which the caller has the role `operator`. At most 10,000.
#[utoipa::path(
    get,
    path = "/api/v1/session",
    params(SessionsQuery),
    responses((status = 200, description = "The sessions", body = SessionList), CommonErrors),
    tag = "pools"
)]
async fn sessions(
    State(Served(proxy)): State<Served>,
    call: Call,
    Query(SessionsQuery { domain, all }): Query<SessionsQuery>,
) -> Result<Response, ServiceError> {
    note(&call, domain.as_deref());
    let overview = Overview { store: proxy.store(), caller: &call.caller };
    Ok(json(&SessionList { sessions: overview.sessions(domain.as_deref(), all).await? }))
}

/// Names a session among those of the same id.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OwnerQuery {
    /// The domain of the session; needed if several sessions have the id.
    #[serde(default, deserialize_with = "non_null")]
    #[param(nullable = false)]
    domain: Option<String>,
    /// The user of the session; needed if several sessions have the id.
    #[serde(default, deserialize_with = "non_null")]
    #[param(nullable = false)]
    user: Option<String>,
}

/// Ends a session
///
/// Its driver ends it, with its queries, and its client gets the error `SESSION_CLOSED`. It needs the role `operator` of the domain.
#[utoipa::path(
    delete,
    path = "/api/v1/session/{id}",
    params(("id" = String, Path, description = "The UUID that the client chose"), OwnerQuery),
    responses(
        (status = 200, description = "The session that was ended", body = SessionStatus),
        (status = 404, description = "There is no such session", body = ErrorBody),
        CommonErrors
    ),
    tag = "pools"
)]
async fn end_session(
    State(Served(proxy)): State<Served>,
    call: Call,
    id: Result<Path<String>, PathRejection>,
    Query(OwnerQuery { domain, user }): Query<OwnerQuery>,
) -> Result<Response, ServiceError> {
    let id = id.map_err(|_| ServiceError::invalid(Served::DOMAIN, "id", "an id is not UTF-8"))?;
    call.note(id.as_str());
    let named = Named { id: id.as_str(), domain: domain.as_deref(), user: user.as_deref() };
    Ok(json(&Ending { proxy: &proxy, caller: &call.caller }.end(named).await?))
}

fn note(call: &Call, domain: Option<&str>) {
    if let Some(domain) = domain {
        call.note(domain);
    }
}

/// A statement, and the driver that executes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SqlQuery {
    /// One statement of Spark SQL.
    #[schema(
        pattern = r"\S",
        example = "SELECT status, count(*) AS orders FROM lake.orders GROUP BY status"
    )]
    sql: String,
    /// The domain whose pool executes it. It can be left out if the caller may use the pools of one domain only.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(nullable = false, pattern = "^[!-~]{1,256}$")]
    domain: Option<String>,
    /// The name of the pool.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(nullable = false, pattern = "^[!-~]{1,256}$")]
    pool: Option<String>,
    /// The version of Spark, such as `4.1`.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(nullable = false, pattern = "^[!-~]{1,256}$")]
    engine: Option<String>,
    /// The minimum of cores of a driver: of all its executors, at their maximum. The smallest pool that is large enough is used
    /// first.
    #[serde(default, deserialize_with = "integer")]
    #[schema(value_type = Option<u64>, nullable = false, minimum = 1, maximum = 1_000_000, example = 16)]
    cores: Option<Within<1, MAX_CORES>>,
    /// The minimum of their memory.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(
        value_type = Option<String>,
        nullable = false,
        pattern = "^([1-9][0-9]{0,5}[kKmMgG]|[1-9][0-9]{0,2}[tT])[iI]?[bB]?$",
        example = "64g"
    )]
    memory: Option<Memory>,
    /// Maximum number of rows of the response.
    #[serde(default, deserialize_with = "integer")]
    #[schema(value_type = Option<u64>, nullable = false, minimum = 1, maximum = 10000, default = 1000)]
    max_rows: Option<Within<1, MAX_ROWS>>,
    /// Time in seconds after which the query is cancelled.
    #[serde(default, deserialize_with = "integer")]
    #[schema(value_type = Option<u64>, nullable = false, minimum = 1, maximum = 600, default = 60)]
    timeout: Option<Within<1, MAX_TIMEOUT>>,
}

/// Deserializes an integer, which JSON may write as `60.0`.
fn integer<'de, D: Deserializer<'de>, const LEAST: u64, const MOST: u64>(
    from: D,
) -> Result<Option<Within<LEAST, MOST>>, D::Error> {
    let number = Number::deserialize(from)?;
    let text = number.to_string();
    let whole = text.strip_suffix(".0").unwrap_or(&text).parse::<u64>();
    let whole = whole.map_err(|_| D::Error::custom(format!("`{text}` is no whole number")))?;
    Within::try_from(whole).map(Some).map_err(D::Error::custom)
}

/// The rows of a result.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Rowset {
    columns: Vec<Column>,
    /// The values of each row, in the order of the columns.
    #[schema(value_type = Vec<Vec<Object>>)]
    rows: Vec<Vec<Value>>,
    /// Whether the result has more rows than `maxRows`.
    truncated: bool,
}

/// A column of a result.
#[derive(Debug, Serialize, ToSchema)]
struct Column {
    name: String,
    /// The type, in the words of Arrow.
    r#type: String,
}

/// Executes a statement, and returns its rows
///
/// Each request has a session of its own, so temporary views and settings are gone after it. While no driver of the pool is free,
/// one is started: the response is then `UNAVAILABLE`, and a retry succeeds once it is ready. A statement that writes is not safe
/// to repeat.
#[utoipa::path(
    post,
    path = "/api/v1/sql",
    request_body = SqlQuery,
    responses(
        (status = 200, description = "The rows", body = Rowset),
        (status = 413, description = "The body is larger than 4 MiB, or the rows are larger than 32 MiB", body = ErrorBody),
        (status = 415, description = "The content type is not JSON", body = ErrorBody),
        (status = 429, description = "Every driver has its maximum of sessions", body = ErrorBody),
        CommonErrors
    ),
    tag = "sql"
)]
async fn sql(State(Served(proxy)): State<Served>, call: Call, body: Body) -> Result<Response, ServiceError> {
    let query: SqlQuery = body.parse()?;
    if query.sql.trim().is_empty() {
        return Err(ServiceError::invalid(Served::DOMAIN, "sql", "`sql` is empty; write one statement"));
    }
    let wanted = Wanted {
        domain: query.domain,
        pool: query.pool,
        engine: query.engine,
        cores: query.cores.and_then(|cores| u32::try_from(cores.0).ok()),
        memory: query.memory,
    };
    let session = Session::new(CallerProxy::new(proxy, call.caller.clone()), &wanted);
    let session = session.map_err(|why| ServiceError::invalid(Served::DOMAIN, "pool", why))?;
    call.note(session.id());
    // The session ends also if the client disconnects.
    let session = Released(session);
    let rows = query.max_rows.map_or(DEFAULT_ROWS, |rows| rows.0);
    let time = Duration::from_secs(query.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0));
    match timeout(time, execute(&session.0, &query.sql, rows)).await {
        Ok(executed) => executed,
        Err(_) => {
            let message =
                format!("the query took longer than {} s and was cancelled; raise `timeout`", time.as_secs());
            Err(ServiceError::new(Code::DeadlineExceeded, Served::DOMAIN, "TOO_LATE", message))
        }
    }
}

async fn execute(session: &Session, sql: &str, rows: u64) -> Result<Response, ServiceError> {
    let limit = u32::try_from(rows + 1).unwrap_or(u32::MAX);
    let mut batches = session.execute(sql, Some(limit)).await.map_err(|status| statement_failed(&status))?;
    let (mut parts, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.next().await.map_err(|status| statement_failed(&status))? {
        bytes += batch.len();
        if bytes > MAX_BYTES {
            let message =
                format!("the rows have more than {} MiB; select less, or lower `maxRows`", MAX_BYTES >> 20);
            return Err(ServiceError::new(Code::ResourceExhausted, Served::DOMAIN, "TOO_LARGE", message)
                .with_http_code(http::StatusCode::PAYLOAD_TOO_LARGE));
        }
        parts.push(batch);
    }
    let rowset = offload(bytes, move || rowset(&parts, rows)).await;
    let rowset =
        rowset.map_err(|why| ServiceError::new(Code::Internal, Served::DOMAIN, "UNREADABLE", why))?;
    Ok(json(&rowset))
}

fn rowset(batches: &[bytes::Bytes], max_rows: u64) -> Result<Rowset, String> {
    let mut rowset = Rowset { columns: Vec::new(), rows: Vec::new(), truncated: false };
    for batch in batches {
        let batch = Rows::read(batch)?;
        if rowset.columns.is_empty() {
            let columns = batch.schema().columns().into_iter();
            rowset.columns = columns.map(|column| Column { name: column.name, r#type: column.of }).collect();
        }
        rowset.rows.extend(batch.values()?);
    }
    let max_rows = usize::try_from(max_rows).unwrap_or(usize::MAX);
    rowset.truncated = rowset.rows.len() > max_rows;
    rowset.rows.truncate(max_rows);
    Ok(rowset)
}

/// A session that ends when it is dropped.
struct Released(Session);

impl Drop for Released {
    fn drop(&mut self) {
        let session = self.0.clone();
        tokio::spawn(async move {
            // If this fails, the session ends with its idle timeout.
            let _ = timeout(RELEASE_TIMEOUT, session.release()).await;
        });
    }
}

/// Converts the error of a query. An error of the statement is one of the caller.
pub(crate) fn statement_failed(status: &Status) -> ServiceError {
    let info = status.get_details_error_info();
    let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let of_spark = info.filter(|info| info.domain == crate::failure::SPARK);
    let state = of_spark.as_ref().and_then(|info| info.metadata.get("sqlState"));
    let is_internal = state.is_none_or(|state| state.starts_with("XX"));
    let (code, reason) = match status.code() {
        Code::Internal | Code::Unknown if !is_internal => (Code::InvalidArgument, "SQL"),
        Code::PermissionDenied => (Code::PermissionDenied, "DENIED"),
        Code::InvalidArgument => (Code::InvalidArgument, "INVALID"),
        Code::ResourceExhausted => (Code::ResourceExhausted, "EXHAUSTED"),
        Code::Unavailable => (Code::Unavailable, "UNAVAILABLE"),
        _ => (Code::Internal, "FAILED"),
    };
    let mut error = ServiceError::new(code, Served::DOMAIN, reason, status.message());
    for key in ["errorClass", "sqlState"] {
        if let Some(value) = of_spark.as_ref().and_then(|info| info.metadata.get(key)) {
            error = error.with(key, value);
        }
    }
    error.with_retry_after(retry_after)
}
