//! The contract of a Runner, tested on each implementation, and further tests of each.
//!
//! Drivers are shell scripts that behave as a test needs. Processes, folders and databases are real.

// With `cfg(test)`, the lints treat these modules as test code.
#[cfg(test)]
mod bindings;
#[cfg(test)]
mod cloud;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod ownership;
#[cfg(test)]
mod persistence;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod process;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod visible;
#[cfg(test)]
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dcp_model::manifest;
use dcp_model::primitive::CoreEtlJob;
use dcp_runner::api::{Record, Runner};
use dcp_runner::execution::Id;
use dcp_runner::in_process::{Backend, InProcessRunner, Options};
use dcp_runner::request::{Definition, Submit};
use dcp_runner::store::Store;
use dcp_tests::fake_spark::{self, FakeSpark};
use jiff::Timestamp;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_dcp-test-supervisor");

/// Drivers behave by their parameter `do`: they end with an exit code, or wait until their file `go-…` exists.
const DRIVER_SCRIPT: &str = r#"
job="${@: -1}"
echo "$job" >> started
echo "the driver says $job"
case "$job" in
  fail*) echo "Exception in thread main" >&2; exit 1 ;;
  wait*) trap 'echo "$job" >> stopped; exit 0' TERM; while [ ! -e "go-$job" ]; do sleep 0.02; done ;;
  twice*) if [ -e "tried-$job" ]; then exit 0; fi; touch "tried-$job"; kill -9 $$ ;;
esac
"#;

/// A Runner without executions.
struct Fixture {
    fake_spark: FakeSpark,
    runner: Arc<dyn Runner>,
    /// Another Runner with the same store.
    other: Arc<dyn Runner>,
}

fn options(fake_spark: &FakeSpark) -> Options {
    let compute = Arc::new(fake_spark::local_backend(&fake_spark.path(""), SUPERVISOR));
    let backend = Backend { compute, slots: None };
    let mut options = Options::new(vec![(manifest::Backend::Local, backend)], Timestamp::now);
    options.poll_interval = Duration::from_millis(20);
    options
}

/// Starts a Runner in this process, which behaves like one in a separate process.
async fn start_runner(fake_spark: &FakeSpark, store: Store, lease: Duration) -> InProcessRunner {
    let mut options = options(fake_spark);
    options.lease = lease;
    InProcessRunner::start(store, options).await.expect("the Runner starts")
}

/// Returns a job whose only parameter selects the behaviour of its driver.
fn job() -> CoreEtlJob {
    dcp_tests::job(
        "  job: {pyspark: {main: main.py, args: [\"${param.do}\"], parameters: {do: {type: string, default: nothing}}}}\n  \
         retry: {attempts: 3, backoff: 1s}\n  timeouts: {stop: 1s}\n",
    )
}

fn submit(token: &str, what: &str) -> Submit {
    Submit {
        token: token.to_owned(),
        job: Definition::from(job()),
        parameters: BTreeMap::from([("do".to_owned(), what.to_owned())]),
        streaming: None,
        exclusive: None,
        order: None,
        fence: None,
        by: "tester".to_owned(),
        on_behalf_of: None,
    }
}

/// Waits until an execution fulfils a condition.
async fn wait_for(runner: &dyn Runner, id: &Id, is: impl Fn(&Record) -> bool) -> Record {
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let record = runner.check(id).await.expect("the execution is known");
        if is(&record) {
            return record;
        }
        assert!(std::time::Instant::now() < deadline, "the condition did not hold: {record:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_for_end(runner: &dyn Runner, id: &Id) -> Record {
    wait_for(runner, id, |record| record.execution.phase.is_final()).await
}

/// Defines a test for each rule of the contract.
macro_rules! contract {
    ($fixture:expr) => {
        dcp_tests::rules! {
            $fixture;
            submitted_execution_ends,
            same_token_gives_one_execution,
            reused_token_with_another_request_is_rejected,
            concurrent_submits_with_one_token_create_one_execution,
            one_live_execution_holds_a_key,
            later_run_replaces_the_holder_of_the_key,
            runs_of_one_key_never_overlap_and_the_last_one_remains,
            older_epoch_is_rejected,
            implausible_epochs_are_rejected,
            retryable_failure_is_retried,
            program_failure_is_reported_with_evidence,
            cancelled_execution_stops,
            another_runner_can_cancel,
            check_sees_the_writes_of_another_runner,
            executions_are_listed_in_pages,
            watch_streams_all_transitions,
            logs_are_followed_through_all_attempts,
            invalid_submits_are_rejected,
            jobs_that_cannot_run_are_rejected,
            orders_and_checkpoints_without_their_key_are_rejected,
            concurrent_submits_get_their_own_responses,
            checkpoint_is_prepared_before_the_start,
            holders_of_keys_are_listed,
            unknown_execution_is_not_found,
        }
    };
}
use contract;
