//! Requests, read strictly: unknown fields are errors.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path};
use dcp_model::primitive::{CoreEtlJob, Fingerprint};
use dcp_server::ServiceError;
use dcp_server::rest::{Call, Interface, MAX_EXACT_INTEGER, Within, non_null, prefers};
use http::HeaderValue;
use http::request::Parts;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::types::{Fence, Phase, Streaming};
use crate::api::{Cursor, Filter, LogRequest};
use crate::execution::Id;
use crate::results::Format;
use crate::wire::{self, error::DOMAIN};
use crate::{page, request, streaming};

pub(super) const AVRO: &str = "avro/binary";
/// Maximum length of a name, in characters.
const MAX_NAME_CHARS: usize = 256;

fn invalid(field: &'static str, message: impl Into<String>) -> ServiceError {
    ServiceError::invalid(DOMAIN, field, message)
}

/// The job in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Job {
    /// The id from the response to the submit.
    #[param(value_type = String, pattern = "^[a-z0-9]{1,40}$")]
    pub(super) id: Id,
}

impl<S: Interface> FromRequestParts<S> for Job {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ServiceError> {
        let wrong = |what: String| invalid("id", what);
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|_| wrong("an id is not UTF-8".to_owned()))?;
        let id = wire::read_id(&text).map_err(wrong)?;
        Call::from_request_parts(parts, state).await?.note(id.as_str());
        Ok(Self { id })
    }
}

/// A name to filter by, which has no control characters.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct NameFilter(String);

impl TryFrom<String> for NameFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (1..=MAX_NAME_CHARS).contains(&text.chars().count()) && !text.contains(char::is_control) {
            true => Ok(Self(text)),
            false => Err(format!("it has to be 1 to {MAX_NAME_CHARS} characters, and no control characters")),
        }
    }
}

/// The id with which the previous page ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PageToken(Id);

impl TryFrom<String> for PageToken {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let id = Id::parse(&text).map(Self);
        id.ok_or_else(|| "it has to be the `nextPage` of an earlier answer".to_owned())
    }
}

/// Selects jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Scope: a project, or a `project/target`.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<String>, nullable = false, min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    scope: Option<NameFilter>,
    /// Domain of the jobs.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<String>, nullable = false, min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    domain: Option<NameFilter>,
    /// Name of the jobs.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<String>, nullable = false, min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    name: Option<NameFilter>,
    /// Phase of the jobs. May be repeated to select several phases.
    #[serde(default)]
    #[param(max_items = 64)]
    phase: Vec<Phase>,
    /// Maximum number of jobs; 50 by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u32>, nullable = false, minimum = 1, maximum = 1000)]
    limit: Option<Within<1, { page::MAX_SIZE as u64 }>>,
    /// The `nextPage` of an earlier response.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<String>, nullable = false, pattern = "^[a-z0-9]{1,40}$")]
    page: Option<PageToken>,
}

impl ListQuery {
    pub(super) fn split(self) -> Result<(Filter, Option<Id>, u32), ServiceError> {
        let Self { scope, domain, name, phase, limit, page: from } = self;
        if phase.len() > page::MAX_PHASES {
            let message = format!("`phase` can be given {} times at most", page::MAX_PHASES);
            return Err(invalid("phase", message));
        }
        let text = |named: Option<NameFilter>| named.map(|NameFilter(text)| text);
        let phases = phase.into_iter().map(Phase::into).collect();
        let filter = Filter {
            scope: text(scope),
            domain: text(domain),
            name: text(name),
            phases,
            ..Filter::default()
        };
        let size = limit.and_then(|Within(number)| u32::try_from(number).ok()).unwrap_or(page::DEFAULT_SIZE);
        Ok((filter, from.map(|PageToken(id)| id), size))
    }
}

/// A position in a log.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct After(Cursor);

impl TryFrom<String> for After {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it has to be the `cursor` of a part of the log".to_owned());
        }
        text.parse().map(Self).map_err(|error: dcp_gateway::Error| error.to_string())
    }
}

/// Selects a part of a log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogsQuery {
    /// Number of the attempt, counted from 1; the last attempt by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u64>, nullable = false, minimum = 1, maximum = 4_294_967_295_u64)]
    attempt: Option<Within<1, { u32::MAX as u64 }>>,
    /// Position after which to start, the `cursor` of a part of this attempt's log; the log's beginning by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<String>, nullable = false, min_length = 1, max_length = 256)]
    cursor: Option<After>,
    /// Continues as long as the job runs; if no attempt is given, through all further attempts.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<bool>, nullable = false)]
    follow: Option<bool>,
}

