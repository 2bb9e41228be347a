//! Errors of writing: the message names the path and the remedy, and nothing of the plan is applied.

use std::process::{Command, Stdio};

use crate::harness::{DCP, Ran, Sandbox};

const BATCH: &str = "manifests/orders-daily.yaml";
const APPLY: [&str; 2] = ["apply", "--auto-approve"];

/// Runs a process that can't write more than `bytes` to a file, as if the disk were full.
fn limited(sandbox: &Sandbox, bytes: u32, args: &[&str]) -> Ran {
    let limit = format!(
        "import os, resource, signal, sys\n\
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n\
        resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, {bytes}))\n\
        os.execv(sys.argv[1], sys.argv[1:])"
    );
    let mut command = sandbox.command("python3".as_ref());
    command.args(["-c", &limit]).arg(&*DCP).args(args).stdin(Stdio::null());
    sandbox.ran(args, &command.output().expect("python3 is there"))
}

/// Runs a script in which `.dcp` is a separate disk.
fn on_a_small_disk(sandbox: &Sandbox, script: &str) -> Ran {
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
    sandbox.ran(&["(a script)"], &ran.expect("it was there a moment ago"))
}

#[test]
fn a_full_disk_applies_nothing_until_there_is_room() {
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
    let ran = ran.ends_with(0).says("applied serial 2").says("the DAG folder is as applied");
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.shown());
    let said = ["make room", "has room", "free some space"].iter().any(|said| ran.stderr.contains(said));
    assert!(said && ran.stderr.contains(".dcp/"), "{}", ran.shown());
}

#[test]
fn a_disk_that_is_read_only_is_said_to_be() {
    let sandbox = Sandbox::quickstart();
    let script = "
        dcp apply --auto-approve --quiet
        sed -i 's/0 2 /0 3 /' manifests/orders-daily.yaml
        mount -o remount,ro .dcp
        dcp apply --auto-approve && exit 9
        grep -q '0 2 ' .dcp/dags/logistics__orders-daily.py";
    let ran = on_a_small_disk(&sandbox, script);
    // SQLite may be unable to read the state, depending on the files beside it. Otherwise, staging the DAG files fails.
    let ran = ran.ends_with(0);
    let said = ["state.db` can't be opened or written", "the file system is read-only"];
    assert!(
        said.iter().any(|said| ran.stderr.contains(said)) && ran.stderr.contains(".dcp/"),
        "{}",
        ran.shown()
    );
}

#[test]
fn a_write_that_fails_applies_nothing() {
    let sandbox = Sandbox::quickstart();
    for bytes in [0, 4096, 40_000] {
        limited(&sandbox, bytes, &APPLY).ends_with(1).says("[DIR]/.dcp/state.db` can't be");
        assert!(!sandbox.join(".dcp/dags/logistics__orders-daily.py").exists());
    }
    sandbox.run(&APPLY).ends_with(0).says("applied serial 1");
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    limited(&sandbox, 0, &APPLY).ends_with(1).says("[DIR]/.dcp/state.db` can't be");
    assert!(sandbox.read(".dcp/dags/logistics__orders-daily.py").contains("0 2 * * *"));
    sandbox.run(&APPLY).ends_with(0).says("applied serial 2");
    sandbox.run(&["drift", "--detailed-exitcode"]).ends_with(0);
}

#[test]
fn a_file_in_the_place_of_a_folder_is_not_touched() {
    let sandbox = Sandbox::quickstart();
    sandbox.write(".dcp", "mine");
    for args in [&["plan"][..], &APPLY, &["history"]] {
        sandbox.run(args).ends_with(1).says("`.dcp` is a file").says("move it away");
    }
    assert_eq!(sandbox.read(".dcp"), "mine");
    std::fs::remove_file(sandbox.join(".dcp")).expect("it is there");
    sandbox.write("dags", "mine").edit("dcp.yaml", "project: quickstart", "project: quickstart\ndags: dags");
    sandbox.run(&APPLY).ends_with(1).says("`dags` can't be").says("it is a file, and not a folder");
    assert_eq!(sandbox.read("dags"), "mine");
    sandbox.run(&["history"]).ends_with(0).says("nothing was ever applied");
}

#[test]
fn a_full_disk_runs_nothing_until_there_is_room() {
    let machine = dcp_tests::machine::Machine::of_version("4.1.1", "echo started >> starts");
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
        machine.path("spark").display()
    );
    let ran = on_a_small_disk(&sandbox, &script).ends_with(0);
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.shown());
    assert!(ran.stderr.contains(".dcp/") && ran.stderr.contains("room"), "{}", ran.shown());
    assert_eq!(ran.stdout.matches("SUCCEEDED").count(), 2, "{}", ran.shown());
    assert_eq!(machine.lines("starts").len(), 2);
}
