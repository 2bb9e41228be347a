//! Apply after a kill, and with a state that is damaged, lost or restored from a backup.

use super::{BATCH, applied, dags, edited};
use crate::harness::{Sandbox, build};

#[test]
fn unusable_state_is_reported_and_not_changed() {
    let sandbox = applied();
    sandbox.write(
        ".dcp/state.db",
        "this is no database, and long enough to be looked at as one: it has to have a page of bytes",
    );
    for file in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(sandbox.join(&format!(".dcp/{file}")));
    }
    sandbox.run(&["plan"]).exits_with(1).prints("state.db");
    let sandbox = applied();
    // A file that dcp does not own is not overwritten, and nothing of the plan is applied.
    sandbox.write(".dcp/dags/logistics__orders-daily.py", "# mine\n").edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(1).prints("logistics__orders-daily.py");
    assert_eq!(sandbox.read(".dcp/dags/logistics__orders-daily.py"), "# mine\n");
    sandbox.run(&["history", "--output", "json"]).prints("\"serial\": 1");
}

/// Runs the applier until it kills itself at a step.
fn kill_applier_at(sandbox: &Sandbox, step: &str) {
    let applier = build("dcp-test-applier");
    let ended = sandbox.command(&applier).arg(sandbox.path()).args(["plan.json", step]).status();
    assert_eq!(ended.expect("the program can be run").code(), None, "it was killed at `{step}`");
}

#[test]
fn next_apply_repairs_a_kill_at_any_step() {
    for step in ["begun", "staged", "committed", "switched", "removed", "published"] {
        let sandbox = edited();
        let old = dags(&sandbox);
        // The expected result: the same edits, applied without a kill.
        let other = edited();
        other.run(&["apply", "--auto-approve", "--allow-reset", "all"]).exits_with(0);
        let new = dags(&other);

        sandbox.run(&["plan", "--out", "plan.json"]).exits_with(0);
        kill_applier_at(&sandbox, step);
        let history = sandbox.run(&["history", "--output", "json"]).json();
        let serial = history.as_array().map(Vec::len);
        let committed = matches!(step, "committed" | "switched" | "removed" | "published");
        assert_eq!(serial, Some(if committed { 2 } else { 1 }), "{step}");
        for (name, content) in dags(&sandbox) {
            let known = old.get(&name) == Some(&content) || (committed && new.get(&name) == Some(&content));
            assert!(known, "{step}: {name} has neither the old nor the new content");
        }
        sandbox.run(&["apply", "--auto-approve", "--allow-reset", "all"]).exits_with(0);
        assert_eq!(dags(&sandbox), new, "{step}");
        sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(0);
        sandbox.run(&["apply", "--auto-approve"]).exits_with(0).prints("nothing to do");
        let left = std::fs::read_dir(sandbox.join(".dcp/dags/.dcp-staged")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{step}: staged files are removed");
    }
}

#[test]
fn lost_state_is_recreated_by_apply() {
    let sandbox = applied();
    let before = dags(&sandbox);
    std::fs::remove_file(sandbox.join(".dcp/state.db")).expect("the file exists");
    std::fs::remove_file(sandbox.join("manifests/pi.yaml")).expect("the file exists");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0).prints("applied serial 1");
    assert_eq!(dags(&sandbox), before, "DAG files of dcp are taken over, and unknown ones stay");
    let drift = sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(2);
    drift.prints("made by dcp, but not applied here sandbox__pi.py");
}

#[test]
fn apply_continues_from_a_restored_backup() {
    let sandbox = applied();
    // SQLite's write-ahead log is part of the database.
    let files = [".dcp/state.db", ".dcp/state.db-wal"];
    let backup = files.map(|file| std::fs::read(sandbox.join(file)).ok());
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    let wanted = dags(&sandbox);
    sandbox.edit(BATCH, "0 3 * * *", "0 4 * * *").run(&["plan", "--out", "plan.json"]).exits_with(0);
    for (file, content) in files.iter().zip(backup) {
        let _ = std::fs::remove_file(sandbox.join(file));
        content.map(|content| sandbox.write(file, content));
    }
    let _ = std::fs::remove_file(sandbox.join(".dcp/state.db-shm"));
    let refused = sandbox.run(&["apply", "plan.json", "--auto-approve"]).exits_with(1);
    refused.prints("the plan was made against serial 2");
    sandbox.run(&["drift"]).exits_with(0).prints("changed by hand");
    sandbox.edit(BATCH, "0 4 * * *", "0 3 * * *").run(&["apply", "--auto-approve"]).exits_with(0);
    assert_eq!(dags(&sandbox), wanted);
    sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(0);
}
