//! The contract of the store of sessions, tested on each database.

// With `cfg(test)`, the lints treat these modules as test code.
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod sandboxes;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod suite;

use dcp_connect::store::Store;

/// A store without sessions.
#[derive(Debug)]
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
            sandbox_is_stored_once_and_its_schema_belongs_to_it_alone,
            sandbox_that_expires_is_removed_by_one,
            sandbox_gets_one_new_session_if_several_proxies_replace_it,
            session_of_a_sandbox_is_new_until_it_is_opened,
            failure_of_a_pool_is_replaced_and_cleared,
            sizes_of_pools_and_drivers_are_stored,
            session_has_one_driver_if_several_proxies_bind_it,
            driver_takes_no_more_sessions_than_its_maximum,
            private_driver_has_one_user,
            drained_driver_takes_no_session,
            reopened_driver_takes_sessions_once_it_has_answered,
            driver_with_sessions_is_not_drained_as_unused,
            ended_session_frees_its_place_once,
            unused_sessions_expire,
            driver_that_is_gone_stays_gone,
            demand_counts_sessions_and_users,
        }
    };
}
use contract;
