//! Pools on the command line: from the manifest to what is applied.

use std::process::Stdio;

use dcp_tests::connect::settings;
use dcp_tests::fake_spark::{FakeSpark, wait_until};
use tonic::Code;

use crate::continuous::{Process, UP};
use crate::harness::{CommandOutput, DCP, Sandbox};

const MANIFEST: &str = "\
apiVersion: dcp/v1
kind: Pool
metadata: {name: small, domain: logistics, owner: data@example.com}
spec:
  engine: {version: \"4.1\"}
  drivers: {minIdle: 1, max: 10}
";

struct Project(Sandbox);

impl Project {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("dcp.yaml", "project: shop\nmanifests: [small.yaml]\n").write("small.yaml", MANIFEST);
        Self(sandbox)
    }

    fn applied() -> Self {
        let project = Self::new();
        project.0.run(&["apply", "--auto-approve"]).exits_with(0);
        project
    }

    fn edited(from: &str, to: &str) -> Self {
        let project = Self::applied();
        project.0.edit("small.yaml", from, to);
        project
    }

    fn plan(&self) -> CommandOutput {
        self.0.run(&["plan"]).exits_with(0)
    }
}

#[test]
fn manifests_of_pools_are_counted_and_shown_in_the_graph() {
    let project = Project::new();
    project.0.run(&["validate"]).exits_with(0).prints("1 manifest is valid");
    project.0.run(&["graph"]).exits_with(0).prints("logistics/small").prints("pool");
    project.0.run(&["fmt", "--check"]).exits_with(0);
    project.plan().prints("a pool of Spark Connect drivers");
}

#[test]
fn plan_shows_the_cost_of_a_change() {
    let project = Project::edited("minIdle: 1", "minIdle: 2");
    project.plan().prints("logistics/small  UPDATE   no driver is replaced").prints("drivers.minIdle");
    let project = Project::edited("\"4.1\"", "\"4.2\"");
    project.plan().prints("logistics/small  REDEPLOY new sessions get new drivers");
}

#[test]
fn deletion_of_a_pool_needs_consent() {
    let project = Project::applied();
    project.0.run(&["destroy", "--auto-approve"]).exits_with(1).prints("all its sessions end");
    project.0.run(&["destroy", "--auto-approve", "--allow-delete", "logistics/small"]).exits_with(0);
    project.0.run(&["show", "logistics/small"]).exits_with(0).prints("Pool/logistics/small is not applied");
}

#[test]
fn applied_pool_is_shown_and_is_not_a_continuous_job() {
    let project = Project::applied();
    let shown = project.0.run(&["show", "Pool/logistics/small"]).exits_with(0);
    shown.prints("\"maxIdle\": 2").prints("\"job\": \"CoreEtlJob/logistics/small\"");
    assert!(!project.0.run(&["status"]).transcript().contains("logistics/small"));
    project.0.run(&["status", "--wait"]).exits_with(1).prints("no reconciler is running");
    project.0.run(&["drift"]).exits_with(0);
    project.0.run(&["history"]).exits_with(0).prints("1 create");
}

#[test]
fn run_of_a_pool_is_rejected_with_the_commands_for_sessions() {
    let project = Project::applied();
    for what in ["logistics/small", "small.yaml"] {
        let refused = project.0.run(&["run", what]).exits_with(1);
        refused.prints("`logistics/small` is a pool").prints("`dcp sql`").prints("`dcp connect`");
    }
}

#[test]
fn failing_pool_is_shown_with_its_cause_and_clients_get_it() {
    let script = "echo 'Exception in thread \"main\" java.lang.IllegalStateException: no route' >&2; exit 1";
    let (project, fake_spark) = (Project::new(), FakeSpark::with_version("4.1.1", script));
    let command = |args: &[&str]| {
        let mut command = project.0.command(&DCP);
        command.args(args).env("SPARK_HOME", fake_spark.path("spark")).env("DCP_USER", "ada");
        command.stdin(Stdio::null());
        command
    };
    let run =
        |args: &[&str]| project.0.capture(args, &command(args).output().expect("the binary can be run"));
    run(&["apply", "--auto-approve"]).exits_with(0);
    let up = Process::start(command(&UP), "up", project.0.join("up.log"));
    let pool =
        |args: &[&str]| run(&[args, &["--output", "json"]].concat()).exits_with(0).json()["pools"][0].clone();
    let failing = wait_until(|| Some(pool(&["pools"])).filter(|pool| pool["state"] == "failing"));
    let failure = &failing["failure"];
    assert!(failure["message"].as_str().is_some_and(|it| it.contains("no route")), "{failing}");
    let execution = failure["execution"].as_str().expect("the driver was submitted");
    run(&["logs", execution]).exits_with(0).prints("IllegalStateException");
    run(&["pools"]).exits_with(0).prints("logistics/small  failing").prints("no route").prints("dcp logs ");
    run(&["status"]).exits_with(0).prints("logistics/small  failing").prints("dcp logs ");
    assert_eq!(pool(&["status", "logistics/small"])["state"], "failing");
    run(&["status", "--wait"]).exits_with(1).prints("no route");
    project.0.edit("small.yaml", "minIdle: 1", "minIdle: 2");
    run(&["plan"]).exits_with(0).prints("no driver is replaced; live: failing");

    let token = std::fs::read_to_string(project.0.join(".dcp/token")).expect("`dcp up` has made it");
    let address = up.url.trim_start_matches("http://");
    let runtime = tokio::runtime::Runtime::new().expect("it starts");
    let error = runtime.block_on(settings(address, Some(token.trim()), &[])).expect_err("no driver runs");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("no route") && error.message().contains("dcp logs "), "{error:?}");

    // Nothing is to be ready.
    project.0.edit("small.yaml", "minIdle: 2", "minIdle: 0");
    run(&["apply", "--auto-approve"]).exits_with(0);
    run(&["status", "--wait"]).exits_with(0);
    assert_eq!(pool(&["pools"])["revision"], 2);
}

#[test]
fn servers_of_a_file_are_drivers_of_dcp_up_while_the_file_has_them() {
    let project = Project::new();
    let up = |arguments: &[&str]| {
        let mut command = project.0.command(&DCP);
        command.arg("up").args(arguments);
        command
    };
    let start = |arguments: &[&str]| Process::start(up(arguments), "up", project.0.join("up.log"));
    let pools = || {
        let pools = project.0.run(&["pools", "--output", "json"]).exits_with(0).json()["pools"].clone();
        let pools = pools.as_array().cloned().unwrap_or_default();
        pools.into_iter().map(|pool| format!("{} {}", pool["name"], pool["drivers"])).collect::<Vec<_>>()
    };
    let starting = |name: &str| format!("\"{name}\" {{\"draining\":0,\"ready\":0,\"starting\":1}}");
    let driver = "address: localhost:1, domain: sales, engine: \"4.1\"";
    project.0.write("drivers.yaml", "drivers: {one: {address: localhost:1}}\n");
    let refused = up(&["--drivers", "drivers.yaml"]).output().expect("the binary can be run");
    project.0.capture(&["up"], &refused).exits_with(1).prints("needs `domain`");
    project.0.write("drivers.yaml", format!("drivers: {{one: {{{driver}}}}}\n"));
    let process = start(&["--drivers", "drivers.yaml"]);
    assert_eq!(pools(), [starting("one")]);
    project.0.write("drivers.yaml", format!("drivers: {{two: {{{driver}}}}}\n"));
    wait_until(|| pools().contains(&starting("two")).then_some(()));
    drop(process);
    let _process = start(&[]);
    wait_until(|| (!pools().contains(&starting("two"))).then_some(()));
}
