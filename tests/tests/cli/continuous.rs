//! Commands for continuous jobs. Here, spark-submit is a script; `continuous/streaming.rs` uses a real Spark.

mod postgres;
mod spark;
mod streaming;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dcp_tests::fake_spark::{FakeSpark, STREAM_SCRIPT, send_signal, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use sqlx::Connection as _;

use crate::harness::{CommandOutput, DCP, Sandbox};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

const MANIFEST: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: clicks, domain: logistics, owner: data@example.com}
spec:
  engine: {version: \"4.1\"}
  job: {pyspark: {main: main.py, args: [\"one\"]}}
  retry: {attempts: 1}
  run:
    continuous:
      checkpoint: file://CHECKPOINT
      stateVersion: 1
      upgrade: {grace: 5s}
";

/// A project on a machine with a fake Spark.
struct Project {
    sandbox: Sandbox,
    fake_spark: FakeSpark,
}

impl Project {
    fn new() -> Self {
        let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", STREAM_SCRIPT));
        let checkpoint = fake_spark.path("checkpoint").display().to_string();
        sandbox
            .write("clicks.yaml", MANIFEST.replace("CHECKPOINT", &checkpoint))
            .write("main.py", "")
            .write("dcp.yaml", "project: shop\nmanifests: [clicks.yaml]\n")
            .write_token(TOKEN);
        Self { sandbox, fake_spark }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(&DCP);
        command.args(args).env("SPARK_HOME", self.fake_spark.path("spark")).env("DCP_USER", "ada");
        command.env("DCP_TOKEN", TOKEN).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> CommandOutput {
        let output = self.command(args).output().expect("the binary can be run");
        self.sandbox.capture(args, &output)
    }

    fn start(&self, name: &str, args: &[&str], database: Option<&str>) -> Process {
        let mut command = self.command(args);
        command.envs(database.map(|url| ("DCP_DATABASE", url)));
        Process::start(command, name, self.sandbox.join(&format!("{name}.log")))
    }

    /// Returns the job from the output of `dcp status`.
    fn status(&self) -> Value {
        let output = self.run(&["status", "logistics/clicks", "--output", "json"]).exits_with(0).json();
        output["jobs"][0].clone()
    }

    /// Waits until a revision runs and is healthy.
    fn wait_until_healthy(&self, revision: u64) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let job = self.status();
            if job["condition"] == "healthy" && job["state"]["run"]["version"]["revision"] == revision {
                return job;
            }
            let events = || self.run(&["events", "logistics/clicks"]).stdout;
            assert!(Instant::now() < deadline, "the job is not healthy: {job:#}\n{}", events());
        }
    }

    /// Waits until the latest event contains a text.
    fn wait_for_event(&self, what: &str) {
        let latest_event = || self.run(&["events", "logistics/clicks", "--limit", "1"]).exits_with(0).stdout;
        wait_until(|| latest_event().contains(what).then_some(()));
    }

    fn apply(&self, from: &str, to: &str) {
        self.sandbox.edit("clicks.yaml", from, to);
        self.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
    }

    fn started_drivers(&self) -> Vec<String> {
        self.fake_spark.lines("started")
    }

    fn assert_no_concurrent_drivers(&self) {
        assert_eq!(self.fake_spark.lines("concurrent"), [""; 0]);
    }
}

pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    log: PathBuf,
    _out: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// Starts a process and waits until it is ready. The process is killed on drop.
    pub(crate) fn start(mut command: Command, name: &str, log: PathBuf) -> Self {
        command.stderr(File::create(&log).expect("files can be made")).stdout(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn().expect("the binary can be run");
        let mut out = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let mut line = String::new();
        // Servers print their address at the end of the line.
        while !line.contains("listens at") && !line.contains("keeps continuous jobs") {
            line.clear();
            let read = out.read_line(&mut line).expect("the file can be read");
            assert!(read > 0, "{name} ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        let url = line.trim().rsplit(' ').next().expect("a line has an end").to_owned();
        Self { child, url, log, _out: out }
    }

    pub(crate) fn send(&self, signal: Signal) {
        send_signal(&self.child.id().to_string(), signal);
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log contains a text.
    fn wait_for_log(&self, text: &str) {
        wait_until(|| self.log_text().contains(text).then_some(()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const UP: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

#[test]
fn dcp_up_runs_a_stream_and_executes_requests() {
    let project = Project::new();
    project.run(&["apply", "--auto-approve"]).exits_with(0).prints("run `dcp up`");
    project.run(&["status"]).exits_with(0).prints("no reconciler is running").prints("not started");
    let up = project.start("up", &UP, None);
    project.wait_until_healthy(1);
    project.run(&["status"]).exits_with(0).prints("logistics/clicks  healthy    1");
    project.wait_for_event("run 1 of revision 1 is healthy");
    project.run(&["status", "logistics/clicks"]).exits_with(0).prints("run 1 of revision 1 is healthy");
    project
        .run(&["pause", "logistics/clicks", "--wait"])
        .exits_with(0)
        .prints("logistics/clicks is paused\n");
    assert_eq!(project.fake_spark.lines("stopped"), ["one"]);
    project.run(&["status", "logistics/clicks"]).exits_with(0).prints("by `dcp pause`");
    project.run(&["plan"]).exits_with(0);
    project
        .run(&["resume", "logistics/clicks", "--wait"])
        .exits_with(0)
        .prints("logistics/clicks is healthy\n");
    project
        .run(&["restart", "logistics/clicks", "--wait"])
        .exits_with(0)
        .prints("logistics/clicks is healthy\n");
    assert_eq!(project.started_drivers(), ["one", "one", "one"]);
    project.sandbox.edit("clicks.yaml", "\"one\"", "\"two\"");
    project.run(&["plan"]).exits_with(0).prints("restarts once, checkpoint kept; live: healthy, 0 rows/s");
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    project.run(&["status", "--wait"]).exits_with(0).prints("logistics/clicks  healthy    2");
    project.wait_for_event("run 4 of revision 2 is healthy");
    project.run(&["destroy", "--auto-approve", "--allow-delete", "logistics/clicks"]).exits_with(0);
    wait_until(|| {
        project.run(&["status"]).exits_with(0).stdout.contains("there are no continuous jobs").then_some(())
    });
    assert_eq!(project.fake_spark.lines("stopped"), ["one", "one", "one", "two"]);
    project.assert_no_concurrent_drivers();
    drop(up);
}

/// If an execution was deleted, the plan lacks the condition of its stream, and shows that of other streams.
#[test]
fn plan_shows_other_streams_when_an_execution_was_deleted() {
    let project = Project::new();
    let checkpoint = project.fake_spark.path("of-orders").display().to_string();
    let orders = MANIFEST.replace("clicks", "orders").replace("CHECKPOINT", &checkpoint);
    project.sandbox.write("orders.yaml", orders);
    project.sandbox.write("dcp.yaml", "project: shop\nmanifests: [clicks.yaml, orders.yaml]\n");
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    let up = project.start("up", &UP, None);
    project.wait_until_healthy(1);
    wait_until(|| project.run(&["status"]).stdout.contains("logistics/orders  healthy").then_some(()));
    // The drivers keep running.
    drop(up);
    let url = format!("sqlite://{}", project.sandbox.join(".dcp/runs.db").display());
    tokio::runtime::Runtime::new().expect("the runtime starts").block_on(async {
        let mut database = sqlx::SqliteConnection::connect(&url).await.expect("the database exists");
        let deletion = "DELETE FROM runner_executions WHERE name = 'orders'";
        assert_eq!(
            sqlx::query(deletion)
                .execute(&mut database)
                .await
                .expect("the statement can be run")
                .rows_affected(),
            1
        );
        database.close().await.expect("the connection can be closed");
    });
    for manifest in ["clicks.yaml", "orders.yaml"] {
        project.sandbox.edit(manifest, "\"one\"", "\"two\"");
    }
    let plan = project.run(&["plan"]).exits_with(0);
    assert_eq!(plan.stdout.matches("live: ").count(), 1, "{}", plan.stdout);
    plan.prints("how logistics/orders runs is not known");
}

#[test]
fn status_wait_reports_a_revision_that_was_given_up() {
    let project = Project::new();
    let _up = project.start("up", &UP, None);
    project.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
    project.run(&["status", "--wait"]).exits_with(0).prints("healthy");
    project.apply("\"one\"", "\"wrong\"");
    let output = project.run(&["status", "--wait"]).exits_with(1);
    output.prints("revision 2 was given up: the program failed: ValueError: wrong");
    project.wait_until_healthy(1);
    let plan = project.run(&["plan"]).exits_with(0).prints("nothing to do");
    plan.prints("revision 2 of logistics/clicks was given up, and revision 1 runs in");
    let plan = project.run(&["plan", "--output", "json"]).exits_with(0).json();
    assert_eq!(plan["plan"]["givenUp"][0]["running"], 1);
    project.apply("\"wrong\"", "\"two\"");
    project.run(&["status", "--wait"]).exits_with(0).prints("healthy    3");
    assert!(!project.run(&["plan"]).exits_with(0).transcript().contains("given up"));
    assert_eq!(project.started_drivers(), ["one", "wrong", "one", "two"]);
}

#[test]
fn status_wait_fails_for_a_job_that_never_ran() {
    let project = Project::new();
    let _up = project.start("up", &UP, None);
    project.apply("\"one\"", "\"wrong\"");
    let output = project.run(&["status", "--wait"]).exits_with(1);
    output.prints("degraded").prints("failed: the program failed: ValueError: wrong");
}

#[test]
fn run_of_an_applied_continuous_job_is_rejected() {
    let project = Project::new();
    let _up = project.start("up", &UP, None);
    project.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
    project.run(&["status", "--wait"]).exits_with(0).prints("healthy");
    let refused = project.run(&["run", "logistics/clicks"]).exits_with(1);
    refused.prints("`logistics/clicks` is a continuous job, which its reconciler keeps running");
    assert_eq!(project.started_drivers(), ["one"]);
}

#[test]
fn missing_jobs_and_reconcilers_are_reported() {
    let project = Project::new();
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    project
        .run(&["pause", "logistics/taps"])
        .exits_with(1)
        .prints("no continuous job `logistics/taps` is applied to `shop`");
    project.run(&["status", "logistics/taps"]).exits_with(1).prints("`dcp status` lists");
    project.run(&["restart", "clicks"]).exits_with(2).prints("give it as `domain/name`");
    project.run(&["status", "--wait"]).exits_with(1).prints("so nothing will change; run `dcp up`");
    project.run(&["restart", "logistics/clicks", "--wait"]).exits_with(1).prints("so nothing will change");
    project.run(&["pause", "logistics/clicks"]).exits_with(0).prints("warning: no reconciler");
    project.run(&["events", "logistics/clicks"]).exits_with(0).prints("nothing was decided");
}

#[test]
fn drivers_survive_a_kill_of_dcp_up() {
    let project = Project::new();
    project.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
    let up = project.start("up", &UP, None);
    let first = project.wait_until_healthy(1);
    drop(up);
    // Without `dcp up`, the driver keeps running, and the applied change waits.
    project.apply("\"one\"", "\"two\"");
    assert_eq!(project.started_drivers(), ["one"]);
    let up = project.start("again", &UP, None);
    let second = project.wait_until_healthy(2);
    assert_eq!((first["state"]["starts"].clone(), second["state"]["starts"].clone()), (1.into(), 2.into()));
    assert_eq!(project.started_drivers(), ["one", "two"]);
    // A `dcp up` that is stopped leaves drivers running, and the next one finds them.
    up.send(Signal::TERM);
    let _up = project.start("third", &UP, None);
    let third = project.wait_until_healthy(2);
    assert_eq!(third["state"]["run"]["execution"], second["state"]["run"]["execution"]);
    assert_eq!(project.started_drivers(), ["one", "two"]);
    project.assert_no_concurrent_drivers();
}
