//! Automatic parameter selection for a job, over several runs.

use std::collections::BTreeMap;

use dcp_model::primitive::CoreEtlJob;
use dcp_runner::execution::Adjustment;
use dcp_runner::sizing::{Measured, event_log, relevant_runs, size};

use super::{Backend, Event, Execution, Id, Input, POLICY, Project, Timestamp, apply_event};

/// Two tasks sort and aggregate nearly two million long texts, which need more than the initial memory.
const JOB: &str = "  job:\n    sql:\n      query: |\n        \
    CREATE TABLE totals USING json AS SELECT count(*) AS keys, sum(n) AS n, max(m) AS m FROM (\n          SELECT k, count(*) AS n, max(v) AS m FROM (\n            \
    SELECT id % 200000 AS k, concat(sha2(cast(id AS string), 256), repeat('x', 128)) AS v\n            \
    FROM range(0, 1800000, 1, 2)) GROUP BY k)\n  resources:\n    sizing: auto\n    driver: {memory: 450m}\n    \
    executors: {cores: 2, min: 1, max: 4, initial: 2, memory: 450m, maxMemory: 2g}\n  \
    spark: {conf: {spark.executor.metrics.pollingInterval: 100ms}}\n";

type Sizes = BTreeMap<String, Adjustment>;

fn values(sizes: &Sizes) -> BTreeMap<&str, &str> {
    sizes.iter().map(|(key, size)| (key.as_str(), size.value.as_str())).collect()
}

fn number(sizes: &Sizes, key: &str) -> u64 {
    sizes[key].value.trim_end_matches('m').parse().expect("the value is a number")
}

/// Runs the job, and measures it.
async fn run_with_sizes(project: &Project, job: &CoreEtlJob, run: u32, sizes: &Sizes) -> Measured {
    let id = Id::parse(&format!("run{run}")).expect("the id is valid");
    let mut execution = Execution::new(id, POLICY, Backend::Local, Timestamp::UNIX_EPOCH);
    execution.adjusted.clone_from(sizes);
    apply_event(&mut execution, Event::Stepped, Timestamp::UNIX_EPOCH);
    let none = BTreeMap::new();
    let input = Input { job, execution: &execution, values: &none, streaming: None, results: None };
    let (end, log) = project.attempt(&input).await;
    assert!(end.succeeded, "{log}");
    // Each run creates the table again.
    std::fs::remove_dir_all(project.path("runs/warehouse")).expect("the job created a table");
    let events = project.path("runs").join(execution.name()).join("events");
    let url = events.to_str().expect("the path is UTF-8");
    event_log::read(url).await.expect("Spark wrote an event log")
}

/// Checks that a measured run has the chosen sizes.
fn assert_sizes(measured: &Measured, sizes: &Sizes) {
    assert!(measured.complete && measured.skipped_lines == 0 && measured.given.one_process);
    for (key, given) in [
        ("spark.executor.memory", measured.given.executor_memory_mib),
        ("spark.executor.instances", measured.given.executors),
    ] {
        let asked = sizes[key].value.trim_end_matches('m');
        assert_eq!(asked, given.to_string(), "the run has the chosen size");
    }
}

#[tokio::test]
async fn size_of_a_job_converges() {
    let project = Project::new();
    let job = dcp_tests::job(JOB);
    let mut earlier: Vec<Measured> = Vec::new();
    let mut history: Vec<Sizes> = Vec::new();
    for run in 1..=5 {
        let sizes = size(&job, &earlier);
        let measured = run_with_sizes(&project, &job, run, &sizes).await;
        println!("run {run}: {sizes:#?}\n{measured:#?}");
        assert_sizes(&measured, &sizes);
        earlier.insert(0, measured);
        earlier = relevant_runs(&job, &earlier);
        history.push(sizes);
    }
    history.push(size(&job, &earlier));

    // The first run spills, and memory grows until no run spills.
    let memory: Vec<u64> = history.iter().map(|sizes| number(sizes, "spark.executor.memory")).collect();
    assert!(earlier[4].disk_spilled_bytes > 32 << 20 && earlier[0].disk_spilled_bytes == 0);
    assert!(history[1]["spark.executor.memory"].why.starts_with("the last run spilled "), "{history:#?}");
    assert!(
        memory.is_sorted() && memory[1] > memory[0] && memory[2..].iter().all(|it| *it == memory[2]),
        "{memory:?}"
    );
    // Superfluous executors and partitions are removed once three runs agree.
    let instances: Vec<u64> = history.iter().map(|sizes| number(sizes, "spark.executor.instances")).collect();
    assert_eq!(instances, [2, 2, 2, 1, 1, 1]);
    let partitions = |run: usize| number(&history[run], "spark.sql.shuffle.partitions");
    assert_eq!((partitions(1), partitions(4) < 20), (200, true));
    assert_eq!(values(&history[5]), values(&history[4]), "the size is stable: {history:#?}");
}
