//! Remedies of the attempt after a failure: more of the memory that ran out, within the manifest's limits.

use std::collections::BTreeMap;

use dcp_gateway::{Addresses, End};
use dcp_model::primitive::CoreEtlJob;
use dcp_runner::execution::Attempt;
use dcp_runner::failure::{Evidence, judge};
use jiff::Timestamp;

fn job(resources: &str) -> CoreEtlJob {
    dcp_tests::job(&format!("  job: {{pyspark: {{main: a.py}}}}\n  resources: {resources}\n"))
}

/// Returns the settings of successive attempts, and the reason if no further attempt can succeed.
fn adjustments(job: &CoreEtlJob, log: &str, exit_code: i32) -> (Vec<String>, String) {
    let at = Timestamp::UNIX_EPOCH;
    let end = End::exited(at, Some(exit_code), None);
    let mut attempt = Attempt {
        number: 1,
        backend: dcp_model::manifest::Backend::Local,
        begun: at,
        running: None,
        queued: dcp_runner::execution::Wait::None,
        addresses: Addresses::default(),
        cluster: None,
        end: None,
        diagnosis: None,
        adjusted: BTreeMap::new(),
    };
    let mut adjustments = Vec::new();
    loop {
        let verdict = judge(Evidence { end: &end, log }, job, &attempt);
        if let Some(why) = verdict.no_retry_reason {
            return (adjustments, why);
        }
        assert!(verdict.remedy.len() <= 1, "one thing, or nothing: {:?}", verdict.remedy);
        let Some((setting, adjustment)) = verdict.remedy.into_iter().next() else {
            return (adjustments, String::new());
        };
        assert!(!adjustment.why.is_empty());
        adjustments.push(format!("{setting}={}", adjustment.value));
        attempt.adjusted.insert(setting, adjustment);
    }
}

const HEAP: &str =
    "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space\n\tat Main.main(Main.java:3)\n";
const ABORTED: &str =
    "26/01/31 02:00:12 ERROR TaskSetManager: Task 3 in stage 4.0 failed 4 times; aborting job\n";
const EXECUTOR: &str = "26/01/31 02:00:11 ERROR TaskSchedulerImpl: Lost executor 2 on 10.0.0.1: \n\
    The executor with id 2 exited with exit code 52(JVM OOM).\n";
const KILLED: &str = "26/01/31 02:00:11 ERROR TaskSchedulerImpl: Lost executor 3 on 10.0.0.1: \n\
    The executor with id 3 exited with exit code 137(SIGKILL, possible container OOM).\n\
    The API gave the following container statuses:\n\t termination reason: OOMKilled\n";
const FETCH: &str = "26/01/31 02:00:11 WARN TaskSetManager: Lost task 3.0 in stage 4.0 (TID 91) (10.0.0.1 executor 5): \
    FetchFailed(null, shuffleId=1, mapIndex=-1, mapId=-1, reduceId=3, message=\n";

fn aborted(log: &str) -> String {
    format!("{log}{ABORTED}")
}

#[test]
fn heap_grows_to_its_limit() {
    let job = job("{driver: {memory: 1g, maxMemory: 2g}, executors: {memory: 2g, maxMemory: 3g}}");
    let driver = ["spark.driver.memory=1536m", "spark.driver.memory=2048m"].map(str::to_owned).to_vec();
    let (settings, why) = adjustments(&job, HEAP, 1);
    assert_eq!(settings, driver);
    assert_eq!(why, "`resources.driver.maxMemory` lets it have no more than 2048 MiB");
    let (settings, why) = adjustments(&job, &aborted(EXECUTOR), 1);
    assert_eq!(settings, ["spark.executor.memory=3072m"]);
    assert_eq!(why, "`resources.executors.maxMemory` lets it have no more than 3072 MiB");
}

#[test]
fn memory_does_not_grow_without_a_maximum() {
    let (adjustments, why) = adjustments(&job("{}"), HEAP, 1);
    assert!(adjustments.is_empty());
    assert_eq!(why, "`resources.driver.maxMemory` lets it have no more than 1024 MiB");
}

#[test]
fn killed_container_gets_more_overhead_and_no_more_heap() {
    let (adjustments, why) =
        adjustments(&job("{executors: {memory: 1g, maxMemory: 8g}}"), &aborted(KILLED), 1);
    let grows = [409 + 205, 921, 1024].map(|mib| format!("spark.executor.memoryOverhead={mib}m"));
    assert_eq!(adjustments, grows);
    assert_eq!(why, "it has 1024 MiB beside its heap, as much as the heap itself");
}

#[test]
fn heap_and_overhead_stay_within_the_limit_of_the_container() {
    let overhead = job("{executors: {memory: 1g, memoryOverhead: 512m, memoryLimit: 1700m}}");
    let (grows, why) = adjustments(&overhead, &aborted(KILLED), 1);
    assert_eq!(grows, ["spark.executor.memoryOverhead=676m"]);
    assert_eq!(why, "`resources.executors.memoryLimit` lets it have no more than 676 MiB");
    let heap = job("{driver: {memory: 1g, maxMemory: 2g, memoryOverhead: 384m, memoryLimit: 2500m}}");
    let (grows, why) = adjustments(&heap, HEAP, 1);
    assert_eq!(grows, ["spark.driver.memory=1536m", "spark.driver.memory=2048m"]);
    assert_eq!(why, "`resources.driver.maxMemory` lets it have no more than 2048 MiB");
}

#[test]
fn failures_unrelated_to_memory_get_no_remedy() {
    let job = job("{driver: {memory: 1g, maxMemory: 2g}}");
    assert_eq!(adjustments(&job, &aborted(FETCH), 1), (vec![], String::new()));
    let (_, why) =
        adjustments(&job, "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'a'\n", 1);
    assert_eq!(why, "the same program on the same data fails again");
}

#[test]
fn exit_code_137_without_a_cause_is_retried_without_a_remedy() {
    let job = job("{driver: {memory: 1g, maxMemory: 2g}}");
    assert_eq!(adjustments(&job, "", 137), (vec![], String::new()));
}
