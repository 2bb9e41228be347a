//! Errors of folders on disk: missing permissions, full disks, links and unexpected files.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use dcp_reconciler::publish::{Cause, Error, Operation};
use tempfile::TempDir;

use crate::fixture::{child_folder, files, open, rerun, wait};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

#[track_caller]
fn assert_success(mut command: Command) {
    let output = command.output().expect("setpriv and unshare, of util-linux, are there to test this");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", output.status);
}

#[track_caller]
fn assert_fails(done: Result<(), Error>, place: &Path, expected: &Cause) {
    match done {
        Err(Error::Failed { location: told, cause, .. }) if cause == *expected => {
            assert!(Path::new(&told).starts_with(place), "{told}");
        }
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn links_are_not_followed() {
    let (all, elsewhere) = (folder(), folder());
    let target = elsewhere.path().join("dag-0.py");
    let ours = files(1, "old").remove(0).content;
    std::fs::write(&target, &ours).expect("it can be written");
    let dags = open(all.path());
    for to in [target.as_path(), Path::new("/none.py")] {
        let link = all.path().join("dag-0.py");
        symlink(to, &link).expect("a link can be made");
        for refused in [
            wait(dags.put(&files(1, "new"))),
            wait(dags.stage("1", &files(1, "new"))),
            wait(dags.remove(&["dag-0.py".to_owned()])),
            wait(dags.read("dag-0.py")).map(drop),
        ] {
            assert!(matches!(refused, Err(Error::ForeignFiles(_))), "{refused:?}");
        }
        assert_eq!(wait(dags.list()), Ok(Vec::new()));
        std::fs::remove_file(link).expect("it exists");
    }
    symlink(elsewhere.path(), all.path().join(".dcp-staged")).expect("a link can be made");
    for done in [wait(dags.put(&files(1, "new"))), wait(dags.discard("1")), wait(dags.leftovers()).map(drop)]
    {
        assert_fails(done, &all.path().join(".dcp-staged"), &Cause::NotAFolder);
    }
    assert_eq!(std::fs::read_to_string(target).ok(), Some(ours));
    assert_eq!(std::fs::read_dir(elsewhere.path()).expect("it exists").count(), 1);
}

#[test]
fn a_folder_or_a_pipe_is_no_dag_file() {
    let all = folder();
    std::fs::create_dir(all.path().join("dag-0.py")).expect("a folder can be made");
    let made = Command::new("mkfifo").arg(all.path().join("dag-1.py")).status();
    assert!(made.expect("mkfifo can be run").success());
    let refused = wait(open(all.path()).put(&files(2, "new")));
    assert!(matches!(&refused, Err(Error::ForeignFiles(places)) if places.len() == 2), "{refused:?}");
}

#[test]
fn a_file_in_place_of_a_folder_is_reported() {
    let all = folder();
    let place = all.path().join("dags");
    std::fs::write(&place, "x").expect("it can be written");
    for done in [
        wait(open(&place).put(&files(1, "x"))),
        wait(open(&place).list()).map(drop),
        wait(open(&place).discard("1")),
        wait(open(&place.join("below")).put(&files(1, "x"))),
    ] {
        assert_fails(done, &place, &Cause::NotAFolder);
    }
}

/// Capabilities by which root ignores file permissions. `setpriv` drops them.
const PRIVILEGES: &str = "-dac_override,-dac_read_search";

#[test]
fn missing_permission_is_reported_and_nothing_is_changed() {
    const TEST: &str = "disk_errors::missing_permission_is_reported_and_nothing_is_changed";
    if let Some(place) = child_folder() {
        let denied = Cause::Denied(String::new());
        let dags = open(&place);
        assert_fails(wait(dags.stage("1", &files(1, "new"))), &place, &denied);
        assert_fails(wait(dags.put(&files(1, "new"))), &place, &denied);
        assert_fails(wait(dags.remove(&["dag-0.py".to_owned()])), &place, &denied);
        assert_fails(wait(dags.discard("0")), &place, &denied);
        return;
    }
    let all = folder();
    let dags = open(all.path());
    wait(dags.put(&files(1, "old"))).expect("it can be written");
    wait(dags.stage("0", &files(1, "new"))).expect("it can be staged");
    let mode = |path: &str, mode| {
        let done = std::fs::set_permissions(all.path().join(path), std::fs::Permissions::from_mode(mode));
        done.expect("the file belongs to this user");
    };
    for path in [".dcp-staged/0", ".dcp-staged", ""] {
        mode(path, 0o555);
    }
    let root = std::fs::write(all.path().join("probe"), "").is_ok();
    let _ = std::fs::remove_file(all.path().join("probe"));
    let wrapper = ["setpriv", "--bounding-set", PRIVILEGES, "--inh-caps", PRIVILEGES];
    assert_success(rerun(TEST, if root { &wrapper } else { &[] }, all.path()));
    for path in ["", ".dcp-staged", ".dcp-staged/0"] {
        mode(path, 0o755);
    }
    wait(dags.switch("0", &files(1, "new"))).expect("it is still staged");
}

/// Runs a test again with a separate file system mounted on the folder, visible only to that process.
fn mounted(test: &str, options: &str, place: &Path) {
    let mount = format!("mount -t tmpfs -o {options} tmpfs '{}' && exec \"$0\" \"$@\"", place.display());
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let user: &[&str] = if root { &[] } else { &["--map-root-user"] };
    let wrapper = [&["unshare", "--mount"], user, &["sh", "-c", &mount]].concat();
    assert_success(rerun(test, &wrapper, place));
}

#[test]
fn full_disk_is_reported_and_nothing_is_changed() {
    const TEST: &str = "disk_errors::full_disk_is_reported_and_nothing_is_changed";
    let Some(place) = child_folder() else {
        return mounted(TEST, "size=64k", folder().path());
    };
    let dags = open(&place);
    wait(dags.put(&files(3, "old"))).expect("there is space for these");
    let many = files(40, &"x".repeat(3000));
    for _ in 0..3 {
        assert_fails(wait(dags.stage("1", &many)), &place, &Cause::Full);
        assert_eq!(wait(dags.leftovers()), Ok(Vec::new()), "what fitted is taken away again");
        assert_fails(wait(dags.put(&many)), &place, &Cause::Full);
    }
    for old in files(3, "old") {
        assert_eq!(wait(dags.read(&old.name)), Ok(Some(old.content.into_bytes())));
    }
    wait(dags.put(&files(3, "new"))).expect("there is space again");
}

#[test]
fn read_only_file_system_is_reported() {
    const TEST: &str = "disk_errors::read_only_file_system_is_reported";
    let Some(place) = child_folder() else {
        return mounted(TEST, "ro", folder().path());
    };
    let dags = open(&place);
    for done in [wait(dags.stage("1", &files(1, "x"))), wait(dags.put(&files(1, "x")))] {
        assert_fails(done, &place, &Cause::ReadOnly);
    }
    wait(dags.remove(&["dag-0.py".to_owned()])).expect("there is nothing to remove");
    assert_eq!(wait(dags.list()), Ok(Vec::new()));
}

#[test]
fn concurrent_writers_succeed() {
    let all = folder();
    let dags = open(all.path());
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let dags = dags.clone();
            scope.spawn(move || {
                let id = format!("writer-{writer}");
                for _ in 0..10 {
                    let files = files(5, &id);
                    wait(dags.stage(&id, &files)).expect("each has a place of its own");
                    wait(dags.switch(&id, &files)).expect("each has a place of its own");
                    wait(dags.put(&files)).expect("each has a place of its own");
                }
            });
        }
    });
    assert_eq!(wait(dags.leftovers()), Ok(Vec::new()));
    assert_eq!(wait(dags.list()).map(|listed| listed.len()), Ok(5));
}

#[test]
fn errors_have_a_message_and_a_remedy() {
    let failed = |cause| Error::Failed { location: "dags/a.py".into(), operation: Operation::Write, cause };
    let many: Vec<_> = (0..7).map(|number| format!("dags/{number}.py")).collect();
    for (error, text) in [
        (failed(Cause::Full), "`dags/a.py` can't be written: no space is left"),
        (
            failed(Cause::Denied("AccessDenied".into())),
            "`dags/a.py` can't be written: permission denied (AccessDenied)",
        ),
        (failed(Cause::Denied(String::new())), "`dags/a.py` can't be written: permission denied"),
        (Error::ForeignFiles(many[..1].to_vec()), "`dags/0.py` was not written by dcp: nothing is changed"),
        (
            Error::ForeignFiles(many),
            "`dags/0.py`, `dags/1.py`, `dags/2.py`, `dags/3.py`, `dags/4.py` and 2 more were not written by dcp: \
             nothing is changed",
        ),
    ] {
        assert_eq!(error.to_string(), text);
        assert!(error.help().is_some());
    }
}
