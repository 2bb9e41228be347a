//! The contract of asset completions, tested on each implementation.

// With `cfg(test)`, the lints treat these modules as test code.
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

/// An implementation without any completions.
#[derive(Debug)]
struct Fresh {
    assets: Arc<dyn Assets>,
    /// Another connection to the same data, as in another process.
    other: Arc<dyn Assets>,
    /// Resources that must not be dropped before the test ends.
    _keep: Option<tempfile::TempDir>,
}

/// Defines a test for each rule of the contract.
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
