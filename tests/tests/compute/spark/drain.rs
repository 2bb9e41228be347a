//! Stops a stream whose source always has more data.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dcp_gateway::{Compute as _, Name};
use dcp_runner::lower::lower;
use dcp_runner::streaming::Streaming;
use serde_json::json;

use super::{
    Backend, Event, Execution, Id, Input, POLICY, Project, Timestamp, apply_event, lines, wait_for_end,
};

const FILES: usize = 12;
const GRACE: Duration = Duration::from_mins(2);

/// A stream whose batches take seconds; the next one begins at once.
const STREAM: &str = "  job:\n    stream:\n      sources:\n        \
     s: {files: {path: %DIR%/in, format: json, schema: {id: bigint}, maxFilesPerTrigger: 1}}\n      \
     query: SELECT id, reflect('java.lang.Thread', 'sleep', 3000L) AS slept FROM s\n      \
     sink: {files: {path: %DIR%/out, format: json}}\n      outputMode: append\n      checkpoint: %DIR%/checkpoint\n";

/// Returns the batches in a log of a checkpoint.
fn batches(checkpoint: &Path, log: &str) -> Vec<u64> {
    let entries = fs::read_dir(checkpoint.join(log)).into_iter().flatten().flatten();
    let mut found: Vec<u64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    found
}

/// Returns an execution whose first attempt begins.
fn execution() -> Execution {
    let id = Id::parse("a1").expect("the id is valid");
    let mut execution = Execution::new(id, POLICY, Backend::Local, Timestamp::UNIX_EPOCH);
    apply_event(&mut execution, Event::Stepped, Timestamp::UNIX_EPOCH);
    execution
}

/// Returns the settings of a stream that begins each batch at once.
fn streaming(checkpoint: &Path) -> Streaming {
    Streaming {
        trigger: serde_json::from_value(json!({"asap": {}})).expect("the trigger is valid"),
        checkpoint: Some(checkpoint.display().to_string()),
        state: None,
        grace: None,
        executors: None,
    }
}

/// Waits until a batch runs after another one, and returns its number.
async fn wait_for_running_batch(checkpoint: &Path) -> u64 {
    let deadline = Instant::now() + Duration::from_mins(4);
    loop {
        let (begun, committed) = (batches(checkpoint, "offsets"), batches(checkpoint, "commits"));
        if let Some(last) = begun.last()
            && begun.len() >= 2
            && begun.len() > committed.len()
        {
            return *last;
        }
        assert!(Instant::now() < deadline, "no batch runs: {begun:?} {committed:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn stopped_stream_commits_its_running_batch_and_begins_no_other() {
    let project = Project::new();
    for number in 0..FILES {
        project.write(&format!("in/{number:02}.json"), &format!("{{\"id\":{number}}}\n"));
    }
    let job = project.job(STREAM);
    let checkpoint = project.path("checkpoint");
    let streaming = streaming(&checkpoint);
    let execution = execution();
    let values = std::collections::BTreeMap::new();
    let input = Input {
        job: &job,
        execution: &execution,
        values: &values,
        streaming: Some(&streaming),
        results: None,
    };
    let local = project.local();
    local.create(&lower(&input).expect("the job can be lowered")).await.expect("the application starts");
    let name: Name = execution.name().parse().expect("the name is valid");
    let running = wait_for_running_batch(&checkpoint).await;
    let asked = Instant::now();
    local.delete(&name, GRACE).await.expect("the backend responds");
    let (end, log) = wait_for_end(&local, &name).await;
    assert!(end.succeeded && end.stopped && asked.elapsed() < GRACE, "{end:?} {log}");
    let begun = batches(&checkpoint, "offsets");
    assert_eq!(begun.last(), Some(&running), "no batch began after the stop");
    assert_eq!(batches(&checkpoint, "commits"), begun, "the running batch was committed");
    assert_eq!(lines(&project.path("out"), ".json").len(), begun.len());
    // Another start continues with the next batch, and every row is written once.
    fs::remove_dir_all(project.path("runs")).expect("the file exists");
    let (end, log) = project.attempt(&Input { streaming: None, ..input }).await;
    assert!(end.succeeded, "{log}");
    let mut expected: Vec<String> =
        (0..FILES).map(|number| format!("{{\"id\":{number},\"slept\":\"null\"}}")).collect();
    expected.sort();
    assert_eq!(lines(&project.path("out"), ".json"), expected);
    assert_eq!(batches(&checkpoint, "commits").last(), Some(&(FILES as u64 - 1)));
}
