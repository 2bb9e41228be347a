//! The first steps of a new user, and services, with a real Spark.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::streaming::kill_driver;
use super::{Process, UP};
use crate::harness::{CommandOutput, DCP, Sandbox};

fn command(sandbox: &Sandbox, args: &[&str]) -> std::process::Command {
    let mut command = sandbox.command(&DCP);
    command.args(args).env("SPARK_HOME", dcp_tests::spark_home()).stdin(std::process::Stdio::null());
    command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
    command
}

fn run(sandbox: &Sandbox, args: &[&str]) -> CommandOutput {
    sandbox.capture(args, &command(sandbox, args).output().expect("the binary can be run"))
}

#[test]
fn project_of_init_runs_without_changes() {
    let sandbox = Sandbox::initialized();
    let data = sandbox.join("data").display().to_string();
    sandbox.edit("dcp.yaml", "/tmp/shop", &data);
    let ran = run(&sandbox, &["run", "manifests/orders-daily.yaml"]).exits_with(0);
    let said = ran.stderr.split("dcp result ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let id = said.expect("the output names the result").to_owned();
    run(&sandbox, &["result", &id]).exits_with(0).prints("Aachen").prints("Bremen");
    run(&sandbox, &["apply", "--auto-approve"]).exits_with(0).prints("applied serial 1");
    let up = Process::start(command(&sandbox, &UP), "up", sandbox.join("up.log"));
    let first = sandbox.join("data/checkpoints/ticks-per-minute/commits/0");
    let deadline = Instant::now() + Duration::from_mins(3);
    while !first.exists() {
        let status = || run(&sandbox, &["status"]).transcript();
        assert!(Instant::now() < deadline, "the stream committed nothing:\n{}", status());
        std::thread::sleep(Duration::from_millis(200));
    }
    run(&sandbox, &["pause", "sales/ticks-per-minute", "--wait"]).exits_with(0);
    drop(up);
}

const CONNECT: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: connect, domain: platform, owner: o@example.com}
spec:
  engine: {version: \"4.1\"}
  job: {jar: {class: org.apache.spark.sql.connect.service.SparkConnectServer}}
  spark: {conf: {spark.connect.grpc.binding.address: 127.0.0.1, spark.connect.grpc.binding.port: PORT}}
  run: {service: {health: {stableAfter: 2s}, upgrade: {grace: 20s}}}
  retry: {attempts: 1}
  resources: {driver: {memory: 512m}, executors: {cores: 1, memory: 512m}}
";

/// Returns true if a gRPC server listens on a port: it begins each connection with a SETTINGS frame.
fn speaks_grpc(port: u16) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const SETTINGS: u8 = 4;
    let mut frame = [0; 9];
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok_and(|mut stream| {
        let sent =
            stream.set_read_timeout(Some(Duration::from_secs(5))).and_then(|()| stream.write_all(PREFACE));
        sent.and_then(|()| stream.read_exact(&mut frame)).is_ok() && frame[3] == SETTINGS
    })
}

#[test]
fn connect_server_restarts_after_a_kill() {
    let sandbox = Sandbox::new();
    let port = dcp_tests::free_port();
    sandbox
        .write("connect.yaml", CONNECT.replace("PORT", &port.to_string()))
        .write("dcp.yaml", "project: shop\nmanifests: [connect.yaml]\n");
    run(&sandbox, &["apply", "--auto-approve", "--quiet"]).exits_with(0);
    let up = Process::start(command(&sandbox, &UP), "up", sandbox.join("up.log"));
    let serves = |starts: u64| -> Value {
        let deadline = Instant::now() + Duration::from_mins(3);
        loop {
            let job = run(&sandbox, &["status", "--output", "json"]).exits_with(0).json()["jobs"][0].clone();
            let is_healthy = job["condition"] == "healthy" && job["state"]["starts"].as_u64() == Some(starts);
            if is_healthy && speaks_grpc(port) {
                return job;
            }
            let logs = || run(&sandbox, &["logs", "platform/connect"]).stdout;
            assert!(Instant::now() < deadline, "the service does not serve: {job:#}\n{}", logs());
            std::thread::sleep(Duration::from_millis(500));
        }
    };
    kill_driver(&serves(1));
    serves(2);
    run(&sandbox, &["status", "platform/connect"]).exits_with(0).prints("run 2 of revision 1 is started");
    sandbox.edit("connect.yaml", "memory: 512m}, exec", "memory: 600m}, exec");
    run(&sandbox, &["plan"]).exits_with(0).prints("restarts once; live: healthy");
    run(&sandbox, &["pause", "platform/connect", "--wait"]).exits_with(0).prints("is paused");
    assert!(!speaks_grpc(port), "the paused service still serves");
    drop(up);
}
