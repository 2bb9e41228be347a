//! Streams of a real Spark under `dcp up`. Drivers and `dcp up` are killed at random and the streams are changed, but
//! the sinks have every record exactly once. `DCP_SEED=N` chooses other random times.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::Value;

use super::{Process, UP};
use crate::harness::{DCP, Sandbox};

const MANIFESTS: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: copy, domain: shop, owner: o@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    stream:
      sources:
        clicks: {files: {path: \"file://DIR/in\", format: json, schema: {id: bigint, ts: timestamp, kind: string}}}
        kinds: {files: {path: \"file://DIR/kinds\", format: json, schema: {kind: string, title: string}, static: true}}
      query: SELECT c.id, k.title FROM clicks c JOIN kinds k ON c.kind = k.kind WHERE c.id >= 0
      sink: {files: {path: \"file://DIR/copied\", format: json}}
      outputMode: append
  run: {continuous: {checkpoint: \"file://DIR/checkpoints/copy\", trigger: {every: 1s}, upgrade: {grace: 20s}}}
  retry: {attempts: 4, backoff: 1s, maxBackoff: 2s}
  resources: {driver: {memory: 512m}, executors: {cores: 1, memory: 512m}}
---
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: windows, domain: shop, owner: o@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    stream:
      sources:
        clicks: {files: {path: \"file://DIR/in\", format: json, schema: {id: bigint, ts: timestamp, kind: string}}}
      watermark: {source: clicks, column: ts, delay: 10s}
      query: |
        SELECT window.start AS begun, count(*) AS clicks FROM clicks WHERE id >= 0 GROUP BY window(ts, '20 seconds')
      sink: {files: {path: \"file://DIR/counted\", format: json}}
      outputMode: append
      state: {partitions: 2}
  run: {continuous: {checkpoint: \"file://DIR/checkpoints/windows\", trigger: {every: 1s}, upgrade: {grace: 20s}}}
  retry: {attempts: 4, backoff: 1s, maxBackoff: 2s}
  resources: {driver: {memory: 512m}, executors: {cores: 1, memory: 512m}}
";

const STREAMS: [&str; 2] = ["copy", "windows"];

/// A project with a steady input of records.
struct StreamProject {
    sandbox: Sandbox,
    written: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
    writer: Option<thread::JoinHandle<()>>,
}

impl StreamProject {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for folder in ["in", "checkpoints"] {
            fs::create_dir(sandbox.join(folder)).expect("the temporary folder is writable");
        }
        sandbox
            .write("shop.yaml", MANIFESTS.replace("DIR", &sandbox.path().display().to_string()))
            .write("kinds/kinds.json", "{\"kind\":\"a\",\"title\":\"A\"}\n{\"kind\":\"b\",\"title\":\"B\"}\n")
            .write("dcp.yaml", "project: shop\nmanifests: [shop.yaml]\n");
        let (written, is_stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut project = Self { sandbox, written, is_stopped, writer: None };
        let (folder, written, is_stopped) = (
            project.sandbox.path().to_owned(),
            Arc::clone(&project.written),
            Arc::clone(&project.is_stopped),
        );
        let writer = thread::spawn(move || {
            while !is_stopped.load(Ordering::SeqCst) {
                write_records(&folder, written.fetch_add(10, Ordering::SeqCst), 10);
                thread::sleep(Duration::from_millis(400));
            }
        });
        project.writer = Some(writer);
        project
    }

    /// Stops the input, and returns the number of records.
    fn stop_input(&mut self) -> u64 {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.writer.take().expect("the writer is stopped once").join().expect("the process or thread ends");
        self.written.load(Ordering::SeqCst)
    }

    fn start(&self, name: &str) -> Process {
        let mut command = self.sandbox.command(&DCP);
        command.args(UP).env("SPARK_HOME", dcp_tests::spark_home());
        command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
        Process::start(command, name, self.sandbox.join(&format!("{name}.log")))
    }

    fn status(&self) -> Vec<Value> {
        let output = self.sandbox.run(&["status", "--output", "json"]).exits_with(0).json();
        output["jobs"].as_array().expect("the status lists jobs").clone()
    }

    fn wait_until(&self, what: &str, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_mins(4);
        loop {
            let jobs = self.status();
            if is(&jobs) {
                return jobs;
            }
            let events = || STREAMS.map(|it| self.sandbox.run(&["events", &format!("shop/{it}")]).stdout);
            let logs = || self.sandbox.run(&["logs", "shop/copy"]).stdout;
            assert!(Instant::now() < deadline, "{what}: {jobs:#?}\n{:#?}\n{}", events(), logs());
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// Waits until all jobs are healthy in a revision and have finished a batch.
    fn wait_until_healthy(&self, revision: u64) -> Vec<Value> {
        self.wait_until("they are not healthy", |jobs| {
            jobs.iter().all(|it| {
                let runs = it["state"]["run"]["version"]["revision"] == revision;
                runs && it["condition"] == "healthy" && it["progress"]["batches"].as_u64() > Some(0)
            })
        })
    }
}

impl Drop for StreamProject {
    /// Kills processes that a failed test left running.
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        dcp_tests::fake_spark::kill_processes_of(self.sandbox.path());
    }
}

/// Adds records as one file, which becomes visible at once.
fn write_records(folder: &Path, from: u64, count: u64) {
    let line = |id: u64| {
        let at = Timestamp::from_second(1_800_000_000 + i64::try_from(id / 5).expect("the number is small"));
        let kind = if id.is_multiple_of(2) { "a" } else { "b" };
        format!("{{\"id\":{id},\"ts\":\"{}\",\"kind\":\"{kind}\"}}\n", at.expect("the timestamp is valid"))
    };
    let text: String = (from..from + count).map(line).collect();
    let hidden = folder.join(format!(".{from}"));
    fs::write(&hidden, text).expect("the temporary folder is writable");
    fs::rename(&hidden, folder.join(format!("in/{from}.json"))).expect("the file belongs to this user");
}

/// Returns the rows of a file sink by its own metadata, because killed tasks leave other files behind.
fn rows(folder: &Path) -> Vec<Value> {
    let mut batches: BTreeMap<u64, (bool, String)> = BTreeMap::new();
    for entry in fs::read_dir(folder.join("_spark_metadata")).expect("the folder was written").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (number, packed) = name.strip_suffix(".compact").map_or((name.as_str(), false), |it| (it, true));
        let Ok(number) = number.parse() else { continue };
        batches.insert(number, (packed, fs::read_to_string(entry.path()).expect("the file is complete")));
    }
    let from = batches.iter().rfind(|(_, (packed, _))| *packed).map_or(0, |(number, _)| *number);
    let entries = batches.range(from..).flat_map(|(_, (_, text))| text.lines().skip(1));
    let path = |line: &str| {
        let entry: Value = serde_json::from_str(line).expect("the text is JSON");
        entry["path"].as_str().expect("the entry has a path").trim_start_matches("file://").to_owned()
    };
    let texts = entries.map(|line| fs::read_to_string(path(line)).expect("the file exists"));
    let texts: Vec<String> = texts.collect();
    texts
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| serde_json::from_str(line).expect("the text is JSON"))
        .collect()
}

/// Kills the driver of a run, if it has one.
pub(super) fn kill_driver(job: &Value) {
    let Some(execution) = job["state"]["run"]["execution"].as_str() else { return };
    for process in fs::read_dir("/proc").expect("/proc exists").flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("SparkSubmit") && line.contains(execution) {
            let pid = process.file_name().to_string_lossy().into_owned();
            let pid =
                pid.parse().ok().and_then(rustix::process::Pid::from_raw).expect("the process id is valid");
            // The driver may just have ended by itself.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn every_record_arrives_exactly_once_despite_kills() {
    let seed = std::env::var("DCP_SEED").map_or(0, |it| it.parse().expect("the value is a number"));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut project = StreamProject::new();
    project.sandbox.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
    let mut up = project.start("up-0");
    let mut jobs = project.wait_until_healthy(1);
    for round in 1..=3_u64 {
        thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
        match round {
            1 => jobs.iter().for_each(kill_driver),
            2 => {
                // Another filter with the same result, on the same checkpoint.
                project.sandbox.edit("shop.yaml", "WHERE c.id >= 0", "WHERE c.id > -1");
                project.sandbox.edit("shop.yaml", "WHERE id >= 0", "WHERE id > -1");
                project.sandbox.run(&["plan"]).exits_with(0).prints("checkpoint kept");
                project.sandbox.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
                thread::sleep(Duration::from_millis(rng.random_range(0..6000)));
            }
            _ => {}
        }
        if round > 1 {
            drop(up);
            jobs.iter().filter(|_| rng.random_range(0..2) == 0).for_each(kill_driver);
            up = project.start(&format!("up-{round}"));
        }
        jobs = project.wait_until_healthy(1 + u64::from(round > 1));
    }
    check_sinks(&mut project, seed);
    drop(up);
}

/// Stops the input, and checks that the sinks have every record exactly once.
fn check_sinks(project: &mut StreamProject, seed: u64) {
    let written = project.stop_input();
    // Close all windows: a record with a much later time advances the watermark.
    let late = written + 10_000;
    write_records(project.sandbox.path(), late, 1);
    let (copied, counted) = (project.sandbox.join("copied"), project.sandbox.join("counted"));
    let count = |rows: &[Value]| rows.iter().filter_map(|it| it["clicks"].as_u64()).sum::<u64>();
    project.wait_until("not all has arrived", |_| {
        rows(&copied).len() as u64 > written && count(&rows(&counted)) >= written
    });
    for stream in STREAMS {
        project
            .sandbox
            .run(&["pause", &format!("shop/{stream}"), "--wait"])
            .exits_with(0)
            .prints("is paused");
    }
    let mut ids: Vec<u64> = rows(&copied).iter().filter_map(|it| it["id"].as_u64()).collect();
    ids.sort_unstable();
    let expected: Vec<u64> = (0..written).chain([late]).collect();
    assert!(ids == expected, "{} of {} records, seed {seed}", ids.len(), expected.len());
    let windows = rows(&counted);
    let begun: std::collections::BTreeSet<&str> =
        windows.iter().filter_map(|it| it["begun"].as_str()).collect();
    assert_eq!((begun.len(), count(&windows)), (windows.len(), written), "seed {seed}");
}
