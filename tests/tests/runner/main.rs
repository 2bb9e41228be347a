//! The contract of a Runner, tested on each implementation, and further tests of each.
//!
//! Drivers are shell scripts that behave as a test needs. Processes, folders and databases are real.

// With `cfg(test)`, the lints treat these modules as test code.
#[cfg(test)]
mod crash;
#[cfg(test)]
mod forgetting;
#[cfg(test)]
mod owners;
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
use dcp_tests::machine::{self, Machine};
use jiff::Timestamp;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_dcp-test-supervisor");

/// Drivers behave by their parameter `do`: they end with an exit code, or wait until their file `go-…` exists.
const SCRIPT: &str = r#"
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
struct Fresh {
    machine: Machine,
    runner: Arc<dyn Runner>,
    /// Another Runner with the same store.
    other: Arc<dyn Runner>,
}

fn options(machine: &Machine) -> Options {
    let compute = Arc::new(machine::local(&machine.path(""), SUPERVISOR));
    let backend = Backend { compute, slots: None };
    let mut options = Options::new(vec![(manifest::Backend::Local, backend)], Timestamp::now);
    options.poll_interval = Duration::from_millis(20);
    options
}

/// Starts a Runner in this process, which behaves like one in a separate process.
async fn start_runner(machine: &Machine, store: Store, lease: Duration) -> InProcessRunner {
    let mut options = options(machine);
    options.lease = lease;
    InProcessRunner::start(store, options).await.expect("it starts")
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
    }
}

/// Waits until an execution fulfils a condition.
async fn seen(runner: &dyn Runner, id: &Id, is: impl Fn(&Record) -> bool) -> Record {
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let record = runner.check(id).await.expect("it is known");
        if is(&record) {
            return record;
        }
        assert!(std::time::Instant::now() < deadline, "it did not happen: {record:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ended(runner: &dyn Runner, id: &Id) -> Record {
    seen(runner, id, |record| record.execution.phase.is_final()).await
}

/// Defines a test for each rule of the contract.
macro_rules! contract {
    ($fresh:expr) => {
        dcp_tests::rules! {
            $fresh;
            what_is_submitted_comes_to_its_end,
            a_token_gives_one_execution,
            a_token_that_was_used_for_something_else_is_refused,
            many_who_submit_at_once_make_one_execution,
            one_live_execution_holds_a_key,
            later_run_replaces_the_one_that_has_the_key,
            runs_of_one_key_never_overlap_and_the_last_one_stays,
            an_older_epoch_is_refused,
            implausible_epochs_are_refused,
            a_failure_that_can_be_mended_is_tried_again,
            a_failure_of_the_program_is_told,
            what_is_cancelled_stops,
            others_may_cancel,
            check_sees_the_writes_of_another_runner,
            executions_are_listed_in_pages,
            steps_are_watched,
            logs_are_followed_through_all_attempts,
            what_cannot_be_right_is_refused,
            what_is_in_the_way_of_one_is_not_of_others,
            a_checkpoint_is_made_ready,
            those_who_hold_keys_are_told,
            what_does_not_exist_is_said_to_be_unknown,
        }
    };
}
use contract;
