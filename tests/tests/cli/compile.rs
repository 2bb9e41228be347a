//! Files that `dcp compile` writes and removes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use insta::assert_snapshot;

use crate::harness::Sandbox;

const BATCH: &str = "manifests/orders-daily.yaml";

/// Returns every file of a folder with its modification time.
fn files(folder: &Path) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("the folder can be listed") {
            let entry = entry.expect("the folder can be listed");
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("the file is in the folder").display().to_string();
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            found.insert(name, written.expect("files know when they were written"));
        }
    }
    found
}

#[test]
fn compile_writes_one_file_per_primitive_and_dag() {
    let sandbox = Sandbox::project();
    assert_snapshot!("compile", sandbox.run(&["compile", "--out", "build"]).exits_with(0).transcript());
    let names: Vec<String> = files(&sandbox.join("build")).into_keys().collect();
    assert_eq!(
        names,
        [
            ".dcp-compile.json",
            "ContinuousJob/sales/clicks-per-store.json",
            "CoreEtlJob/sales/clicks-per-store.json",
            "CoreEtlJob/sales/orders-daily.json",
            "Orchestrator/sales/orders-daily.json",
            "dags/sales__orders-daily.py",
        ]
    );
    assert_snapshot!("compiled_job", sandbox.read("build/CoreEtlJob/sales/orders-daily.json"));
    let stream = sandbox.read("build/ContinuousJob/sales/clicks-per-store.json");
    let stream: serde_json::Value = serde_json::from_str(&stream).expect("the text is JSON");
    assert_eq!(stream["address"], "ContinuousJob/sales/clicks-per-store");
    assert_eq!(stream["body"]["checkpoint"], "s3://lake-dev/checkpoints/clicks-per-store");
}

#[test]
fn second_compile_changes_no_file() {
    let sandbox = Sandbox::project();
    sandbox.run(&["compile", "--out", "build"]).exits_with(0);
    let before = files(&sandbox.join("build"));
    assert_snapshot!("compile_again", sandbox.run(&["compile", "--out", "build"]).exits_with(0).transcript());
    assert_eq!(files(&sandbox.join("build")), before);
}

#[test]
fn compile_removes_outdated_files_only() {
    let sandbox = Sandbox::project();
    sandbox.run(&["compile", "--out", "build"]).exits_with(0);
    sandbox.write("build/dags/by_hand.py", "").write("build/Orchestrator/sales/notes.txt", "mine");
    std::fs::remove_file(sandbox.join(BATCH)).expect("the file exists");
    assert_snapshot!(
        "compile_removes",
        sandbox.run(&["compile", "--out", "build"]).exits_with(0).transcript()
    );
    let names: Vec<String> = files(&sandbox.join("build")).into_keys().collect();
    assert_eq!(
        names,
        [
            ".dcp-compile.json",
            "ContinuousJob/sales/clicks-per-store.json",
            "CoreEtlJob/sales/clicks-per-store.json",
            "Orchestrator/sales/notes.txt",
            "dags/by_hand.py",
        ]
    );
}

#[test]
fn nothing_is_written_if_there_are_errors() {
    let sandbox = Sandbox::project();
    sandbox.run(&["compile", "--out", "build"]).exits_with(0);
    let before = files(&sandbox.join("build"));
    sandbox.edit(BATCH, "owner:", "onwer:").edit("manifests/clicks-per-store.yaml", "30s", "31s");
    assert_snapshot!(
        "compile_errors",
        sandbox.run(&["compile", "--out", "build"]).exits_with(1).transcript()
    );
    assert_eq!(files(&sandbox.join("build")), before);
    sandbox.run(&["compile", "--out", "other"]).exits_with(1);
    assert!(!sandbox.join("other").exists());
}

#[test]
fn folder_with_other_files_is_rejected() {
    let sandbox = Sandbox::project();
    sandbox.write("mine/notes.txt", "mine");
    assert_snapshot!(
        "compile_foreign",
        sandbox.run(&["compile", "--out", "mine"]).exits_with(1).transcript()
    );
    assert_eq!(files(&sandbox.join("mine")).len(), 1);
}

#[test]
fn manipulated_listing_removes_nothing_outside() {
    let sandbox = Sandbox::project();
    sandbox.run(&["compile", "--out", "build"]).exits_with(0);
    for outside in ["../manifests/orders-daily.yaml", "/etc/hostname", "dags/../../dcp.yaml", ""] {
        let listing = serde_json::json!({"version": 1, "files": [outside]});
        sandbox.write("build/.dcp-compile.json", listing.to_string());
        sandbox.run(&["compile", "--out", "build"]).exits_with(1).prints("is damaged");
    }
    assert!(sandbox.join(BATCH).exists() && sandbox.join("dcp.yaml").exists());
}

#[cfg(unix)]
#[test]
fn link_in_the_folder_is_not_followed() {
    let sandbox = Sandbox::project();
    sandbox.write("outside/sales/keep.txt", "");
    sandbox.run(&["compile", "--out", "build"]).exits_with(0);
    std::fs::remove_dir_all(sandbox.join("build/CoreEtlJob")).expect("the file exists");
    std::os::unix::fs::symlink(sandbox.join("outside"), sandbox.join("build/CoreEtlJob"))
        .expect("links can be made");
    sandbox.run(&["compile", "--out", "build"]).exits_with(1).prints("can't be made a folder");
    assert_eq!(files(&sandbox.join("outside")).into_keys().collect::<Vec<_>>(), ["sales/keep.txt"]);
}

#[test]
fn file_in_place_of_the_folder_is_reported() {
    let sandbox = Sandbox::project();
    sandbox.write("build", "");
    sandbox.run(&["compile", "--out", "build"]).exits_with(1).prints("`build` can't be made a folder");
}

/// Files of a process that was killed while it wrote them are removed.
#[test]
fn unfinished_files_of_a_killed_process_are_removed() {
    let sandbox = Sandbox::project();
    sandbox.write("build/.dcp-unfinished-abc", "half");
    sandbox.run(&["compile", "--out", "build"]).exits_with(0);
    sandbox.write("build/dags/.dcp-unfinished-abc", "half");
    sandbox.run(&["compile", "--out", "build"]).exits_with(0).prints("nothing has changed");
    let left: Vec<String> =
        files(&sandbox.join("build")).into_keys().filter(|name| name.contains("unfinished")).collect();
    assert!(left.is_empty(), "{left:?}");
}
