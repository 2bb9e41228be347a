//! Requests, read strictly: unknown fields are errors.

use dcp_model::manifest::{Domain, Name};
use dcp_model::primitive::{Address, Fingerprint};
use dcp_server::ServiceError;
use dcp_server::rest::{Call, MAX_EXACT_INTEGER, Within, non_null};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::assets::{self, NewCompletions, canonical};
use crate::state::{InvalidScope, Scope};
use crate::wire::error::DOMAIN;

/// Number of items in a response by default, and at most.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u64 = 1_000;

/// A scope: `project` or `project/target`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    as = Scope, value_type = String, example = "shop/prod",
    pattern = "^[a-z]([a-z0-9-]{0,48}[a-z0-9])?(/[a-z]([a-z0-9-]{0,48}[a-z0-9])?)?$"
)]
pub(super) struct ScopeName(Scope);

impl TryFrom<String> for ScopeName {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse().map(Self)
    }
}

impl ScopeName {
    /// Returns the scope, and notes it for the log.
    pub(super) fn noted(self, call: &Call) -> Scope {
        call.note(self.0.as_str());
        self.0
    }
}

/// The address of an applied primitive: `kind/domain/name`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    as = Address, value_type = String, example = "ContinuousJob/logistics/clicks",
    pattern = "^(CoreEtlJob|Orchestrator|ContinuousJob|Pool)/[a-z]([a-z0-9-]{0,48}[a-z0-9])?/[a-z]([a-z0-9-]{0,48}[a-z0-9])?$"
)]
pub(super) struct AddressName(pub(super) Address);

impl TryFrom<String> for AddressName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address: Address = text.parse()?;
        if Domain::parse(&address.domain).is_err() || Name::parse(&address.name).is_err() {
            return Err("its domain and name have to be names".to_owned());
        }
        Ok(Self(address))
    }
}

/// The SHA-256 of a body, in hexadecimal.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    as = Fingerprint, value_type = String, pattern = "^[0-9a-f]{64}$",
    example = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
)]
pub(super) struct FingerprintText(pub(super) Fingerprint);

impl TryFrom<String> for FingerprintText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Fingerprint::parse(&text).map(Self).ok_or("it has to be a SHA-256 in hexadecimal")
    }
}

/// The name of an asset: `table:NAME`, `topic:NAME`, `path:NAME` or `asset:NAME`; at most 1,500 bytes.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    as = AssetName, value_type = String, example = "table:lake.mart.orders",
    pattern = r"^(asset|path|table|topic):[^\x00-\x1f\x7f-\x9f]+$"
)]
pub(super) struct AssetName(pub(super) String);

impl TryFrom<String> for AssetName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        canonical(&text).map(Self).map_err(|error| error.to_string())
    }
}

/// Maximum number of items in a response.
type Limit = Within<1, MAX_LIMIT>;

/// Returns the maximum number of items.
pub(super) fn limit(given: Option<Limit>) -> u32 {
    given.and_then(|Within(number)| u32::try_from(number).ok()).unwrap_or(DEFAULT_LIMIT)
}

/// Selects a state.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AppliedQuery {
    #[param(inline)]
    pub(super) scope: ScopeName,
    /// Serial of the state; the current one by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u64>, nullable = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub(super) serial: Option<Within<1, MAX_EXACT_INTEGER>>,
}

/// Selects an address.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevisionsQuery {
    #[param(inline)]
    pub(super) scope: ScopeName,
    #[param(inline)]
    pub(super) address: AddressName,
}

/// Selects commits.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    #[param(inline)]
    pub(super) scope: ScopeName,
    /// Selects commits with serials below this one: the `nextBefore` of an earlier response.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u64>, nullable = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub(super) before: Option<Within<1, MAX_EXACT_INTEGER>>,
    /// Maximum number of commits; 50 by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u32>, nullable = false, minimum = 1, maximum = 1000)]
    pub(super) limit: Option<Limit>,
}

/// Selects a body.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BodyQuery {
    #[param(inline)]
    pub(super) scope: ScopeName,
    #[param(inline)]
    pub(super) fingerprint: FingerprintText,
}

/// Selects continuous jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JobsQuery {
    #[param(inline)]
    pub(super) scope: ScopeName,
    /// Only the job of this address; all jobs by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(inline, value_type = Option<AddressName>, nullable = false)]
    pub(super) address: Option<AddressName>,
}

/// Selects events of a continuous job.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    #[param(inline)]
    pub(super) scope: ScopeName,
    #[param(inline)]
    pub(super) address: AddressName,
    /// Maximum number of events; 50 by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u32>, nullable = false, minimum = 1, maximum = 1000)]
    pub(super) limit: Option<Limit>,
}

/// The address of a continuous job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JobAddress {
    pub(super) scope: ScopeName,
    pub(super) address: AddressName,
}

/// Selects completions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CompletionsQuery {
    #[param(inline)]
    pub(super) scope: ScopeName,
    /// Selects completions after this number, oldest first: the `seen` of an earlier response. By default, the last
    /// completions are returned, newest first.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u64>, nullable = false, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) after: Option<Within<0, MAX_EXACT_INTEGER>>,
    /// Selects completions of this asset.
    #[serde(default, deserialize_with = "non_null")]
    #[param(nullable = false, inline)]
    pub(super) asset: Option<AssetName>,
    /// Maximum number of completions; 50 by default.
    #[serde(default, deserialize_with = "non_null")]
    #[param(value_type = Option<u32>, nullable = false, minimum = 1, maximum = 1000)]
    pub(super) limit: Option<Limit>,
}

/// Selects completed assets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CompletedQuery {
    #[param(inline)]
    pub(super) scope: ScopeName,
}

/// A report that a run completed assets. A repeated report adds nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Complete {
    pub(super) scope: ScopeName,
    #[schema(value_type = Vec<AssetName>, min_items = 1, max_items = 1000)]
    assets: Vec<String>,
    /// The complete partition; the whole asset by default.
    #[serde(default)]
    #[schema(max_length = 500, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$", example = "day=2026-11-20")]
    partition: String,
    /// Id of the run, the same in each repetition.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    run: String,
    /// The job that ran, `domain/name`, if it is an applied one.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(
        nullable = false,
        example = "logistics/orders",
        pattern = "^[a-z]([a-z0-9-]{0,48}[a-z0-9])?/[a-z]([a-z0-9-]{0,48}[a-z0-9])?$"
    )]
    job: Option<String>,
    /// The reporter, such as `airflow`. A reader of completions can skip its own.
    #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]+$", example = "airflow")]
    origin: String,
}

impl Complete {
    pub(super) fn split(self) -> Result<(ScopeName, NewCompletions), ServiceError> {
        let Self { scope, assets, partition, run, job, origin } = self;
        let new = NewCompletions { assets, partition, run, job, origin };
        match new.invalid_field() {
            Some(assets::InvalidField { name, message }) => {
                Err(ServiceError::invalid(DOMAIN, name, format!("`{name}` is invalid: {message}")))
            }
            None => Ok((scope, new)),
        }
    }
}
