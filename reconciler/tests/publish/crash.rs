//! Kills a process before each of its changes to the DAG folder, while a reader checks the folder all the time.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use dcp_reconciler::publish::File;

use crate::fixture::{child_folder, expected, files, open, rerun, wait};

const AT: &str = "DCP_TEST_KILL_AT";
const LOG: &str = "DCP_TEST_KILL_LOG";
const UNDER: &str = "DCP_TEST_KILL_UNDER";
const STAGED: &str = "staged";

fn old() -> Vec<File> {
    files(2, "old")
}

fn new() -> Vec<File> {
    files(3, &"new ".repeat(300))
}

/// Compiles a library that kills a process before change number `$DCP_TEST_KILL_AT` to a folder. If that change is a
/// write, it first writes half of the bytes.
fn killer() -> &'static Path {
    static KILLER: OnceLock<PathBuf> = OnceLock::new();
    KILLER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (library, part) = (folder.join("killer.so"), folder.join(format!("{}.so", std::process::id())));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/publish/killer.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).args([&part, &source]);
        assert!(compiler.status().expect("a C compiler is there, as it is to link this test").success());
        // Another run of this test may have loaded the old file, so replace it instead of overwriting it.
        std::fs::rename(part, &library).expect("it was just made");
        library
    })
}

/// Runs a test again, and kills it at a step. Returns false if the test has fewer steps and succeeds.
fn is_killed(test: &str, at: usize, folder: &Path) -> bool {
    let mut command = rerun(test, &[], folder);
    command.env("LD_PRELOAD", killer()).env(AT, at.to_string()).env(UNDER, folder.join("dags"));
    command.env(LOG, folder.join("log"));
    let output = command.output().expect("a test can be run again");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.signal() == Some(9), "{}: {told}", output.status);
    !output.status.success()
}

/// Returns all DAG files that Airflow reads.
fn seen(folder: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        if path.extension().is_some_and(|it| it == "py") {
            let name = path.file_name().expect("the value is present").display().to_string();
            // The test removes a file before each iteration, so the file may be gone.
            if let Ok(text) = std::fs::read_to_string(path) {
                seen.insert(name, text);
            }
        }
    }
    seen
}

fn assert_whole(folder: &Path) {
    let (old, new) = (expected(&old()), expected(&new()));
    let seen = seen(folder);
    for (name, text) in &seen {
        let known = [&old, &new].iter().any(|files| files.get(name) == Some(text));
        assert!(known, "{name} has an unknown content of {} bytes", text.len());
    }
    assert!(old.keys().all(|name| seen.contains_key(name)), "a DAG was missing: {:?}", seen.keys());
}

/// Kills a test at its first step, its second, and so on until it completes. After each kill, all visible files must be
/// complete, and `repair` must restore the folder; its argument is true if staging was complete.
fn assert_repair_after_each_kill(test: &str, repair: impl Fn(&Path, bool)) {
    let all = tempfile::tempdir().expect("a folder can be made");
    let dags = all.path().join("dags");
    std::fs::create_dir(&dags).expect("a folder can be made");
    let folder = open(&dags);
    let done = AtomicBool::new(false);
    let start = || {
        wait(folder.put(&old())).expect("they can be written");
        wait(folder.remove(&["dag-2.py".to_owned()])).expect("it can be removed");
        let _ = std::fs::remove_file(all.path().join(STAGED));
    };
    start();
    let steps = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_whole(&dags);
            }
        });
        let killed = (1..1000).take_while(|at| {
            start();
            let killed = is_killed(test, *at, all.path());
            assert_whole(&dags);
            repair(&dags, all.path().join(STAGED).exists());
            assert_eq!(seen(&dags), expected(&new()), "step {at}");
            assert_eq!(wait(folder.leftovers()), Ok(Vec::new()), "step {at}");
            killed && !reader.is_finished()
        });
        let steps = killed.count();
        done.store(true, Ordering::Relaxed);
        reader.join().expect("the reader saw whole files only");
        steps
    });
    assert!(steps > 4 * new().len(), "it was killed at {steps} steps only");
}

