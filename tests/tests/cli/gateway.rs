//! A Gateway in a process of its own, and `dcp clusters`. None of these clusters responds; `cluster/gateway.rs` uses a
//! real one.

use std::fs::{File, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dcp_tests::cluster::kubeconfig_of_nobody;
use dcp_tests::fake_spark::{send_signal, wait_until};
use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{CommandOutput, DCP, Sandbox};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

const CLUSTERS: &str = "\
clusters:
  north:
    kind: kubernetes
    region: eu-central-1
    tags: {data: prod}
    weight: 2
    capacity: {applications: 100}
    domains: [finance, sales]
    credentials: {kubeconfig: kubeconfig}
  spare:
    kind: kubernetes
    weight: 0
    credentials: {kubeconfig: kubeconfig}
";

const MANIFEST: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: numbers, domain: sales, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  job: {sql: {query: SELECT 1 AS one, returnResult: false}}
  run: {manual: {}}
";

/// A part of dcp in a process of its own, killed on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    log: PathBuf,
}

impl Server {
    pub(crate) fn start(sandbox: &Sandbox, name: &str, args: &[&str]) -> Self {
        let mut command = command(sandbox, args);
        let log = sandbox.join(&format!("{name}.log"));
        command.stderr(File::create(&log).expect("files can be made"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary can be run");
        let out = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let line = out.lines().map_while(Result::ok).find(|line| line.contains("listens at"));
        assert!(line.is_some(), "{name} ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
        let line = line.unwrap_or_default();
        let url = line.rsplit(' ').next().expect("a line has an end").to_owned();
        Self { child, url, log }
    }

    pub(crate) fn send(&self, signal: Signal) {
        send_signal(&self.child.id().to_string(), signal);
    }

    /// Kills the process, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
    }

    /// Stops the process, which must not wait for the end of long-lived calls.
    fn stop(mut self) {
        let begin = Instant::now();
        self.send(Signal::TERM);
        assert!(self.child.wait().expect("it was started").success());
        assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(|| std::fs::read_to_string(&self.log).unwrap_or_default().contains(text).then_some(()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command(&DCP);
    command.args(args).env("DCP_TOKEN", TOKEN).stdin(Stdio::null());
    command
}

/// Runs a command with the token of the services.
pub(crate) fn run(sandbox: &Sandbox, args: &[&str]) -> CommandOutput {
    let output = command(sandbox, args).output().expect("the binary can be run");
    sandbox.capture(args, &output)
}

/// Starts a Gateway with the clusters of a project.
pub(crate) fn gateway(sandbox: &Sandbox, listen: &str) -> Server {
    let args = ["serve", "gateway", "--listen", listen, "--clusters", "clusters.yaml"];
    Server::start(sandbox, "gateway", &[&args[..], &["--database", "runs.db"]].concat())
}

/// A control plane and a Runner.
pub(crate) struct Services {
    _control: Server,
    pub(crate) runner: Server,
}

/// Starts a control plane and a Runner, makes them those of the project's commands, and applies the project.
pub(crate) fn services(sandbox: &Sandbox, gateway: &str) -> Services {
    let serve = ["serve", "control", "--listen", "127.0.0.1:0", "--database", "state.db"];
    let control = Server::start(sandbox, "control", &serve);
    let serve = ["serve", "runner", "--listen", "127.0.0.1:0", "--database", "runs.db"];
    let of = ["--control", &control.url, "--gateway", gateway];
    let runner = Server::start(sandbox, "runner", &[&serve[..], &of].concat());
    let target = format!("{{default: true, server: \"{}\", runner: \"{}\"}}", control.url, runner.url);
    sandbox
        .write("dcp.yaml", format!("project: shop\nmanifests: [manifests]\ntargets: {{test: {target}}}\n"));
    run(sandbox, &["apply", "--auto-approve"]).exits_with(0);
    Services { _control: control, runner }
}

/// Submits the applied job, and returns the id of its execution.
pub(crate) fn submit(sandbox: &Sandbox) -> String {
    run(sandbox, &["run", "sales/numbers"]).exits_with(0).stdout.trim().to_owned()
}

/// Waits until the description of an execution has a text. A call of a paused Gateway takes up to 30 seconds.
pub(crate) fn waits_for(sandbox: &Sandbox, id: &str, text: &str) {
    let deadline = Instant::now() + Duration::from_mins(3);
    loop {
        let execution = run(sandbox, &["runs", id]);
        if execution.stdout.contains(text) {
            return;
        }
        assert!(Instant::now() < deadline, "no `{text}` in:\n{}", execution.transcript());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Requests an execution to stop while its Gateway is paused, and wakes the Gateway once the request is stored.
pub(crate) fn cancel_before_waking(sandbox: &Sandbox, id: &str, gateway: &Server) {
    let mut cancel = command(sandbox, &["cancel", id]).spawn().expect("the binary can be run");
    waits_for(sandbox, id, "phase        CANCELLING");
    gateway.send(Signal::CONT);
    assert!(cancel.wait().expect("it was started").success());
}

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("dcp.yaml", "project: shop\nmanifests: [manifests]\n");
    sandbox.write("manifests/numbers.yaml", MANIFEST).write("clusters.yaml", CLUSTERS);
    sandbox.write_token(TOKEN);
    kubeconfig_of_nobody(sandbox.path());
    sandbox
}

/// Returns the JSON of `dcp clusters` once both clusters are known to be unreachable.
fn unreachable_clusters(sandbox: &Sandbox) -> Value {
    wait_until(|| {
        let report = run(sandbox, &["clusters", "--output", "json"]).exits_with(0).json();
        let clusters = report["clusters"].as_array().expect("it is a list").iter();
        (clusters.filter(|it| it["state"] == "unreachable").count() == 2).then_some(report)
    })
}

/// Replaces what differs between runs of a test.
fn redacted(text: &str, id: &str) -> String {
    let times = regex(text, "unreachable for ", ": ", "unreachable for [TIME]: ");
    let times = regex(&times, "unreachable since ", ": ", "unreachable since [TIME]: ");
    let lines = times.lines().map(|line| match line.split_once(" UTC  ") {
        Some((_, rest)) => format!("[TIME]  {rest}"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n").replace(id, "[ID]")
}

/// Replaces each text between two others, with both.
fn regex(text: &str, begin: &str, end: &str, by: &str) -> String {
    let mut parts = text.split(begin);
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once(end).map_or(part, |(_, rest)| rest));
    rest.fold(first, |text, rest| text + by + rest)
}

#[test]
fn clusters_are_listed_by_dcp_up_and_by_a_runner_with_a_gateway() {
    let sandbox = project();
    let without = run(&sandbox, &["clusters"]).exits_with(0);
    let up = Server::start(&sandbox, "up", &["up"]);
    let without_clusters = run(&sandbox, &["clusters"]).exits_with(0);
    drop(up);
    assert_snapshot!("clusters_none", format!("{}\n{}", without.transcript(), without_clusters.transcript()));

    let up = Server::start(&sandbox, "up", &["up", "--clusters", "clusters.yaml"]);
    let of_up = unreachable_clusters(&sandbox);
    drop(up);
    let gateway = gateway(&sandbox, "127.0.0.1:0");
    let _services = services(&sandbox, &gateway.url);
    let of_gateway = unreachable_clusters(&sandbox);
    for (index, name) in ["north", "spare"].into_iter().enumerate() {
        for report in [&of_up, &of_gateway] {
            assert_eq!(report["clusters"][index]["name"], name);
        }
        assert_eq!(of_up["clusters"][index]["tags"], of_gateway["clusters"][index]["tags"]);
    }
    let id = submit(&sandbox);
    waits_for(&sandbox, &id, "no cluster is suitable now: `north` has been unreachable since");
    let shown = [
        vec!["clusters"],
        vec!["clusters", "north"],
        vec!["clusters", "--routes"],
        vec!["clusters", "sout"],
        vec!["clusters", "nort"],
    ]
    .map(|args| run(&sandbox, &args).transcript());
    assert_snapshot!("clusters_shown", redacted(&shown.join("\n"), &id));
    let routes = run(&sandbox, &["clusters", "--output", "json"]).json()["routes"].clone();
    assert_eq!(routes.as_array().map(Vec::len), Some(1), "one for each application: {routes:#}");
    assert_eq!((&routes[0]["execution"], &routes[0]["cluster"]), (&Value::from(id), &Value::Null));
}

#[test]
fn a_runner_without_its_gateway_reports_it_and_its_executions_wait() {
    let sandbox = project();
    let address = dcp_tests::free_address();
    let services = services(&sandbox, &format!("http://{address}"));
    services.runner.wait_for_log("the Gateway can't be used, and executions wait for it: ");
    let id = submit(&sandbox);
    waits_for(&sandbox, &id, "can't be reached");
    waits_for(&sandbox, &id, "SUBMITTING");
    run(&sandbox, &["clusters"]).exits_with(1).prints("can't be reached");
    let gateway = gateway(&sandbox, &address);
    waits_for(&sandbox, &id, "no cluster is suitable now");
    // It continues after the Gateway was paused.
    gateway.send(Signal::STOP);
    cancel_before_waking(&sandbox, &id, &gateway);
    waits_for(&sandbox, &id, "phase        CANCELLED");
    gateway.stop();
}

#[test]
fn arguments_that_contradict_each_other_are_rejected() {
    let sandbox = project();
    let serve = |args: &[&str]| {
        run(&sandbox, &[&["serve", "runner", "--database", "runs.db"], args].concat()).transcript()
    };
    let found = [
        serve(&["--gateway", "http://127.0.0.1:7422", "--clusters", "clusters.yaml"]),
        serve(&["--gateway", "gateway.example.com"]),
        serve(&["--gateway", "http://gateway.example.com"]),
        run(&sandbox, &["serve", "gateway", "--database", "runs.db"]).transcript(),
    ];
    assert_snapshot!(found.join("\n"));
}

#[test]
fn connect_key_that_others_can_read_is_rejected() {
    let sandbox = project();
    sandbox.write("connect.key", "0a".repeat(32));
    std::fs::set_permissions(sandbox.join("connect.key"), Permissions::from_mode(0o644))
        .expect("the file belongs to this user");
    let gateway = ["serve", "gateway", "--clusters", "clusters.yaml"];
    for part in [&gateway[..], &["serve", "runner"]] {
        let args = ["--listen", "127.0.0.1:0", "--database", "runs.db", "--connect-key", "connect.key"];
        let rejected = run(&sandbox, &[part, &args].concat()).exits_with(1);
        rejected
            .prints("the Connect key `connect.key` has the owner")
            .prints("and the mode 644, and must be");
    }
}
