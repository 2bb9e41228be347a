//! Jobs that are run from the command line. Here, spark-submit is a script; `compute/spark.rs` uses a real Spark.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use dcp_tests::fake_spark::{FakeSpark, is_alive, wait_until};
use insta::assert_snapshot;

use crate::harness::{CommandOutput, DCP, Sandbox};

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
struct Project {
    sandbox: Sandbox,
    fake_spark: FakeSpark,
}

impl Project {
    fn new() -> Self {
        let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", SCRIPT));
        sandbox
            .write("orders.yaml", MANIFEST)
            .write("main.py", "")
            .write("dcp.yaml", "project: shop\nmanifests: [orders.yaml]\n");
        Self { sandbox, fake_spark }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(&DCP);
        command.args(args).env("SPARK_HOME", self.fake_spark.path("spark")).env("DCP_USER", "ada");
        command.env("DCP_TOKEN", "0123456789abcdef0123456789abcdef");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> CommandOutput {
        let output = self.command(args).output().expect("the binary can be run");
        self.sandbox.capture(args, &output)
    }

    /// Starts a command, and waits for the driver of its job.
    fn started(&self, args: &[&str], job: &str) -> (Child, String) {
        let mut command = self.command(args);
        let child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be run");
        (child, self.fake_spark.wait_for_line(&format!("pids-{job}")))
    }
}

/// Returns the output with ids, times and durations replaced.
fn normalized(ran: &CommandOutput) -> String {
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
    for line in ran.transcript().lines() {
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
fn id(ran: &CommandOutput) -> String {
    let line = ran.stdout.lines().find(|line| line.contains("submitted")).expect("the output has the submit");
    line.split_whitespace().nth(2).expect("the id is the third word").to_owned()
}

#[test]
fn job_that_ran_out_of_memory_is_retried_with_more() {
    let project = Project::new();
    let ran = project.run(&["run", "orders.yaml", "--param", "do=twice"]).exits_with(0);
    assert_snapshot!("run_repaired", normalized(&ran));
    let logs = project.run(&["logs", &id(&ran)]).exits_with(0);
    assert_eq!(logs.stdout, "the driver says twice\n");
    let all = project.run(&["logs", &id(&ran), "--all"]).exits_with(0);
    assert_eq!(all.stdout, "26/01/31 02:00:11 INFO SparkContext: Running Spark\nthe driver says twice\n");
    let first = project.run(&["logs", "logistics/orders", "--attempt", "1"]).exits_with(0);
    assert!(first.stdout.contains("OutOfMemoryError"), "{}", first.transcript());
    let listed = project.run(&["runs", "--output", "json"]).exits_with(0).json();
    assert_eq!(listed[0]["execution"]["phase"], "SUCCEEDED");
    assert_eq!(listed[0]["request"]["by"], "ada");
    assert_eq!(listed[0]["request"].get("token"), None);
}

#[test]
fn failure_is_reported_with_cause_and_evidence() {
    let project = Project::new();
    let ran = project.run(&["run", "orders.yaml", "-p", "do=fail"]).exits_with(1);
    assert_snapshot!("run_failed", normalized(&ran));
    assert_snapshot!("runs_one", normalized(&project.run(&["runs", &id(&ran)]).exits_with(0)));
    project.run(&["runs", "--phase", "failed"]).exits_with(0).prints(&id(&ran));
    project.run(&["runs", "--phase", "succeeded"]).exits_with(0).prints("there are no such executions");
    project.run(&["runs", "--phase", "done"]).exits_with(2).prints("`done` is no phase");
}

#[test]
fn invalid_runs_are_rejected_before_the_start() {
    let project = Project::new();
    let bad = |args: &[&str], code, says: &str| {
        project.run(args).exits_with(code).prints(says);
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
    std::fs::remove_file(project.sandbox.join("main.py")).expect("the file exists");
    bad(&["run", "orders.yaml"], 1, "there is no file `main.py`");
    project.sandbox.write("main.py", "").edit("orders.yaml", "\"4.1\"", "\"3.5\"");
    bad(&["run", "orders.yaml"], 1, "Spark 3.5 is not on this machine, which has 4.1.1");
    project.sandbox.edit("orders.yaml", "main: main.py", "mian: main.py");
    bad(&["run", "orders.yaml"], 1, "unknown field `mian`");
    bad(&["runs"], 0, "there are no such executions");
}

#[test]
fn same_token_gives_the_same_execution() {
    let project = Project::new();
    let first = project.run(&["run", "orders.yaml", "--token", "nightly-1"]).exits_with(0);
    let second =
        project.run(&["run", "orders.yaml", "--token", "nightly-1"]).exits_with(0).prints("used before");
    assert_eq!(id(&first), id(&second));
    assert_eq!(project.fake_spark.lines("pids-nothing").len(), 1);
    let other = project.run(&["run", "orders.yaml", "--token", "nightly-1", "-p", "do=x"]).exits_with(1);
    other.prints("the parameter `do` was not given, and is \"x\"");
}

#[test]
fn interrupted_wait_does_not_cancel_the_run() {
    let project = Project::new();
    let args = ["run", "orders.yaml", "-p", "do=wait"];
    let (child, driver) = project.started(&args, "wait");
    wait_until(|| project.run(&["runs", "--live"]).stdout.contains("RUNNING").then_some(()));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill can be run");
    let ran = project
        .sandbox
        .capture(&args, &child.wait_with_output().expect("the process or thread ends"))
        .exits_with(1);
    let id = id(&ran);
    let ran = ran.prints(&format!("{id} goes on")).prints(&format!("dcp cancel {id}"));
    drop(ran);
    assert!(is_alive(&driver), "the driver keeps running");
    project.run(&["runs", "--live"]).exits_with(0).prints("RUNNING");
    project
        .run(&["cancel", &id])
        .exits_with(0)
        .prints("is being stopped; it has 1 s")
        .prints(&format!("{id} is cancelled"));
    assert!(!is_alive(&driver), "the driver is gone");
    project.run(&["runs", "--live"]).exits_with(0).prints("there are no such executions");
    project.run(&["cancel", &id]).exits_with(0).prints("has ended already: CANCELLED");
}

/// A service that is killed on drop, and its address.
struct Service(Child, String);

impl Service {
    /// Starts `dcp up`.
    fn up(project: &Project, listen: &str) -> Self {
        project.sandbox.write_token("0123456789abcdef0123456789abcdef");
        Self::start(project, &["up", "--listen", listen, "--quiet"])
    }

    fn start(project: &Project, args: &[&str]) -> Self {
        let mut command = project.command(args);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program can be run");
        let mut line = String::new();
        let out = child.stdout.take().expect("the stream is piped");
        BufReader::new(out).read_line(&mut line).expect("the server prints its address");
        let url = line.trim().rsplit(' ').next().expect("the line ends with the address").to_owned();
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
fn executions_survive_a_restart_of_dcp_up() {
    let project = Project::new();
    let up = Service::up(&project, "127.0.0.1:0");
    let project_file = format!(
        "project: shop\nmanifests: [orders.yaml]\ntargets: {{dev: {{default: true, server: \"{}\"}}}}\n",
        up.1
    );
    project.sandbox.write("dcp.yaml", project_file);
    project.run(&["apply", "--auto-approve"]).exits_with(0).prints("applied serial 1");
    project.run(&["run", "logistics/orders", "--wait"]).exits_with(0).prints("succeeded");
    let submitted =
        project.run(&["run", "logistics/orders"]).exits_with(0).prints("to follow it: dcp logs -f");
    let id = submitted.stdout.trim();
    assert_eq!(project.run(&["logs", "-f", id]).exits_with(0).stdout, "the driver says nothing\n");
    project
        .run(&["run", "logistics/order"])
        .exits_with(1)
        .prints("no job `logistics/order` is applied to `shop/dev`");
    let (waiting, driver) = project.started(&["run", "logistics/orders", "-p", "do=wait", "--wait"], "wait");
    wait_until(|| project.run(&["runs", "--live"]).stdout.contains("RUNNING").then_some(()));
    let address = up.1.trim_start_matches("http://").to_owned();
    drop(up);
    assert!(is_alive(&driver), "the driver survives `dcp up`");
    // Another process takes over the execution, and the waiting command continues.
    let up = Service::up(&project, &address);
    project.run(&["runs", "--live"]).exits_with(0).prints("RUNNING");
    project.run(&["cancel", "logistics/orders"]).exits_with(0).prints("is cancelled");
    assert!(!is_alive(&driver));
    let output = waiting.wait_with_output().expect("the process or thread ends");
    let output = project.sandbox.capture(&["run"], &output).exits_with(1).prints("cancelled");
    assert_eq!(output.stdout.matches("submitted").count(), 1, "{}", output.transcript());
    drop(up);
    project.run(&["runs"]).exits_with(1).prints("that the Runner runs");
}

#[test]
fn control_plane_and_runner_run_as_separate_services() {
    let project = Project::new();
    project.sandbox.write_token("0123456789abcdef0123456789abcdef");
    let serve = |part: &str, database: &str, more: &[&str]| {
        let args = ["serve", part, "--listen", "127.0.0.1:0", "--database", database];
        Service::start(&project, &[&args, more, &["--quiet"]].concat())
    };
    let control = serve("control", "state.db", &[]);
    let runner = serve("runner", "runs.db", &["--control", &control.1]);
    let (server, at) = (&control.1, &runner.1);
    let write_project = |target: &str| {
        let text = format!("project: shop\nmanifests: [orders.yaml]\ntargets: {{prod: {{{target}}}}}\n");
        project.sandbox.write("dcp.yaml", text);
    };
    write_project(&format!("runner: \"{at}\""));
    project.run(&["validate"]).exits_with(1).prints("`server` is missing from `prod`");
    write_project(&format!("server: \"{server}\""));
    project.run(&["apply", "--auto-approve"]).exits_with(0).prints("applied serial 1");
    project.run(&["runs"]).exits_with(1).prints("it is no Runner").prints("`runner:` beside");
    write_project(&format!("server: \"{server}\", runner: \"{at}\""));
    project.run(&["run", "logistics/orders", "--wait"]).exits_with(0).prints("succeeded");
    project.run(&["runs"]).exits_with(0).prints("SUCCEEDED");
    project.run(&["plan"]).exits_with(0).prints("nothing to do");
}

#[test]
fn unusable_listen_address_is_reported() {
    let project = Project::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = taken.local_addr().expect("the listener has an address").to_string();
    let ran = project.run(&["up", "--listen", &address]).exits_with(1);
    ran.prints(&format!("nothing can listen at {address}")).prints("--listen HOST:PORT");
    let ran = project.run(&["up", "--listen", "0.0.0.0:0"]).exits_with(2);
    ran.prints("without `--policy`, dcp listens at a loopback address only");
    let ran = project.run(&["up", "--policy", "policy.yaml"]).exits_with(2);
    ran.prints("no address is given").prints("--listen");
}

#[test]
fn doctor_reports_missing_requirements() {
    let project = Project::new();
    project
        .run(&["doctor"])
        .exits_with(0)
        .prints("✓ spark    4.1.1")
        .prints("jobs can be run on this machine");
    let mut bare = project.sandbox.command(&DCP);
    let output = bare.arg("doctor").env("PATH", "/nowhere").output().expect("the binary can be run");
    let ran = project.sandbox.capture(&["doctor"], &output).exits_with(1);
    assert_snapshot!("doctor_bare", ran.transcript());
}
