//! What a newcomer does first, with a real Spark.

use std::time::{Duration, Instant};

use super::{Process, UP};
use crate::harness::{DCP, Ran, Sandbox};

fn command(sandbox: &Sandbox, args: &[&str]) -> std::process::Command {
    let mut command = sandbox.command(&DCP);
    command.args(args).env("SPARK_HOME", dcp_tests::spark_home()).stdin(std::process::Stdio::null());
    command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
    command
}

fn run(sandbox: &Sandbox, args: &[&str]) -> Ran {
    sandbox.ran(args, &command(sandbox, args).output().expect("the binary can be run"))
}

#[test]
fn the_project_of_init_runs_at_once_on_this_machine() {
    let sandbox = Sandbox::initialized();
    let data = sandbox.join("data").display().to_string();
    sandbox.edit("dcp.yaml", "/tmp/shop", &data);
    let ran = run(&sandbox, &["run", "manifests/orders-daily.yaml"]).ends_with(0);
    let said = ran.stderr.split("dcp result ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let id = said.expect("it says where its rows are").to_owned();
    run(&sandbox, &["result", &id]).ends_with(0).says("Aachen").says("Bremen");
    run(&sandbox, &["apply", "--auto-approve"]).ends_with(0).says("applied serial 1");
    let up = Process::start(command(&sandbox, &UP), "up", sandbox.join("up.log"));
    let first = sandbox.join("data/checkpoints/ticks-per-minute/commits/0");
    let deadline = Instant::now() + Duration::from_mins(3);
    while !first.exists() {
        let status = || run(&sandbox, &["status"]).shown();
        assert!(Instant::now() < deadline, "the stream committed nothing:\n{}", status());
        std::thread::sleep(Duration::from_millis(200));
    }
    run(&sandbox, &["pause", "sales/ticks-per-minute", "--wait"]).ends_with(0);
    drop(up);
}
