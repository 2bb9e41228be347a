//! Permissions of a project's files for other users of the machine.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dcp_tests::machine::{Machine, until};

use crate::harness::{DCP, Sandbox};

/// Returns all paths below a folder that others can read or enter, except the content of the folders for DAGs, runs and
/// results.
fn open(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let meta = path.symlink_metadata().expect("it can be looked at");
        if meta.mode() & 0o077 != 0 {
            found.push(path.clone());
        }
        if meta.is_dir() && !["dags", "runs", "results"].iter().any(|name| path == folder.join(name)) {
            let entries = path.read_dir().expect("it can be listed");
            left.extend(entries.map(|entry| entry.expect("it can be listed").path()));
        }
    }
    // The DAG folder itself may be open, because Airflow reads it.
    found.retain(|path| *path != folder.join("dags"));
    found
}

/// Runs `dcp` with the umask of most systems.
fn run(sandbox: &Sandbox, machine: &Machine, args: &[&str]) {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 022; exec \"$@\"", "sh"]).arg(&*DCP).args(args);
    command.current_dir(sandbox.path()).env("SPARK_HOME", machine.path("spark")).stdin(Stdio::null());
    let output = command.process_group(0).output().expect("the binary can be run");
    sandbox.ran(args, &output).ends_with(0);
}

#[test]
fn files_of_a_project_are_for_its_user_alone() {
    let (sandbox, machine) = (Sandbox::new(), Machine::of_version("4.1.1", "echo hello"));
    run(&sandbox, &machine, &["init", "--name", "shop", "--quiet"]);
    let dcp = sandbox.join(".dcp");
    assert_eq!(open(&dcp), [""; 0].map(PathBuf::from));
    for args in [
        &["plan", "--out", ".dcp/saved.json"][..],
        &["apply", "--auto-approve"],
        &["plan"],
        &["runs"],
        &["status"],
        &["history"],
        &["compile", "--out", "build"],
        &["doctor"],
    ] {
        run(&sandbox, &machine, args);
        assert_eq!(open(&dcp), [""; 0].map(PathBuf::from), "after {args:?}");
    }
    assert!(
        dcp.join("state.db").is_file() && dcp.join("runs.db").is_file() && dcp.join("saved.json").is_file()
    );
    // Airflow may run as another user, so others can read DAG files.
    let dag = dcp.join("dags").read_dir().expect("it is there").flatten().find(|it| it.path().is_file());
    assert_eq!(dag.expect("there is one").metadata().expect("it is there").mode() & 0o777, 0o644);

    // The next command makes files of an earlier version private.
    for (path, mode) in
        [("", 0o755), ("state.db", 0o644), ("runs.db", 0o644), ("cache", 0o755), ("locks", 0o755)]
    {
        let path = dcp.join(path);
        if path.exists() {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        }
    }
    run(&sandbox, &machine, &["runs"]);
    assert_eq!(open(&dcp), [""; 0].map(PathBuf::from));

    let mut command = Command::new("sh");
    command.args(["-c", "umask 022; exec \"$@\"", "sh"]).arg(&*DCP).args([
        "up",
        "--listen",
        "127.0.0.1:0",
        "--quiet",
    ]);
    command.current_dir(sandbox.path()).env("SPARK_HOME", machine.path("spark")).stdin(Stdio::null());
    let mut up = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be run");
    until(|| dcp.join("token").exists().then_some(()));
    until(|| dcp.join("up.sock").exists().then_some(()));
    until(|| open(&dcp).is_empty().then_some(()));
    let _ = up.kill();
    let _ = up.wait();
}