#[test]
fn a_publication_that_is_killed_can_be_repaired() {
    const TEST: &str = "crash::a_publication_that_is_killed_can_be_repaired";
    if let Some(all) = child_folder() {
        let folder = open(&all.join("dags"));
        wait(folder.stage("new", &new())).expect("they can be staged");
        std::fs::write(all.join(STAGED), "").expect("it can be written");
        return wait(folder.switch("new", &new())).expect("they are staged");
    }
    assert_repair_after_each_kill(TEST, |dags, staged| {
        let folder = open(dags);
        if !staged {
            assert_eq!(seen(dags), expected(&old()), "nothing is switched before everything is staged");
            for id in wait(folder.leftovers()).expect("they can be listed") {
                wait(folder.discard(&id)).expect("it can be discarded");
            }
            wait(folder.stage("new", &new())).expect("they can be staged");
        }
        wait(folder.switch("new", &new())).expect("what was staged is still, or in place");
    });
}

#[test]
fn a_repair_that_is_killed_can_be_repaired() {
    const TEST: &str = "crash::a_repair_that_is_killed_can_be_repaired";
    if let Some(all) = child_folder() {
        return wait(open(&all.join("dags")).put(&new())).expect("they can be written");
    }
    assert_repair_after_each_kill(TEST, |dags, _| {
        let folder = open(dags);
        for id in wait(folder.leftovers()).expect("they can be listed") {
            wait(folder.discard(&id)).expect("it can be discarded");
        }
        wait(folder.put(&new())).expect("they can be written");
    });
}

/// Only flushed data survives a crash of the machine.
#[test]
fn switched_files_are_flushed() {
    const TEST: &str = "crash::switched_files_are_flushed";
    if let Some(all) = child_folder() {
        let folder = open(&all.join("dags"));
        wait(folder.stage("new", &new())).expect("they can be staged");
        wait(folder.switch("new", &new())).expect("they are staged");
        return wait(folder.remove(&["dag-0.py".to_owned()])).expect("it can be removed");
    }
    let all = tempfile::tempdir().expect("a folder can be made");
    let dags = all.path().join("dags");
    std::fs::create_dir(&dags).expect("a folder can be made");
    assert!(!is_killed(TEST, usize::MAX >> 1, all.path()));
    let log = std::fs::read_to_string(all.path().join("log")).expect("there were changes");
    let shown = format!("{}/", dags.display());
    let changes: Vec<_> = log.lines().map(|line| format!("{line}/").replace(&shown, "")).collect();
    let at = |change: &str| {
        changes.iter().rposition(|it| it.trim_end_matches('/') == change.trim_end_matches('/'))
    };
    let place = |change: &str| at(change).unwrap_or_else(|| unreachable!("no {change}: {changes:#?}"));
    let first_rename = changes.iter().position(|it| it.starts_with("rename ")).expect("files are switched");
    for file in new() {
        let staged = format!(".dcp-staged/new/{}.staged", file.name);
        assert!(place(&format!("write {staged}")) < place(&format!("fsync {staged}")), "{changes:#?}");
        assert!(place(&format!("fsync {staged}")) < first_rename, "{changes:#?}");
        assert!(place(&format!("rename {}", file.name)) < place("fsync "), "{changes:#?}");
    }
    for folder in [".dcp-staged/new", ".dcp-staged"] {
        assert!(place(&format!("fsync {folder}")) < first_rename, "{changes:#?}");
    }
    let flushed: Vec<_> = (0..changes.len()).filter(|at| changes[*at].trim_end() == "fsync").collect();
    let removed = place("unlink dag-0.py");
    let last_rename = changes.iter().rposition(|it| it.starts_with("rename ")).expect("files are switched");
    let between = |from, to| flushed.iter().any(|at| (from..to).contains(at));
    assert!(between(0, first_rename), "the folder is flushed when files are staged: {changes:#?}");
    assert!(between(last_rename, removed), "and when they are switched: {changes:#?}");
    assert!(between(removed, changes.len()), "and when one is removed: {changes:#?}");
}
