//! Commands for continuous jobs. Here, spark-submit is a script; `kept/streaming.rs` uses a real Spark.

mod spark;
mod streaming;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dcp_tests::machine::{Machine, STREAMS, kill, until};
use rustix::process::Signal;
use serde_json::Value;
use sqlx::Connection as _;

use crate::harness::{DCP, Ran, Sandbox};

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
struct Place {
    sandbox: Sandbox,
    machine: Machine,
}

impl Place {
    fn new() -> Self {
        let (sandbox, machine) = (Sandbox::new(), Machine::of_version("4.1.1", STREAMS));
        let checkpoint = machine.path("checkpoint").display().to_string();
        sandbox
            .write("clicks.yaml", MANIFEST.replace("CHECKPOINT", &checkpoint))
            .write("main.py", "")
            .write("tokens", format!("ci {TOKEN}\n"))
            .write("dcp.yaml", "project: shop\nmanifests: [clicks.yaml]\n");
        Self { sandbox, machine }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(&DCP);
        command.args(args).env("SPARK_HOME", self.machine.path("spark")).env("DCP_USER", "ada");
        command.env("DCP_TOKEN", TOKEN).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the binary can be run");
        self.sandbox.ran(args, &output)
    }

    fn start(&self, name: &str, args: &[&str], database: Option<&str>) -> Process {
        let mut command = self.command(args);
        command.envs(database.map(|url| ("DCP_DATABASE", url)));
        Process::start(command, name, self.sandbox.join(&format!("{name}.log")))
    }

    /// Returns the job from the output of `dcp status`.
    fn status(&self) -> Value {
        let told = self.run(&["status", "logistics/clicks", "--output", "json"]).ends_with(0).json();
        told["jobs"][0].clone()
    }

    /// Waits until a revision runs and is healthy.
    fn healthy(&self, revision: u64) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let job = self.status();
            if job["condition"] == "healthy" && job["state"]["run"]["version"]["revision"] == revision {
                return job;
            }
            let events = || self.run(&["events", "logistics/clicks"]).stdout;
            assert!(Instant::now() < deadline, "it did not get healthy: {job:#}\n{}", events());
        }
    }

    /// Waits until the latest event contains a text.
    fn says(&self, what: &str) {
        let said = || self.run(&["events", "logistics/clicks", "--limit", "1"]).ends_with(0).stdout;
        until(|| said().contains(what).then_some(()));
    }

    fn apply(&self, from: &str, to: &str) {
        self.sandbox.edit("clicks.yaml", from, to);
        self.run(&["apply", "--auto-approve", "--quiet"]).ends_with(0);
    }

    fn started(&self) -> Vec<String> {
        self.machine.lines("started")
    }

    fn no_two_at_once(&self) {
        assert_eq!(self.machine.lines("doubled"), [""; 0]);
    }
}

