//! The file of clusters of `dcp up`: its errors, and its changes while dcp runs. None of these clusters responds.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use dcp_tests::cluster::kubeconfig_of_nobody;
use dcp_tests::fake_spark::wait_until;
use insta::assert_snapshot;

use crate::harness::{DCP, Sandbox};

const FILE: &str = "clusters:\n  north:\n    kind: kubernetes\n    credentials: {kubeconfig: kubeconfig}\n";
const MANIFEST: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: numbers, domain: sales, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  job: {sql: {query: SELECT 1 AS one, returnResult: false}}
  run: {manual: {}}
";

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("dcp.yaml", "project: shop\nmanifests: [numbers.yaml]\n").write("numbers.yaml", MANIFEST);
    sandbox.write("clusters.yaml", FILE);
    kubeconfig_of_nobody(sandbox.path());
    sandbox
}

/// A running `dcp up`, killed on drop.
struct Up(Child);

impl Up {
    fn start(sandbox: &Sandbox) -> Self {
        let mut up = sandbox.command(&DCP);
        up.args(["up", "--clusters", "clusters.yaml"]).stdout(Stdio::piped());
        up.stderr(std::fs::File::create(sandbox.join("log")).expect("files can be made"));
        let mut up = up.spawn().expect("the program can be run");
        let out = up.stdout.take().expect("it is piped");
        let listens =
            BufReader::new(out).lines().map_while(Result::ok).any(|line| line.contains("listens at"));
        assert!(listens, "`dcp up` starts: {}", sandbox.read("log"));
        Self(up)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn errors_of_the_file_and_of_credentials_end_dcp_up() {
    let sandbox = project();
    let up = |file: &str| {
        sandbox.write("clusters.yaml", file);
        sandbox.run(&["up", "--clusters", "clusters.yaml"]).exits_with(1).stderr
    };
    let found = [
        up(&FILE.replace("credentials", "credential")),
        up(&FILE.replace(": kubeconfig}", ": absent}")),
        up(&FILE.replace(": kubeconfig}", ": kubeconfig, context: east}")),
        sandbox.run(&["up", "--clusters", "absent.yaml"]).exits_with(1).stderr,
    ];
    assert_snapshot!(found.join("\n"));
}

#[test]
fn changes_of_the_file_apply_and_a_file_with_errors_changes_nothing() {
    let sandbox = project();
    let _up = Up::start(&sandbox);
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    let id = sandbox.run(&["run", "sales/numbers"]).exits_with(0).stdout.trim().to_owned();
    let waits_for =
        |text: &str| wait_until(|| sandbox.run(&["runs", &id]).stdout.contains(text).then_some(()));
    waits_for("no cluster is suitable now: `north` has been unreachable since");

    sandbox.write("clusters.yaml", FILE.replace("    kind", "    weigth: 0\n    kind"));
    wait_until(|| sandbox.read("log").contains("and the old content stays in force: ").then_some(()));
    waits_for("`north` has been unreachable since");

    let spare = FILE
        .replace("clusters:\n", "")
        .replace("north", "spare")
        .replace("    kind", "    weight: 0\n    kind");
    sandbox.write("clusters.yaml", format!("{FILE}{spare}"));
    wait_until(|| sandbox.read("log").contains("`clusters.yaml` was read again").then_some(()));
    waits_for("; `spare` ");
}

#[test]
fn a_domain_never_gets_the_namespace_of_records() {
    let sandbox = project();
    sandbox.write("numbers.yaml", MANIFEST.replace("domain: sales", "domain: dcp"));
    let _up = Up::start(&sandbox);
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    let run = sandbox.run(&["run", "dcp/numbers"]).exits_with(1);
    run.prints("would have the namespace `dcp` on the cluster `north`");
}

#[test]
fn doctor_of_a_cluster_without_a_response_fails_and_prints_the_preparation() {
    let sandbox = project();
    let found = sandbox.run(&["doctor", "--cluster", "north", "--domain", "sales"]).exits_with(1);
    found
        .prints("cluster `north` of `[DIR]/clusters.yaml`: records in `dcp`, applications in `{domain}`")
        .prints("✗ API server does not respond: ")
        .prints("jobs can't be run on it yet");
    let south = sandbox.run(&["doctor", "--cluster", "south"]).exits_with(2);
    south.prints("has no cluster `south`").prints("it has north");
    let manifest = ["doctor", "--cluster", "north", "--clusters", "clusters.yaml", "--manifest"];
    let manifest = sandbox.run(&[&manifest[..], &["--domain", "sales"]].concat()).exits_with(0);
    let namespaces = manifest.stdout.matches("kind: Namespace\n").count();
    assert_eq!((namespaces, manifest.stderr.as_str()), (2, ""), "{}", manifest.stdout);
    sandbox
        .run(&["doctor", "--cluster", "north", "--domain", "dcp"])
        .exits_with(2)
        .prints("is not for applications");
}

#[test]
fn up_with_a_cluster_that_does_not_respond_ends() {
    let sandbox = project();
    let up = sandbox.run(&["up", "--cluster", "north"]).exits_with(1);
    up.prints("the API server of the cluster `north` does not respond: ")
        .prints("dcp doctor --cluster north");
    std::fs::remove_file(sandbox.join("clusters.yaml")).expect("the file exists");
    let with_kubeconfig = |args: &[&str]| {
        let mut command = sandbox.command(&DCP);
        let output = command.args(args).env("KUBECONFIG", sandbox.join("kubeconfig")).output();
        sandbox.capture(args, &output.expect("the binary can be run"))
    };
    let up = with_kubeconfig(&["up", "--cluster", "c"]).exits_with(1);
    up.prints("the API server of the cluster `c` does not respond: ");
    let absent = with_kubeconfig(&["doctor", "--cluster", "d"]).exits_with(1);
    absent.prints("it has no context `d`; it has c").prints("name the file with `--clusters FILE`");
    let long = with_kubeconfig(&["doctor", "--cluster", "arn:aws:eks/main"]).exits_with(2);
    long.prints("can't be the name of a cluster").prints("context: \"arn:aws:eks/main\"");
}
