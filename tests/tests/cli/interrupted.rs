//! Results and messages of an apply that is interrupted.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::control_plane::{ControlPlane, TOKEN};
use crate::harness::{CommandOutput, DCP, Sandbox};

const BATCH: &str = "manifests/orders-daily.yaml";
const DAG: &str = ".dcp/dags/logistics__orders-daily.py";
const APPLY: [&str; 4] = ["apply", "--target", "prod", "--auto-approve"];

fn run(sandbox: &Sandbox, args: &[&str]) -> CommandOutput {
    let output = sandbox.command(&DCP).args(args).env("DCP_TOKEN", TOKEN).stdin(Stdio::null()).output();
    sandbox.capture(args, &output.expect("the binary can be run"))
}

/// Returns a project that was applied and then changed.
fn changed_project(control_plane: &ControlPlane) -> Sandbox {
    let sandbox = control_plane.project();
    run(&sandbox, &APPLY).exits_with(0);
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    run(&sandbox, &["plan", "--target", "prod", "--out", "plan.json"]).exits_with(0);
    sandbox
}

/// Applies the plan, and sends a signal during a call to the control plane. The control plane replies once the apply
/// has ended or reports that it waits.
fn apply_with_interrupt(
    control_plane: &ControlPlane,
    sandbox: &Sandbox,
    call: &'static str,
    signal: &str,
) -> CommandOutput {
    control_plane.delay_next(call);
    let args = ["apply", "plan.json", "--auto-approve"];
    let mut command = sandbox.command(&DCP);
    command.args(args).env("DCP_TOKEN", TOKEN).stdin(Stdio::null());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be run");
    control_plane.wait_until_delayed();
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.expect("kill can be run").success());
    let lines = BufReader::new(child.stderr.take().expect("the stream is piped")).lines();
    let mut stderr = Vec::new();
    for line in lines.map(|line| line.expect("the text is UTF-8")) {
        if line.contains("interrupted: waiting") {
            control_plane.release();
        }
        stderr.extend_from_slice(format!("{line}\n").as_bytes());
    }
    let mut output = child.wait_with_output().expect("the process or thread ends");
    // The server must notice that the client is gone before it replies.
    control_plane.wait_until_none_is_delayed();
    control_plane.release();
    output.stderr = stderr;
    sandbox.capture(&args, &output)
}

/// Checks that another apply completes the rest.
fn assert_next_apply_completes(sandbox: &Sandbox) {
    run(sandbox, &APPLY).exits_with(0);
    assert!(sandbox.read(DAG).contains("0 3 * * *"));
    run(sandbox, &["drift", "--target", "prod", "--detailed-exitcode"]).exits_with(0);
    run(sandbox, &APPLY).exits_with(0).prints("nothing to do");
    let staged = std::fs::read_dir(sandbox.join(".dcp/dags/.dcp-staged"));
    assert_eq!(staged.map_or(0, Iterator::count), 0, "staged files are removed");
}

#[test]
fn interrupt_before_the_commit_applies_nothing() {
    for signal in ["-INT", "-TERM"] {
        let control_plane = ControlPlane::start();
        let sandbox = changed_project(&control_plane);
        let ran = apply_with_interrupt(&control_plane, &sandbox, "bodies", signal).exits_with(1);
        assert_eq!(ran.stderr, "error: interrupted: nothing was applied\n");
        assert!(sandbox.read(DAG).contains("0 2 * * *"));
        let history = run(&sandbox, &["history", "--target", "prod", "--output", "json"]).json();
        assert_eq!(history.as_array().map(Vec::len), Some(1), "{history}");
        assert_next_apply_completes(&sandbox);
    }
}

#[test]
fn interrupt_after_the_commit_leaves_it_applied() {
    let control_plane = ControlPlane::start();
    let sandbox = changed_project(&control_plane);
    let ran = apply_with_interrupt(&control_plane, &sandbox, "published", "-INT").exits_with(1);
    let ran = ran.prints("interrupted after the commit of serial 2: its DAG files may not be in place");
    ran.prints("the next `dcp apply` puts them in place");
    run(&sandbox, &APPLY).exits_with(0).prints("an earlier apply was interrupted: 1 DAG file put in place");
    assert_next_apply_completes(&sandbox);
}

#[test]
fn interrupt_during_the_commit_waits_for_its_result() {
    let control_plane = ControlPlane::start();
    let sandbox = changed_project(&control_plane);
    let ran = apply_with_interrupt(&control_plane, &sandbox, "commit", "-INT").exits_with(1);
    ran.prints("interrupted after the commit of serial 2");
    assert_next_apply_completes(&sandbox);
}
