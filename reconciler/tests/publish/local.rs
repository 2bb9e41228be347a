//! Properties of folders on disk alone.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use crate::fixture::{child_folder, files, open, rerun, wait};

#[test]
fn files_can_be_read_by_airflow_whatever_the_umask_is() {
    if let Some(folder) = child_folder() {
        let dags = dcp_reconciler::publish::DagFolder::open("dags", &folder).expect("it can be opened");
        return wait(dags.put(&files(2, "x"))).expect("they can be written");
    }
    let all = tempfile::tempdir().expect("a folder can be made");
    let wrapper = ["sh", "-c", "umask 077; exec \"$0\" \"$@\""];
    let test = "local::files_can_be_read_by_airflow_whatever_the_umask_is";
    let done = rerun(test, &wrapper, all.path()).status().expect("a shell can be run");
    assert!(done.success());
    let mode = |path: &str| {
        std::fs::metadata(all.path().join(path)).expect("it was written").permissions().mode() & 0o7777
    };
    assert_eq!([mode("dags/dag-0.py"), mode("dags/dag-1.py"), mode("dags")], [0o644, 0o644, 0o755]);
}

#[test]
fn a_dag_file_is_replaced_and_never_written_to() {
    let all = tempfile::tempdir().expect("a folder can be made");
    let folder = open(all.path());
    let number = || std::fs::metadata(all.path().join("dag-0.py")).expect("it was written").ino();
    wait(folder.put(&files(1, "old"))).expect("it can be written");
    let reader = std::fs::File::open(all.path().join("dag-0.py")).expect("it can be opened");
    let before = number();
    wait(folder.put(&files(1, "new"))).expect("it can be written");
    assert_ne!(before, number());
    let read = std::io::read_to_string(reader).expect("it is still there for who has it open");
    assert_eq!(read, files(1, "old")[0].content);
}

#[test]
fn files_staged_by_a_running_apply_are_not_removed_by_another() {
    let all = tempfile::tempdir().expect("a folder can be made");
    let (mine, others) = (open(all.path()), open(all.path()));
    wait(mine.stage("1", &files(2, "x"))).expect("they can be staged");
    assert_eq!(wait(others.leftovers()), Ok(Vec::new()));
    wait(others.clean()).expect("it can be cleaned");
    wait(mine.switch("1", &files(2, "x"))).expect("they are still staged");
    wait(mine.stage("2", &files(1, "y"))).expect("it can be staged");
    drop(mine);
    assert_eq!(wait(others.leftovers()), Ok(vec!["2".to_owned()]));
    wait(others.clean()).expect("it can be cleaned");
    assert_eq!(wait(others.leftovers()), Ok(Vec::new()));
}

/// The bound is far above the expected time, and far below the time of one disk flush per file.
#[test]
fn thousands_of_files_take_seconds() {
    let all = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let folder = open(all.path());
    let many = files(6000, &"x".repeat(2000));
    let start = Instant::now();
    wait(folder.stage("1", &many)).expect("they can be staged");
    let staged = start.elapsed();
    wait(folder.switch("1", &many)).expect("they are staged");
    let both = start.elapsed();
    if let Some(told) = std::env::var_os("DCP_TEST_TIMES") {
        std::fs::write(told, format!("staged {staged:?}, both {both:?}\n")).expect("it can be written");
    }
    assert_eq!(wait(folder.list()).map(|listed| listed.len()), Ok(many.len()));
    assert!(both < Duration::from_mins(1), "{both:?}");
}
