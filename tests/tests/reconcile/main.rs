//! Stored job states, and the lease of reconcilers, in each database.

// With `cfg(test)`, the lints treat these modules as test code.
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod other_executions;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod project;
#[cfg(test)]
mod reconciler;
#[cfg(test)]
mod services;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod suite;

use dcp_reconciler::reconcile::store::Store;

/// A store without job states.
struct Fixture {
    store: Store,
    /// Another connection to the same data, as in another process.
    other: Store,
    /// Resources that must not be dropped before the test ends.
    _resources: Option<tempfile::TempDir>,
}

/// Defines a test for each rule of the contract.
macro_rules! contract {
    ($fixture:expr) => {
        dcp_tests::rules! {
            $fixture;
            saved_states_are_read_back,
            second_writer_gets_a_conflict,
            events_are_listed_newest_first,
            requests_are_counted,
            lease_has_one_holder,
            released_lease_is_taken_at_once,
            holder_loses_an_expired_lease,
            one_of_many_takes_an_expired_lease,
        }
    };
}
use contract;
