//! The contract of what is told of assets, which every form of it keeps.

// So that the lints see tests in what tests call.
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod suite;

use std::sync::Arc;

use dcp_reconciler::assets::Assets;

/// A form of it in which nothing was completed yet.
#[derive(Debug)]
struct Fresh {
    assets: Arc<dyn Assets>,
    /// The same by a way of its own, as another process has it.
    other: Arc<dyn Assets>,
    /// What has to live as long.
    _keep: Option<tempfile::TempDir>,
}

/// A test for each rule of the contract, on what `$fresh` makes.
macro_rules! contract {
    ($fresh:expr) => {
        dcp_tests::rules! {
            $fresh;
            nothing_is_complete_at_first,
            what_a_run_completed_it_completed_once,
            completions_are_told_in_order_and_in_pages,
            each_part_and_each_run_counts,
            an_asset_is_the_same_however_it_is_named,
            scopes_know_nothing_of_each_other,
            what_cannot_be_right_is_refused,
            who_follows_misses_nothing_of_many_who_tell,
        }
    };
}
use contract;