impl From<LogsQuery> for LogRequest {
    fn from(query: LogsQuery) -> Self {
        let LogsQuery { attempt, cursor, follow } = query;
        Self {
            attempt: attempt.and_then(|Within(number)| u32::try_from(number).ok()),
            after: cursor.map(|After(cursor)| cursor).unwrap_or_default(),
            follow: follow.unwrap_or_default(),
        }
    }
}

/// Selects steps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StepsQuery {
    /// Number of the first step, counted from 0.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u64>, nullable = false, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    from: Option<Within<0, MAX_EXACT_INTEGER>>,
}

impl StepsQuery {
    pub(super) fn from(&self) -> usize {
        self.from.and_then(|Within(number)| usize::try_from(number).ok()).unwrap_or_default()
    }
}

/// The format of a result.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResultQuery {
    /// Format of the rows; by default, the one in `Accept`, or else JSON.
    #[serde(default, deserialize_with = "non_null")]
    #[param(nullable = false, inline)]
    format: Option<RowFormat>,
}

/// A format of rows.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum RowFormat {
    Json,
    Avro,
}

impl ResultQuery {
    pub(super) fn format(&self, accept: Option<&HeaderValue>) -> Format {
        match self.format {
            Some(RowFormat::Avro) => Format::Avro,
            None if prefers(accept, AVRO) => Format::Avro,
            Some(RowFormat::Json) | None => Format::Json,
        }
    }
}

/// A request to run a job once: either an inline job as `definition`, or an applied job as `reference`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Submit {
    /// Idempotency token: a repeated submit with the same token returns the same job.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    token: String,
    /// A job in the format of `dcp compile`: the body of a `CoreEtlJob`.
    #[schema(value_type = Option<Object>)]
    definition: Option<Box<CoreEtlJob>>,
    reference: Option<Reference>,
    /// Values of the job's parameters, at most 256.
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    streaming: Option<Streaming>,
    /// Exclusive key. At most one live job of the domain holds it, of any caller. A stream has its checkpoint as key.
    #[schema(min_length = 1, max_length = 1024)]
    exclusive: Option<String>,
    /// With `exclusive`: the order among the jobs with the same key. The job waits for the key, and cancels the job of
    /// a lower order that holds it.
    order: Option<i64>,
    fence: Option<Fence>,
    /// The person for whom a service submits, as the service reports it. It gives no right.
    #[schema(min_length = 1, max_length = 256)]
    on_behalf_of: Option<String>,
}

/// A reference to an applied job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reference {
    /// `project` or `project/target`.
    #[schema(min_length = 1, max_length = 256)]
    scope: String,
    #[schema(min_length = 1, max_length = 256)]
    domain: String,
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// Fingerprint of the revision; the applied one if none is given.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    fingerprint: Option<String>,
}

impl Submit {
    /// Returns the request of a caller.
    pub(super) fn by(self, by: String) -> Result<request::Submit, ServiceError> {
        let Self { token, definition, reference, parameters, .. } = self;
        let Self { streaming, exclusive, order, fence, on_behalf_of, .. } = self;
        let job = match (definition, reference) {
            (Some(job), None) => request::Definition::from(*job),
            (None, Some(reference)) => request::Definition::Applied(reference.read()?),
            _ => {
                let rule = "say either `definition`, for a job that comes along, or `reference`, for one that was \
                            applied";
                return Err(invalid("definition", rule));
            }
        };
        let streaming = streaming.map(streaming::Streaming::from);
        let fence = fence.map(|Fence { lease, epoch }| request::Fence { lease, epoch });
        Ok(request::Submit { token, job, parameters, streaming, exclusive, order, fence, by, on_behalf_of })
    }
}

impl Reference {
    fn read(self) -> Result<request::Reference, ServiceError> {
        let Self { scope, domain, name, fingerprint } = self;
        let wrong = || invalid("reference.fingerprint", "a fingerprint is a SHA-256 in hexadecimal");
        let fingerprint = fingerprint.map(|text| Fingerprint::parse(&text).ok_or_else(wrong)).transpose()?;
        Ok(request::Reference { scope, domain, name, fingerprint })
    }
}