struct Process {
    child: Child,
    url: String,
    log: PathBuf,
    _out: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// Starts a process and waits until it is ready. The process is killed on drop.
    fn start(mut command: Command, name: &str, log: PathBuf) -> Self {
        command.stderr(File::create(&log).expect("files can be made")).stdout(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn().expect("the binary can be run");
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        // Servers print their address at the end of the line.
        while !line.contains("listens at") && !line.contains("keeps continuous jobs") {
            line.clear();
            let read = out.read_line(&mut line).expect("it can be read");
            assert!(read > 0, "{name} ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        let url = line.trim().rsplit(' ').next().expect("a line has an end").to_owned();
        Self { child, url, log, _out: out }
    }

    fn send(&self, signal: Signal) {
        kill(&self.child.id().to_string(), signal);
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log contains a text.
    fn says(&self, text: &str) {
        until(|| self.said().contains(text).then_some(()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const UP: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

#[test]
fn a_stream_is_kept_by_dcp_up_and_does_as_it_is_asked() {
    let place = Place::new();
    place.run(&["apply", "--auto-approve"]).ends_with(0).says("run `dcp up`");
    place.run(&["status"]).ends_with(0).says("no reconciler is running").says("not started");
    let up = place.start("up", &UP, None);
    place.healthy(1);
    place.run(&["status"]).ends_with(0).says("logistics/clicks  healthy    1");
    place.says("run 1 of revision 1 is healthy");
    place.run(&["status", "logistics/clicks"]).ends_with(0).says("run 1 of revision 1 is healthy");
    place.run(&["pause", "logistics/clicks", "--wait"]).ends_with(0).says("logistics/clicks is paused\n");
    assert_eq!(place.machine.lines("stopped"), ["one"]);
    place.run(&["status", "logistics/clicks"]).ends_with(0).says("by `dcp pause`");
    place.run(&["plan"]).ends_with(0);
    place.run(&["resume", "logistics/clicks", "--wait"]).ends_with(0).says("logistics/clicks is healthy\n");
    place.run(&["restart", "logistics/clicks", "--wait"]).ends_with(0).says("logistics/clicks is healthy\n");
    assert_eq!(place.started(), ["one", "one", "one"]);
    place.sandbox.edit("clicks.yaml", "\"one\"", "\"two\"");
    place.run(&["plan"]).ends_with(0).says("restarts once, checkpoint kept; live: healthy, 0 rows/s");
    place.run(&["apply", "--auto-approve"]).ends_with(0);
    place.run(&["status", "--wait"]).ends_with(0).says("logistics/clicks  healthy    2");
    place.says("run 4 of revision 2 is healthy");
    place.run(&["destroy", "--auto-approve", "--allow-delete", "logistics/clicks"]).ends_with(0);
    until(|| {
        place.run(&["status"]).ends_with(0).stdout.contains("there are no continuous jobs").then_some(())
    });
    assert_eq!(place.machine.lines("stopped"), ["one", "one", "one", "two"]);
    place.no_two_at_once();
    drop(up);
}

/// If an execution was deleted, the plan lacks the condition of its stream, and shows that of other streams.
#[test]
fn plan_shows_other_streams_when_an_execution_was_forgotten() {
    let place = Place::new();
    let checkpoint = place.machine.path("of-orders").display().to_string();
    let orders = MANIFEST.replace("clicks", "orders").replace("CHECKPOINT", &checkpoint);
    place.sandbox.write("orders.yaml", orders);
    place.sandbox.write("dcp.yaml", "project: shop\nmanifests: [clicks.yaml, orders.yaml]\n");
    place.run(&["apply", "--auto-approve"]).ends_with(0);
    let up = place.start("up", &UP, None);
    place.healthy(1);
    until(|| place.run(&["status"]).stdout.contains("logistics/orders  healthy").then_some(()));
    // The drivers keep running.
    drop(up);
    let url = format!("sqlite://{}", place.sandbox.join(".dcp/runs.db").display());
    tokio::runtime::Runtime::new().expect("it starts").block_on(async {
        let mut database = sqlx::SqliteConnection::connect(&url).await.expect("it is there");
        let forget = "DELETE FROM runner_executions WHERE name = 'orders'";
        assert_eq!(sqlx::query(forget).execute(&mut database).await.expect("it is done").rows_affected(), 1);
        database.close().await.expect("it can be closed");
    });
    for manifest in ["clicks.yaml", "orders.yaml"] {
        place.sandbox.edit(manifest, "\"one\"", "\"two\"");
    }
    let plan = place.run(&["plan"]).ends_with(0);
    assert_eq!(plan.stdout.matches("live: ").count(), 1, "{}", plan.stdout);
    plan.says("how logistics/orders runs is not known");
}

#[test]
fn status_wait_reports_a_revision_that_was_given_up() {
    let place = Place::new();
    let _up = place.start("up", &UP, None);
    place.run(&["apply", "--auto-approve", "--quiet"]).ends_with(0);
    place.run(&["status", "--wait"]).ends_with(0).says("healthy");
    place.apply("\"one\"", "\"wrong\"");
    let told = place.run(&["status", "--wait"]).ends_with(1);
    told.says("revision 2 was given up: the program failed: ValueError: wrong");
    place.healthy(1);
    let plan = place.run(&["plan"]).ends_with(0).says("nothing to do");
    plan.says("revision 2 of logistics/clicks was given up, and revision 1 runs in");
    let plan = place.run(&["plan", "--output", "json"]).ends_with(0).json();
    assert_eq!(plan["plan"]["givenUp"][0]["running"], 1);
    place.apply("\"wrong\"", "\"two\"");
    place.run(&["status", "--wait"]).ends_with(0).says("healthy    3");
    assert!(!place.run(&["plan"]).ends_with(0).shown().contains("given up"));
    assert_eq!(place.started(), ["one", "wrong", "one", "two"]);
}

#[test]
fn status_wait_fails_for_a_job_that_never_ran() {
    let place = Place::new();
    let _up = place.start("up", &UP, None);
    place.apply("\"one\"", "\"wrong\"");
    let told = place.run(&["status", "--wait"]).ends_with(1);
    told.says("degraded").says("failed: the program failed: ValueError: wrong");
}

#[test]
fn run_of_an_applied_continuous_job_is_refused() {
    let place = Place::new();
    let _up = place.start("up", &UP, None);
    place.run(&["apply", "--auto-approve", "--quiet"]).ends_with(0);
    place.run(&["status", "--wait"]).ends_with(0).says("healthy");
    let refused = place.run(&["run", "logistics/clicks"]).ends_with(1);
    refused.says("`logistics/clicks` is a continuous job, which its reconciler keeps running");
    assert_eq!(place.started(), ["one"]);
}

#[test]
fn what_is_not_there_is_told() {
    let place = Place::new();
    place.run(&["apply", "--auto-approve"]).ends_with(0);
    place
        .run(&["pause", "logistics/taps"])
        .ends_with(1)
        .says("no continuous job `logistics/taps` is applied to `shop`");
    place.run(&["status", "logistics/taps"]).ends_with(1).says("`dcp status` lists");
    place.run(&["restart", "clicks"]).ends_with(2).says("give it as `domain/name`");
    place.run(&["status", "--wait"]).ends_with(1).says("so nothing will change; run `dcp up`");
    place.run(&["restart", "logistics/clicks", "--wait"]).ends_with(1).says("so nothing will change");
    place.run(&["pause", "logistics/clicks"]).ends_with(0).says("warning: no reconciler");
    place.run(&["events", "logistics/clicks"]).ends_with(0).says("nothing was decided");
}

#[test]
fn a_kill_of_dcp_up_loses_nothing() {
    let place = Place::new();
    place.run(&["apply", "--auto-approve", "--quiet"]).ends_with(0);
    let up = place.start("up", &UP, None);
    let first = place.healthy(1);
    drop(up);
    // Without `dcp up`, the driver keeps running, and the applied change waits.
    place.apply("\"one\"", "\"two\"");
    assert_eq!(place.started(), ["one"]);
    let up = place.start("again", &UP, None);
    let second = place.healthy(2);
    assert_eq!((first["state"]["starts"].clone(), second["state"]["starts"].clone()), (1.into(), 2.into()));
    assert_eq!(place.started(), ["one", "two"]);
    // A `dcp up` that is stopped leaves drivers running, and the next one finds them.
    up.send(Signal::TERM);
    let _up = place.start("third", &UP, None);
    let third = place.healthy(2);
    assert_eq!(third["state"]["run"]["execution"], second["state"]["run"]["execution"]);
    assert_eq!(place.started(), ["one", "two"]);
    place.no_two_at_once();
}

mod postgres {
    use std::io;
    use std::net::Shutdown;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use dcp_tests::postgres::database;

    use super::*;

    /// A proxy to PostgreSQL whose connections can be cut.
    struct Way {
        url: String,
        open: Arc<Mutex<Option<Vec<UnixStream>>>>,
        _folder: tempfile::TempDir,
    }

    impl Way {
        fn to(database: &str) -> Self {
            let folder = tempfile::tempdir().expect("there is room");
            let (before, rest) = database.split_once('@').expect("it has a user");
            let (socket, name) = rest.split_once('/').expect("it has a name");
            let there = socket.replace("%2F", "/");
            let there = Path::new(&there).join(".s.PGSQL.5432");
            let here = folder.path().join(".s.PGSQL.5432");
            let url = format!("{before}@{}/{name}", folder.path().display().to_string().replace('/', "%2F"));
            let open = Arc::new(Mutex::new(Some(Vec::new())));
            let listener = UnixListener::bind(here).expect("it can be made");
            let through = Arc::clone(&open);
            thread::spawn(move || {
                for client in listener.incoming().map_while(Result::ok) {
                    let mut open = through.lock().expect("nobody panicked");
                    let Some(open) = open.as_mut() else { continue };
                    let server = UnixStream::connect(&there).expect("it listens");
                    for (from, to) in [(&client, &server), (&server, &client)] {
                        let (mut from, mut to) = (copy(from), copy(to));
                        thread::spawn(move || {
                            let _ = io::copy(&mut from, &mut to);
                            let _ = to.shutdown(Shutdown::Both);
                        });
                    }
                    open.extend([client, server]);
                }
            });
            Self { url, open, _folder: folder }
        }

        fn cut(&self) {
            for stream in self.open.lock().expect("nobody panicked").take().into_iter().flatten() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn copy(stream: &UnixStream) -> UnixStream {
        stream.try_clone().expect("there are descriptors")
    }

    /// A control plane, a Runner and reconcilers, each in a separate process.
    struct Plane {
        place: Place,
        database: String,
        runner: String,
        _processes: [Process; 2],
    }

    impl Plane {
        fn new() -> Self {
            let (place, database) = (Place::new(), database());
            let listen = ["--listen", "127.0.0.1:0", "--tokens", "tokens", "--quiet"];
            let control = [&["serve", "control"][..], &listen].concat();
            let control = place.start("control", &control, Some(&database));
            let runner = [&["serve", "runner", "--control", &control.url][..], &listen].concat();
            let runner = place.start("runner", &runner, Some(&database));
            let target = format!(
                "targets:\n  prod: {{default: true, server: \"{}\", runner: \"{}\", dags: dags}}\n",
                control.url, runner.url
            );
            place.sandbox.write("dcp.yaml", format!("project: shop\nmanifests: [clicks.yaml]\n{target}"));
            let url = runner.url.clone();
            Self { place, database, runner: url, _processes: [control, runner] }
        }

        fn reconciler(&self, name: &str, database: &str) -> Process {
            let args = ["serve", "reconciler", "--runner", &self.runner, "--lease", "2"];
            self.place.start(name, &args, Some(database))
        }
    }

    #[test]
    fn of_several_reconcilers_one_acts_however_it_is_lost() {
        let plane = Plane::new();
        let house = &plane.place;
        let way = Way::to(&plane.database);
        let first = plane.reconciler("first", &way.url);
        first.says("it acts, by epoch 1");
        let second = plane.reconciler("second", &plane.database);
        house.run(&["apply", "--auto-approve", "--quiet"]).ends_with(0);
        house.healthy(1);
        // Without its database connection, the reconciler can't know whether it still holds the lease.
        way.cut();
        house.apply("\"one\"", "\"two\"");
        second.says("it acts, by epoch 2");
        house.healthy(2);
        // The process is suspended for longer than the lease, and then resumes.
        let third = plane.reconciler("third", &plane.database);
        second.send(Signal::STOP);
        house.apply("\"two\"", "\"three\"");
        third.says("it acts, by epoch 3");
        house.healthy(3);
        second.send(Signal::CONT);
        house.run(&["restart", "logistics/clicks", "--wait"]).ends_with(0);
        // The process is killed.
        let fourth = plane.reconciler("fourth", &plane.database);
        drop(third);
        house.apply("\"three\"", "\"four\"");
        house.healthy(4);
        assert!(second.said().contains("by epoch 4") || fourth.said().contains("by epoch 4"));
        assert!(!first.said().contains("by epoch 3") && !first.said().contains("by epoch 4"));
        assert_eq!(house.started(), ["one", "two", "three", "three", "four"]);
        house.no_two_at_once();
        // A pause that is requested at the control plane stops the last run.
        house.run(&["pause", "logistics/clicks", "--wait"]).ends_with(0).says("logistics/clicks is paused");
        assert_eq!(house.machine.lines("stopped").len(), 5);
    }

    /// The leader is suspended during a start and resumes after a takeover: its late requests are rejected, or have no
    /// effect.
    #[test]
    fn a_reconciler_that_wakes_up_late_does_no_harm() {
        let plane = Plane::new();
        let house = &plane.place;
        let mut reconcilers = vec![plane.reconciler("0", &plane.database)];
        house.run(&["apply", "--auto-approve", "--quiet"]).ends_with(0);
        house.healthy(1);
        for round in 1..5_u64 {
            reconcilers.push(plane.reconciler(&round.to_string(), &plane.database));
            let (old, new) = (format!("\"{}\"", word(round - 1)), format!("\"{}\"", word(round)));
            house.apply(&old, &new);
            // At a different point of the redeploy each time.
            thread::sleep(Duration::from_millis(150 * round));
            reconcilers[0].send(Signal::STOP);
            house.healthy(round + 1);
            reconcilers[0].send(Signal::CONT);
            let gone = reconcilers.remove(0);
            house.healthy(round + 1);
            drop(gone);
        }
        house.no_two_at_once();
        let started: Vec<String> = (0..5).map(|round| word(round).to_owned()).collect();
        assert_eq!(house.started(), started);
    }

    fn word(round: u64) -> &'static str {
        ["one", "two", "three", "four", "five"][usize::try_from(round).expect("it is small")]
    }
}
