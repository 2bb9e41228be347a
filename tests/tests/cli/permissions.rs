//! Permissions of a project's files for other users of the machine.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dcp_tests::fake_spark::{FakeSpark, wait_until};

use crate::harness::{DCP, Sandbox};

/// Returns all paths below a folder that others can read or enter, except the content of the folders for DAGs, runs and
/// results.
fn accessible_to_others(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let meta = path.symlink_metadata().expect("the file has metadata");
        if meta.mode() & 0o077 != 0 {
            found.push(path.clone());
        }
        if meta.is_dir() && !["dags", "runs", "results"].iter().any(|name| path == folder.join(name)) {
            let entries = path.read_dir().expect("the folder can be listed");
            left.extend(entries.map(|entry| entry.expect("the folder can be listed").path()));
        }
    }
    // The DAG folder itself may be open, because Airflow reads it.
    found.retain(|path| *path != folder.join("dags"));
    found
}

/// Returns a call of `dcp` with the umask of most systems.
fn command(sandbox: &Sandbox, fake_spark: &FakeSpark, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 022; exec \"$@\"", "sh"]).arg(&*DCP).args(args);
    command.current_dir(sandbox.path()).env("SPARK_HOME", fake_spark.path("spark")).stdin(Stdio::null());
    command
}

/// Runs a command that succeeds.
fn run(sandbox: &Sandbox, fake_spark: &FakeSpark, args: &[&str]) {
    let mut command = command(sandbox, fake_spark, args);
    let output = command.process_group(0).output().expect("the binary can be run");
    sandbox.capture(args, &output).exits_with(0);
}

#[test]
fn files_of_a_project_are_private_to_its_user() {
    let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", "echo hello"));
    run(&sandbox, &fake_spark, &["init", "--name", "shop", "--quiet"]);
    let dcp = sandbox.join(".dcp");
    assert_eq!(accessible_to_others(&dcp), [""; 0].map(PathBuf::from));
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
        run(&sandbox, &fake_spark, args);
        assert_eq!(accessible_to_others(&dcp), [""; 0].map(PathBuf::from), "after {args:?}");
    }
    assert!(
        dcp.join("state.db").is_file() && dcp.join("runs.db").is_file() && dcp.join("saved.json").is_file()
    );
    // Airflow may run as another user, so others can read DAG files.
    let dag = dcp.join("dags").read_dir().expect("the file exists").flatten().find(|it| it.path().is_file());
    assert_eq!(dag.expect("the folder has a DAG").metadata().expect("the file exists").mode() & 0o777, 0o644);

    open_to_others(&dcp);
    run(&sandbox, &fake_spark, &["runs"]);
    assert_eq!(accessible_to_others(&dcp), [""; 0].map(PathBuf::from), "the next command makes them private");

    let mut up = command(&sandbox, &fake_spark, &["up", "--listen", "127.0.0.1:0", "--quiet"]);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program can be run");
    wait_until(|| dcp.join("token").exists().then_some(()));
    wait_until(|| dcp.join("up.sock").exists().then_some(()));
    wait_until(|| accessible_to_others(&dcp).is_empty().then_some(()));
    let _ = up.kill();
    let _ = up.wait();
}

/// Gives files of a project the permissions that an earlier version gave them.
fn open_to_others(dcp: &Path) {
    for (path, mode) in
        [("", 0o755), ("state.db", 0o644), ("runs.db", 0o644), ("cache", 0o755), ("locks", 0o755)]
    {
        let path = dcp.join(path);
        if path.exists() {
            std::fs::set_permissions(&path, Permissions::from_mode(mode))
                .expect("the file belongs to this user");
        }
    }
}
