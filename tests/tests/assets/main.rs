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
struct Fixture {
    assets: Arc<dyn Assets>,
    /// Another connection to the same data, as in another process.
    other: Arc<dyn Assets>,
    /// Resources that must not be dropped before the test ends.
    _resources: Option<tempfile::TempDir>,
}

/// Defines a test for each rule of the contract.
macro_rules! contract {
    ($fixture:expr) => {
        dcp_tests::rules! {
            $fixture;
            new_store_has_no_completions,
            repeated_completion_of_a_run_is_stored_once,
            completions_are_listed_in_order_and_in_pages,
            completions_are_counted_per_partition_and_run,
            asset_names_are_normalized,
            scopes_are_independent,
            invalid_completions_are_rejected,
            follower_sees_all_completions_of_concurrent_reporters,
        }
    };
}
use contract;
