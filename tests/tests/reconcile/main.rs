//! Stored job states, and the lease of reconcilers, in each database.

// With `cfg(test)`, the lints treat these modules as test code.
#[cfg(test)]
mod house;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod reconciler;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod suite;

use dcp_reconciler::reconcile::store::Store;

/// A store without job states.
struct Fresh {
    store: Store,
    /// Another connection to the same data, as in another process.
    other: Store,
    /// Resources that must not be dropped before the test ends.
    _keep: Option<tempfile::TempDir>,
}

/// Defines a test for each rule of the contract.
macro_rules! contract {
    ($fresh:expr) => {
        dcp_tests::rules! {
            $fresh;
            what_is_remembered_is_read_back,
            who_writes_second_learns_it,
            what_was_said_is_told_the_newest_first,
            what_was_asked_for_is_counted,
            one_holds_a_lease,
            a_lease_that_is_left_is_taken_at_once,
            a_holder_that_was_away_too_long_holds_it_no_more,
            one_of_many_takes_a_lease,
        }
    };
}
use contract;
