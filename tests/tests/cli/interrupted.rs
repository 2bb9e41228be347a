//! Results and messages of an apply that is interrupted.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::harness::{DCP, Ran, Sandbox};
use crate::plane::{Plane, TOKEN};

const BATCH: &str = "manifests/orders-daily.yaml";
const DAG: &str = ".dcp/dags/logistics__orders-daily.py";
const APPLY: [&str; 4] = ["apply", "--target", "prod", "--auto-approve"];

fn run(sandbox: &Sandbox, args: &[&str]) -> Ran {
    let output = sandbox.command(&DCP).args(args).env("DCP_TOKEN", TOKEN).stdin(Stdio::null()).output();
    sandbox.ran(args, &output.expect("the binary can be run"))
}

/// Returns a project that was applied and then changed.
fn changed(plane: &Plane) -> Sandbox {
    let sandbox = plane.project();
    run(&sandbox, &APPLY).ends_with(0);
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    run(&sandbox, &["plan", "--target", "prod", "--out", "plan.json"]).ends_with(0);
    sandbox
}

/// Applies the plan, and sends a signal during a call to the control plane. The control plane replies once the apply
/// has ended or reports that it waits.
fn interrupted(plane: &Plane, sandbox: &Sandbox, call: &'static str, signal: &str) -> Ran {
    plane.hold(call);
    let args = ["apply", "plan.json", "--auto-approve"];
    let mut command = sandbox.command(&DCP);
    command.args(args).env("DCP_TOKEN", TOKEN).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
    plane.reached();
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.expect("kill can be run").success());
    let said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut stderr = Vec::new();
    for line in said.map(|line| line.expect("it is UTF-8")) {
        if line.contains("interrupted: waiting") {
            plane.let_go();
        }
        stderr.extend_from_slice(format!("{line}\n").as_bytes());
    }
    let mut output = child.wait_with_output().expect("it ends");
    // The server must notice that the client is gone before it replies.
    plane.abandoned();
    plane.let_go();
    output.stderr = stderr;
    sandbox.ran(&args, &output)
}

/// Checks that another apply completes the rest.
fn mended(sandbox: &Sandbox) {
    run(sandbox, &APPLY).ends_with(0);
    assert!(sandbox.read(DAG).contains("0 3 * * *"));
    run(sandbox, &["drift", "--target", "prod", "--detailed-exitcode"]).ends_with(0);
    run(sandbox, &APPLY).ends_with(0).says("nothing to do");
    let staged = std::fs::read_dir(sandbox.join(".dcp/dags/.dcp-staged"));
    assert_eq!(staged.map_or(0, Iterator::count), 0, "nothing staged is left");
}

#[test]
fn before_the_commit_nothing_was_applied() {
    for signal in ["-INT", "-TERM"] {
        let plane = Plane::start();
        let sandbox = changed(&plane);
        let ran = interrupted(&plane, &sandbox, "bodies", signal).ends_with(1);
        assert_eq!(ran.stderr, "error: interrupted: nothing was applied\n");
        assert!(sandbox.read(DAG).contains("0 2 * * *"));
        let history = run(&sandbox, &["history", "--target", "prod", "--output", "json"]).json();
        assert_eq!(history.as_array().map(Vec::len), Some(1), "{history}");
        mended(&sandbox);
    }
}

#[test]
fn after_the_commit_it_is_applied() {
    let plane = Plane::start();
    let sandbox = changed(&plane);
    let ran = interrupted(&plane, &sandbox, "published", "-INT").ends_with(1);
    let ran = ran.says("interrupted after the commit of serial 2: its DAG files may not be in place");
    ran.says("the next `dcp apply` puts them in place");
    run(&sandbox, &APPLY).ends_with(0).says("an earlier apply was interrupted: 1 DAG file put in place");
    mended(&sandbox);
}

#[test]
fn during_the_commit_its_end_is_waited_for() {
    let plane = Plane::start();
    let sandbox = changed(&plane);
    let ran = interrupted(&plane, &sandbox, "commit", "-INT").ends_with(1);
    ran.says("interrupted after the commit of serial 2");
    mended(&sandbox);
}
