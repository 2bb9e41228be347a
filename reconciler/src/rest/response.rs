//! Responses of a control plane.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::primitive::Address;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::reconcile::store;
use crate::reconcile::{self, Leader};
use crate::state::{self, State};
use crate::{assets, state::Scope};

/// A line about an applied state: first the head, then each entry.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum AppliedLine {
    Head(Head),
    Entry(Entry),
}

impl AppliedLine {
    pub(super) fn all(state: State) -> impl Iterator<Item = Self> + Send {
        let State { base: state::Base { lineage, serial }, applied, entries, unpublished, visible } = state;
        let head = Head { lineage, serial, applied: applied.map(Into::into), unpublished, visible };
        std::iter::once(Self::Head(head)).chain(entries.into_iter().map(|it| Self::Entry(it.into())))
    }
}

/// The position of a scope.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    /// Id of the first commit, which distinguishes states with the same serial.
    #[serde(skip_serializing_if = "Option::is_none")]
    lineage: Option<String>,
    serial: u64,
    /// The commit with this serial.
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<AppliedCommit>,
    /// Serials of commits whose DAG files are not known to be in place; empty for an earlier state.
    unpublished: Vec<u64>,
    /// Domains that the caller may read; absent for all. Entries of other domains are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    visible: Option<BTreeSet<String>>,
}

/// An applied primitive.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// `kind/domain/name`
    address: String,
    /// Fingerprint of its body.
    fingerprint: String,
    /// Number of the change of this address, from 1.
    revision: u64,
    /// Serial of the commit that applied it.
    serial: u64,
}

impl From<(Address, state::Entry)> for Entry {
    fn from((address, state::Entry { fingerprint, revision, serial }): (Address, state::Entry)) -> Self {
        Self { address: address.to_string(), fingerprint: fingerprint.as_str().to_owned(), revision, serial }
    }
}

/// A commit of an apply.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppliedCommit {
    serial: u64,
    id: String,
    /// The caller who committed.
    by: String,
    at: Timestamp,
    /// The commit of the repository that the manifests were read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// Number of workloads per action.
    #[schema(example = json!({"create": 2, "redeploy": 1}))]
    counts: BTreeMap<&'static str, u64>,
}

impl From<state::Applied> for AppliedCommit {
    fn from(applied: state::Applied) -> Self {
        let state::Applied { serial, id, by, at, commit, counts } = applied;
        let counts = counts.into_iter().map(|(action, number)| (action.name(), number)).collect();
        Self { serial, id, by, at, commit, counts }
    }
}

/// A page of commits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct History {
    /// Sorted from the newest to the oldest.
    pub(super) commits: Vec<AppliedCommit>,
    /// The `before` of the next query; none on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_before: Option<u64>,
}

/// Revisions of an address.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Revisions {
    /// Sorted from the newest to the oldest.
    pub(super) revisions: Vec<AddressRevision>,
}

/// One revision of an address.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddressRevision {
    revision: u64,
    /// Serial of the commit.
    serial: u64,
    /// The action of the plan: `create`, `update`, `redeploy`, `reset` or `delete`.
    action: &'static str,
    /// Fingerprint of the body; none if the address was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

impl From<state::Revision> for AddressRevision {
    fn from(revision: state::Revision) -> Self {
        let state::Revision { revision, serial, action, fingerprint } = revision;
        let fingerprint = fingerprint.map(|it| it.as_str().to_owned());
        Self { revision, serial, action: action.name(), fingerprint }
    }
}

/// The reconciler that holds the lease.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reconciler {
    /// Epoch of the lease; none if no reconciler ever held it.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// The last heartbeat; none if the reconciler released the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<Timestamp>,
}

impl From<Leader> for Reconciler {
    fn from(Leader { epoch, heartbeat }: Leader) -> Self {
        Self { epoch: Some(epoch), heartbeat }
    }
}

/// A recorded request about a continuous job. The leading reconciler performs it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobRequest {
    scope: String,
    address: String,
    /// `pause`, `resume` or `restart`
    request: &'static str,
    /// The caller.
    by: String,
    at: Timestamp,
}

impl JobRequest {
    pub(super) fn new(
        scope: &Scope,
        address: &Address,
        request: reconcile::Request,
        by: String,
        at: Timestamp,
    ) -> Self {
        let request = match request {
            reconcile::Request::Pause => "pause",
            reconcile::Request::Resume => "resume",
            reconcile::Request::Restart => "restart",
        };
        Self { scope: scope.to_string(), address: address.to_string(), request, by, at }
    }
}

/// Events of a continuous job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Events {
    /// Sorted from the newest to the oldest.
    pub(super) events: Vec<Event>,
}

/// A decision of the reconciler, and its reason.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    at: Timestamp,
    message: String,
}

impl From<store::Event> for Event {
    fn from(store::Event { at, message }: store::Event) -> Self {
        Self { at, message }
    }
}

/// A completion of an asset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Completion {
    /// Number within the scope, from 1.
    number: u64,
    asset: String,
    /// The complete partition; empty for the whole asset.
    partition: String,
    run: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    origin: String,
    /// The caller that reported it.
    by: String,
    at: Timestamp,
}

impl From<assets::Completion> for Completion {
    fn from(completion: assets::Completion) -> Self {
        let assets::Completion { number, asset, partition, run, job, origin, by, at } = completion;
        Self { number, asset, partition, run, job, origin, by, at }
    }
}

/// Completions of a report.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reported {
    /// In the order of the assets, with those that were reported before.
    pub(super) completions: Vec<Completion>,
}

/// A page of completions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Completions {
    completions: Vec<Completion>,
    /// The `after` of the next query.
    seen: u64,
}

impl From<assets::Page> for Completions {
    fn from(assets::Page { completions, seen }: assets::Page) -> Self {
        Self { completions: completions.into_iter().map(Into::into).collect(), seen }
    }
}

/// A completed asset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Completed {
    /// The last completion.
    last: Completion,
    /// Number of completions.
    times: u64,
}

impl From<assets::Completed> for Completed {
    fn from(assets::Completed { last, times }: assets::Completed) -> Self {
        Self { last: last.into(), times }
    }
}
