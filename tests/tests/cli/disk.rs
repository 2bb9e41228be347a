//! Errors of writing: the message names the path and the remedy, and nothing of the plan is applied.

use std::process::{Command, Stdio};

use crate::harness::{CommandOutput, DCP, Sandbox};

const BATCH: &str = "manifests/orders-daily.yaml";
const APPLY: [&str; 2] = ["apply", "--auto-approve"];

/// Runs a process that can't write more than `bytes` to a file, as if the disk were full.
fn run_with_file_size_limit(sandbox: &Sandbox, bytes: u32, args: &[&str]) -> CommandOutput {
    let limit = format!(
        "import os, resource, signal, sys\n\
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n\
        resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, {bytes}))\n\
        os.execv(sys.argv[1], sys.argv[1:])"
    );
    let mut command = sandbox.command("python3".as_ref());
    command.args(["-c", &limit]).arg(&*DCP).args(args).stdin(Stdio::null());
    sandbox.capture(args, &command.output().expect("python3 can be run"))
}

/// Runs a script in which `.dcp` is a separate disk.
fn on_a_small_disk(sandbox: &Sandbox, script: &str) -> CommandOutput {
    let space = ["--user", "--map-root-user", "--mount"];
    let mount = "mkdir -p .dcp && mount -t tmpfs -o size=1m tmpfs .dcp";
    let probe = sandbox.command("unshare".as_ref()).args(space).args(["sh", "-c", mount]).output();
    let able = probe.is_ok_and(|probe| probe.status.success());
    assert!(
        able,
        "this test mounts a disk in a namespace of its own: let users have them, or run it as root"
    );
    let script = format!("set -e; {mount}\ndcp() {{ '{}' \"$@\"; }}\n{script}", DCP.display());
    let ran =
        Command::new("unshare").args(space).args(["sh", "-c", &script]).current_dir(sandbox.path()).output();
    sandbox.capture(&["(a script)"], &ran.expect("unshare can be run"))
}

#[test]
fn full_disk_stops_apply_until_space_is_freed() {
    let sandbox = Sandbox::quickstart();
    let script = "
        dcp apply --auto-approve --quiet
        sed -i 's/0 2 /0 3 /' manifests/orders-daily.yaml
        head -c 2m /dev/zero > .dcp/filler 2> /dev/null || true
        dcp apply --auto-approve --quiet && exit 9
        grep -q '0 2 ' .dcp/dags/logistics__orders-daily.py
        rm .dcp/filler
        dcp history
        dcp apply --auto-approve
        dcp drift --detailed-exitcode";
    let ran = on_a_small_disk(&sandbox, script);
    let ran = ran.exits_with(0).prints("applied serial 2").prints("the DAG folder is as applied");
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.transcript());
    let is_reported = ["make room", "has room", "free some space"].iter().any(|it| ran.stderr.contains(it));
    assert!(is_reported && ran.stderr.contains(".dcp/"), "{}", ran.transcript());
}

#[test]
fn read_only_disk_is_reported() {
    let sandbox = Sandbox::quickstart();
    let script = "
        dcp apply --auto-approve --quiet
        sed -i 's/0 2 /0 3 /' manifests/orders-daily.yaml
        mount -o remount,ro .dcp
        dcp apply --auto-approve && exit 9
        grep -q '0 2 ' .dcp/dags/logistics__orders-daily.py";
    let ran = on_a_small_disk(&sandbox, script);
    // SQLite may be unable to read the state, depending on the files beside it. Otherwise, staging the DAG files fails.
    let ran = ran.exits_with(0);
    let messages = ["state.db` can't be opened or written", "the file system is read-only"];
    assert!(
        messages.iter().any(|it| ran.stderr.contains(it)) && ran.stderr.contains(".dcp/"),
        "{}",
        ran.transcript()
    );
}

#[test]
fn failed_write_applies_nothing() {
    let sandbox = Sandbox::quickstart();
    for bytes in [0, 4096, 40_000] {
        run_with_file_size_limit(&sandbox, bytes, &APPLY)
            .exits_with(1)
            .prints("[DIR]/.dcp/state.db` can't be");
        assert!(!sandbox.join(".dcp/dags/logistics__orders-daily.py").exists());
    }
    sandbox.run(&APPLY).exits_with(0).prints("applied serial 1");
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    run_with_file_size_limit(&sandbox, 0, &APPLY).exits_with(1).prints("[DIR]/.dcp/state.db` can't be");
    assert!(sandbox.read(".dcp/dags/logistics__orders-daily.py").contains("0 2 * * *"));
    sandbox.run(&APPLY).exits_with(0).prints("applied serial 2");
    sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(0);
}

#[test]
fn file_in_place_of_a_folder_is_not_changed() {
    let sandbox = Sandbox::quickstart();
    sandbox.write(".dcp", "mine");
    for args in [&["plan"][..], &APPLY, &["history"]] {
        sandbox.run(args).exits_with(1).prints("`.dcp` is a file").prints("move it away");
    }
    assert_eq!(sandbox.read(".dcp"), "mine");
    std::fs::remove_file(sandbox.join(".dcp")).expect("the file exists");
    sandbox.write("dags", "mine").edit("dcp.yaml", "project: quickstart", "project: quickstart\ndags: dags");
    sandbox.run(&APPLY).exits_with(1).prints("`dags` can't be").prints("it is a file, and not a folder");
    assert_eq!(sandbox.read("dags"), "mine");
    sandbox.run(&["history"]).exits_with(0).prints("nothing was ever applied");
}

#[test]
fn full_disk_stops_runs_until_space_is_freed() {
    let fake_spark = dcp_tests::fake_spark::FakeSpark::with_version("4.1.1", "echo started >> starts");
    let sandbox = Sandbox::new();
    let manifest = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: a, domain: b, owner: c@example.com}\nspec:\n  \
        engine: {version: \"4.1\"}\n  run: {manual: {}}\n  job: {pyspark: {main: main.py}}\n";
    sandbox.write("a.yaml", manifest).write("main.py", "").write("dcp.yaml", "project: a\n");
    let script = format!(
        "export SPARK_HOME={}
        dcp run a.yaml --token one
        dd if=/dev/zero of=.dcp/fill bs=4k 2> /dev/null || true
        dcp run a.yaml --token two && exit 9
        rm .dcp/fill
        dcp run a.yaml --token two
        dcp runs",
        fake_spark.path("spark").display()
    );
    let ran = on_a_small_disk(&sandbox, &script).exits_with(0);
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.transcript());
    assert!(ran.stderr.contains(".dcp/") && ran.stderr.contains("room"), "{}", ran.transcript());
    assert_eq!(ran.stdout.matches("SUCCEEDED").count(), 2, "{}", ran.transcript());
    assert_eq!(fake_spark.lines("starts").len(), 2);
}
