//! Completions of assets, reported by Airflow, streams and other systems. The registry holds their writers and readers.
//!
//! Completions are numbered within a scope. A completion becomes visible after all those with lower numbers, so a
//! reader continues from the last number that it saw.

pub mod lineage;
mod remote;
mod sql;

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use dcp_model::dataset::{Dataset, DatasetKind};
use dcp_model::manifest::{Domain, Name};
use jiff::Timestamp;

use crate::registry::{Error, Result};
use crate::state::Scope;

/// The maximum number of assets in one report, and of completions in one page.
pub const MAX_ITEMS: u32 = 1_000;

/// A report that a run completed assets. A repeated report adds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCompletions {
    /// Names in the form `kind:name`.
    pub assets: Vec<String>,
    /// The complete partition; empty for the whole asset.
    pub partition: String,
    pub run: String,
    /// The job that ran, `domain/name`, if it is an applied one.
    pub job: Option<String>,
    /// The reporter, such as `airflow`. A reader of completions can skip its own.
    pub origin: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The number within the scope, from 1.
    pub number: u64,
    pub asset: String,
    pub partition: String,
    pub run: String,
    pub job: Option<String>,
    pub origin: String,
    pub by: String,
    pub at: Timestamp,
}

/// An asset that was completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    pub last: Completion,
    pub times: u64,
}

/// A page of completions, and the last number that was searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub completions: Vec<Completion>,
    pub seen: u64,
}

/// Access to completions of assets. All implementations pass the suite in `tests/tests/assets`.
#[async_trait]
pub trait Assets: fmt::Debug + Send + Sync {
    /// Records that assets are complete, and returns the completions in the order of the assets. A control plane sets
    /// the caller and the time itself.
    async fn complete(
        &self,
        scope: &Scope,
        new: &NewCompletions,
        by: &str,
        at: Timestamp,
    ) -> Result<Vec<Completion>>;

    /// Returns completions after a number, oldest first; without a number the last ones, newest first.
    async fn completions(
        &self,
        scope: &Scope,
        after: Option<u64>,
        asset: Option<&str>,
        limit: u32,
    ) -> Result<Page>;

    /// Returns the assets of a scope that were ever completed, by name.
    async fn completed(&self, scope: &Scope) -> Result<Vec<Completed>>;
}

/// Returns the canonical name of an asset: `table:Lake.Orders` is `table:lake.orders`.
pub fn canonical(asset: &str) -> Result<String> {
    let dataset = (asset.len() <= 1_500 && !asset.contains(char::is_control))
        .then(|| asset.split_once(':'))
        .flatten()
        .and_then(|(kind, name)| Some(Dataset::new(DatasetKind::parse(kind)?, name)))
        .filter(|dataset| !dataset.name.is_empty());
    let Some(Dataset { kind, name }) = dataset else {
        let shown: String = asset.chars().take(80).flat_map(char::escape_debug).collect();
        return Err(Error::Invalid(format!(
            "`{shown}` is no asset: give `table:NAME`, `topic:NAME`, `path:NAME` or `asset:NAME`"
        )));
    };
    Ok(format!("{kind}:{name}"))
}

/// A field of a report that is invalid, and the rule that it breaks.
#[derive(Debug)]
pub(crate) struct InvalidField {
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

impl NewCompletions {
    /// Checks the report, and returns it with canonical names of assets.
    pub(crate) fn checked(&self) -> Result<Self> {
        if let Some(InvalidField { message, .. }) = self.invalid_field() {
            return Err(Error::Invalid(message));
        }
        let mut seen = BTreeSet::new();
        let mut all = self.assets.iter().map(|it| canonical(it)).collect::<Result<Vec<_>>>()?;
        all.retain(|it| seen.insert(it.clone()));
        Ok(Self { assets: all, ..self.clone() })
    }

    /// Returns the first field that is invalid.
    pub(crate) fn invalid_field(&self) -> Option<InvalidField> {
        let Self { assets, partition, run, job, origin } = self;
        let invalid = |name, message: String| Some(InvalidField { name, message });
        if assets.is_empty() || assets.len() > MAX_ITEMS as usize {
            let message = format!("1 to {MAX_ITEMS} assets are completed at once, not {}", assets.len());
            return invalid("assets", message);
        }
        if partition.len() > 500 || partition.contains(char::is_control) {
            let message = "a partition is of at most 500 bytes, and without control characters";
            return invalid("partition", message.to_owned());
        }
        let visible = |text: &str, most| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !visible(run, 128) {
            return invalid("run", "the id of a run is of 1 to 128 visible ASCII characters".to_owned());
        }
        if !visible(origin, 64) {
            return invalid("origin", "an origin is of 1 to 64 visible ASCII characters".to_owned());
        }
        let is_job = |job: &String| {
            let parts = job.split_once('/');
            parts.is_some_and(|(domain, name)| Domain::parse(domain).is_ok() && Name::parse(name).is_ok())
        };
        if !job.as_ref().is_none_or(is_job) {
            return invalid("job", "a job is given as `domain/name`".to_owned());
        }
        let wrong = assets.iter().find_map(|it| canonical(it).err())?;
        invalid("assets", wrong.to_string())
    }
}
