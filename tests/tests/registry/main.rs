//! The contract of the registry, tested on each implementation, and further tests of each.

// With `cfg(test)`, the lints treat these modules as test code.
#[cfg(test)]
mod crash;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod model;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod suite;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use dcp_reconciler::registry::Registry;

/// A registry without commits.
#[derive(Debug)]
struct Fixture {
    registry: Arc<dyn Registry>,
    /// Another connection to the same registry, as in another process.
    other: Arc<dyn Registry>,
    /// Resources that must not be dropped before the test ends.
    _resources: Vec<Box<dyn Resource>>,
}

trait Resource: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Resource for T {}

/// Defines a test for each rule of the contract.
macro_rules! contract {
    ($fixture:expr) => {
        dcp_tests::rules! {
            $fixture;
            new_registry_is_empty,
            committed_changes_are_read_back,
            revisions_are_counted_across_deletes,
            history_is_read_in_pages,
            commit_on_an_outdated_base_is_rejected_with_the_head,
            repeated_commit_returns_the_same_head,
            invalid_commits_are_rejected,
            scopes_are_independent,
            unpublished_serials_are_tracked,
            concurrent_commits_get_one_serial_each,
            same_commit_by_many_is_applied_once,
            large_commits_are_read_back,
            random_histories_match_the_model,
            twenty_thousand_changes_are_committed_quickly,
        }
    };
}
use contract;
