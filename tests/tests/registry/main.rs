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
struct Fresh {
    registry: Arc<dyn Registry>,
    /// Another connection to the same registry, as in another process.
    other: Arc<dyn Registry>,
    /// Resources that must not be dropped before the test ends.
    _keep: Vec<Box<dyn Keep>>,
}

trait Keep: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Keep for T {}

/// Defines a test for each rule of the contract.
macro_rules! contract {
    ($fresh:expr) => {
        dcp_tests::rules! {
            $fresh;
            nothing_is_applied_at_first,
            what_is_committed_is_read_back,
            an_address_keeps_counting,
            history_is_read_in_pages,
            who_comes_second_learns_who_was_first,
            a_commit_can_be_repeated,
            what_cannot_be_right_is_refused,
            scopes_know_nothing_of_each_other,
            dag_files_are_waited_for,
            one_of_many_wins_each_serial,
            one_commit_made_by_many_is_made_once,
            large_commits_are_read_back,
            random_histories_are_as_in_the_model,
            twenty_thousand_changes_are_quick,
        }
    };
}
use contract;
