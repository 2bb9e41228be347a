//! Jobs that are run from the command line. Here, spark-submit is a script; `compute/spark.rs` uses a real Spark.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use dcp_tests::machine::{Machine, alive, until};
use insta::assert_snapshot;

use crate::harness::{DCP, Ran, Sandbox};

const SCRIPT: &str = r#"
job="${@: -1}"
echo "$$" >> "pids-$job"
echo "26/01/31 02:00:11 INFO SparkContext: Running Spark" >&2
echo "the driver says $job"
case "$job" in
  fail) echo 'Traceback (most recent call last):
  File "/jobs/main.py", line 7, in <module>
    main()
ValueError: no such day' >&2; exit 1 ;;
  wait) while true; do sleep 0.02; done ;;
  twice) if [ ! -e tried ]; then touch tried; echo '26/01/31 02:00:12 ERROR SparkUncaughtExceptionHandler: Uncaught exception in thread main
java.lang.OutOfMemoryError: Java heap space
	at Main.main(Main.java:3)' >&2; exit 52; fi ;;
esac
"#;

pub(crate) const MANIFEST: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: orders, domain: logistics, owner: data@example.com}
spec:
  engine: {version: \"4.1\"}
  run: {manual: {}}
  job:
    pyspark:
      main: main.py
      args: [\"${param.do}\"]
      parameters: {do: {type: string, default: nothing}}
  resources: {driver: {memory: 1g, maxMemory: 4g}, executors: {memory: 1g, maxMemory: 4g}}
  retry: {attempts: 2, backoff: 1s}
  timeouts: {stop: 1s}
";

/// A project on a machine with a fake Spark.
struct Place {
    sandbox: Sandbox,
    machine: Machine,
}

impl Place {
    fn new() -> Self {
        let (sandbox, machine) = (Sandbox::new(), Machine::of_version("4.1.1", SCRIPT));
        sandbox
            .write("orders.yaml", MANIFEST)
            .write("main.py", "")
            .write("dcp.yaml", "project: shop\nmanifests: [orders.yaml]\n");
        Self { sandbox, machine }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(&DCP);
        command.args(args).env("SPARK_HOME", self.machine.path("spark")).env("DCP_USER", "ada");
        command.env("DCP_TOKEN", "0123456789abcdef0123456789abcdef");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the binary can be run");
        self.sandbox.ran(args, &output)
    }

    /// Starts a command, and waits for the driver of its job.
    fn started(&self, args: &[&str], job: &str) -> (Child, String) {
        let mut command = self.command(args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
        (child, self.machine.line(&format!("pids-{job}")))
    }
}

/// Returns the output with ids, times and durations replaced.
fn same(ran: &Ran) -> String {
    let mut text = String::new();
    let words = |line: &str| {
        let word = |word: &str| {
            let plain = word.trim_end_matches(';');
            let inside = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
            let is_id = plain.len() == 26 && plain.bytes().all(inside);
            if is_id { word.replace(plain, "[ID]") } else { word.to_owned() }
        };
        line.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    for line in ran.shown().lines() {
        let mut line = words(line);
        let digits = |text: &str| text.starts_with(|it: char| it.is_ascii_digit());
        // Times of day, and durations.
        while let Some(at) = line.find(" UTC") {
            let from = at.saturating_sub(19);
            line.replace_range(from..at + 4, "[TIME]");
        }
        for before in ["after ", "in ", "for "] {
            if let Some(at) = line.rfind(before)
                && digits(&line[at + before.len()..])
                && !line.contains("attempt is in")
                && let Some(end) = line[at..].find(" s")
            {
                line.replace_range(at + before.len()..at + end + 2, "[TOOK]");
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns the id that a command printed.
fn id(ran: &Ran) -> String {
    let line = ran.stdout.lines().find(|line| line.contains("submitted")).expect("it was submitted");
    line.split_whitespace().nth(2).expect("its id comes third").to_owned()
}

#[test]
fn a_job_is_run_and_repaired() {
    let place = Place::new();
    let ran = place.run(&["run", "orders.yaml", "--param", "do=twice"]).ends_with(0);
    assert_snapshot!("run_repaired", same(&ran));
    let logs = place.run(&["logs", &id(&ran)]).ends_with(0);
    assert_eq!(logs.stdout, "the driver says twice\n");
    let all = place.run(&["logs", &id(&ran), "--all"]).ends_with(0);
    assert_eq!(all.stdout, "26/01/31 02:00:11 INFO SparkContext: Running Spark\nthe driver says twice\n");
    let first = place.run(&["logs", "logistics/orders", "--attempt", "1"]).ends_with(0);
    assert!(first.stdout.contains("OutOfMemoryError"), "{}", first.shown());
    let listed = place.run(&["runs", "--output", "json"]).ends_with(0).json();
    assert_eq!(listed[0]["execution"]["phase"], "SUCCEEDED");
    assert_eq!(listed[0]["request"]["by"], "ada");
    assert_eq!(listed[0]["request"].get("token"), None);
}

#[test]
fn a_failure_is_told_with_what_is_known_of_it() {
    let place = Place::new();
    let ran = place.run(&["run", "orders.yaml", "-p", "do=fail"]).ends_with(1);
    assert_snapshot!("run_failed", same(&ran));
    assert_snapshot!("runs_one", same(&place.run(&["runs", &id(&ran)]).ends_with(0)));
    place.run(&["runs", "--phase", "failed"]).ends_with(0).says(&id(&ran));
    place.run(&["runs", "--phase", "succeeded"]).ends_with(0).says("there are no such executions");
    place.run(&["runs", "--phase", "done"]).ends_with(2).says("`done` is no phase");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_started() {
    let place = Place::new();
    let bad = |args: &[&str], code, says: &str| {
        place.run(args).ends_with(code).says(says);
    };
    bad(&["run", "nothing.yaml"], 1, "nothing.yaml");
    bad(&["run", "nothing"], 2, "`nothing` is no file, and no workload");
    bad(&["run", "logistics/orders"], 1, "no job `logistics/orders` is applied to `shop`");
    bad(&["run", "orders.yaml", "-p", "dd=1"], 1, "did you mean `do`?");
    bad(&["run", "orders.yaml", "-p", "do"], 2, "`--param do` is no parameter");
    bad(&["run", "orders.yaml", "--select", "a/b"], 2, "has no workload `a/b`");
    bad(&["run", "orders.yaml", "--token", ""], 1, "`token` has to be");
    bad(&["logs", "nothing"], 1, "there is no execution nothing");
    bad(&["logs", "No Id"], 2, "`No Id` is no execution");
    bad(&["cancel", "logistics/orders"], 1, "`logistics/orders` was never run");
    std::fs::remove_file(place.sandbox.join("main.py")).expect("it is there");
    bad(&["run", "orders.yaml"], 1, "there is no file `main.py`");
    place.sandbox.write("main.py", "").edit("orders.yaml", "\"4.1\"", "\"3.5\"");
    bad(&["run", "orders.yaml"], 1, "Spark 3.5 is not on this machine, which has 4.1.1");
    place.sandbox.edit("orders.yaml", "main: main.py", "mian: main.py");
    bad(&["run", "orders.yaml"], 1, "unknown field `mian`");
    bad(&["runs"], 0, "there are no such executions");
}

#[test]
fn the_same_token_gives_the_same_run() {
    let place = Place::new();
    let first = place.run(&["run", "orders.yaml", "--token", "nightly-1"]).ends_with(0);
    let second = place.run(&["run", "orders.yaml", "--token", "nightly-1"]).ends_with(0).says("used before");
    assert_eq!(id(&first), id(&second));
    assert_eq!(place.machine.lines("pids-nothing").len(), 1);
    let other = place.run(&["run", "orders.yaml", "--token", "nightly-1", "-p", "do=x"]).ends_with(1);
    other.says("the parameter `do` was not given, and is \"x\"");
}

#[test]
fn who_stops_waiting_does_not_stop_the_run() {
    let place = Place::new();
    let args = ["run", "orders.yaml", "-p", "do=wait"];
    let (child, driver) = place.started(&args, "wait");
    until(|| place.run(&["runs", "--live"]).stdout.contains("RUNNING").then_some(()));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill can be run");
    let ran = place.sandbox.ran(&args, &child.wait_with_output().expect("it ends")).ends_with(1);
    let id = id(&ran);
    let ran = ran.says(&format!("{id} goes on")).says(&format!("dcp cancel {id}"));
    drop(ran);
    assert!(alive(&driver), "it runs on");
    place.run(&["runs", "--live"]).ends_with(0).says("RUNNING");
    place
        .run(&["cancel", &id])
        .ends_with(0)
        .says("is being stopped; it has 1 s")
        .says(&format!("{id} is cancelled"));
    assert!(!alive(&driver), "nothing of it is left");
    place.run(&["runs", "--live"]).ends_with(0).says("there are no such executions");
    place.run(&["cancel", &id]).ends_with(0).says("has ended already: CANCELLED");
}

/// A service that is killed on drop, and its address.
struct Service(Child, String);

impl Service {
    /// Starts `dcp up`.
    fn up(place: &Place, listen: &str) -> Self {
        place.sandbox.write("tokens", "ada 0123456789abcdef0123456789abcdef\n");
        Self::start(place, &["up", "--listen", listen, "--tokens", "tokens", "--quiet"])
    }

    fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it can be run");
        let mut line = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        let url = line.trim().rsplit(' ').next().expect("the address comes last").to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
        Self(child, url)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn all_parts_in_one_process_and_what_it_leaves_behind() {
    let place = Place::new();
    let up = Service::up(&place, "127.0.0.1:0");
    let project = format!(
        "project: shop\nmanifests: [orders.yaml]\ntargets: {{dev: {{default: true, server: \"{}\"}}}}\n",
        up.1
    );
    place.sandbox.write("dcp.yaml", project);
    place.run(&["apply", "--auto-approve"]).ends_with(0).says("applied serial 1");
    place.run(&["run", "logistics/orders", "--wait"]).ends_with(0).says("succeeded");
    let submitted = place.run(&["run", "logistics/orders"]).ends_with(0).says("to follow it: dcp logs -f");
    let id = submitted.stdout.trim();
    assert_eq!(place.run(&["logs", "-f", id]).ends_with(0).stdout, "the driver says nothing\n");
    place
        .run(&["run", "logistics/order"])
        .ends_with(1)
        .says("no job `logistics/order` is applied to `shop/dev`");
    let (waiting, driver) = place.started(&["run", "logistics/orders", "-p", "do=wait", "--wait"], "wait");
    until(|| place.run(&["runs", "--live"]).stdout.contains("RUNNING").then_some(()));
    let address = up.1.trim_start_matches("http://").to_owned();
    drop(up);
    assert!(alive(&driver), "what runs does not need who started it");
    // Another process takes over the execution, and the waiting command continues.
    let up = Service::up(&place, &address);
    place.run(&["runs", "--live"]).ends_with(0).says("RUNNING");
    place.run(&["cancel", "logistics/orders"]).ends_with(0).says("is cancelled");
    assert!(!alive(&driver));
    let told = waiting.wait_with_output().expect("it ends");
    let told = place.sandbox.ran(&["run"], &told).ends_with(1).says("cancelled");
    assert_eq!(told.stdout.matches("submitted").count(), 1, "{}", told.shown());
    drop(up);
    place.run(&["runs"]).ends_with(1).says("that the Runner runs");
}

#[test]
fn the_parts_may_have_addresses_of_their_own() {
    let place = Place::new();
    place.sandbox.write("tokens", "ci 0123456789abcdef0123456789abcdef\n");
    let serve = |part: &str, database: &str, more: &[&str]| {
        let args = ["serve", part, "--listen", "127.0.0.1:0", "--database", database, "--tokens", "tokens"];
        Service::start(&place, &[&args, more, &["--quiet"]].concat())
    };
    let control = serve("control", "state.db", &[]);
    let runner = serve("runner", "runs.db", &["--control", &control.1]);
    let (server, at) = (&control.1, &runner.1);
    let project = |target: &str| {
        let text = format!("project: shop\nmanifests: [orders.yaml]\ntargets: {{prod: {{{target}}}}}\n");
        place.sandbox.write("dcp.yaml", text);
    };
    project(&format!("runner: \"{at}\""));
    place.run(&["validate"]).ends_with(1).says("`server` is missing from `prod`");
    project(&format!("server: \"{server}\""));
    place.run(&["apply", "--auto-approve"]).ends_with(0).says("applied serial 1");
    place.run(&["runs"]).ends_with(1).says("it is no Runner").says("`runner:` beside");
    project(&format!("server: \"{server}\", runner: \"{at}\""));
    place.run(&["run", "logistics/orders", "--wait"]).ends_with(0).says("succeeded");
    place.run(&["runs"]).ends_with(0).says("SUCCEEDED");
    place.run(&["plan"]).ends_with(0).says("nothing to do");
}

#[test]
fn a_port_that_is_taken_is_said_to_be() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = taken.local_addr().expect("it has one").to_string();
    let ran = place.run(&["up", "--listen", &address]).ends_with(1);
    ran.says(&format!("nothing can listen at {address}")).says("--listen HOST:PORT");
    let ran = place.run(&["up", "--listen", "0.0.0.0:0"]).ends_with(2);
    ran.says("without `--tokens`, dcp listens at a loopback address only");
    let ran = place.run(&["up", "--tokens", "tokens"]).ends_with(2);
    ran.says("no address is given").says("--listen");
}

#[test]
fn doctor_says_what_is_missing() {
    let place = Place::new();
    place.run(&["doctor"]).ends_with(0).says("✓ spark    4.1.1").says("jobs can be run on this machine");
    let mut bare = place.sandbox.command(&DCP);
    let output = bare.arg("doctor").env("PATH", "/nowhere").output().expect("the binary can be run");
    let ran = place.sandbox.ran(&["doctor"], &output).ends_with(1);
    assert_snapshot!("doctor_bare", ran.shown());
}
