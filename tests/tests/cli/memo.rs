//! What a plan remembers of the last one: it changes how long a plan takes, and never what it says.

use std::fs;

use serde_json::Value;

use crate::harness::Sandbox;

const BATCH: &str = "manifests/orders-daily.yaml";
const MEMO: &str = ".dcp/cache/plan.json";

fn applied() -> Sandbox {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(0);
    sandbox
}

fn memo(sandbox: &Sandbox) -> Value {
    let text = fs::read_to_string(sandbox.join(MEMO)).expect("a plan keeps it");
    serde_json::from_str(&text).expect("it is JSON")
}

/// The plan, and the same with nothing remembered.
fn plan(sandbox: &Sandbox) -> String {
    let remembered = sandbox.run(&["plan", "--detailed-exitcode"]).shown();
    _ = fs::remove_dir_all(sandbox.join(".dcp/cache"));
    let anew = sandbox.run(&["plan", "--detailed-exitcode"]).shown();
    assert_eq!(remembered, anew);
    anew
}

#[test]
fn whatever_changes_is_seen() {
    let sandbox = applied();
    assert!(plan(&sandbox).contains("nothing to do"), "{}", plan(&sandbox));
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    assert!(plan(&sandbox).contains("0 3 * * *"));
    sandbox.edit(BATCH, "0 3 * * *", "0 2 * * *");
    assert!(plan(&sandbox).contains("nothing to do"));

    let sql = fs::read_dir(sandbox.join("sql")).expect("the example has SQL in files").next();
    let sql = sql.expect("at least one").expect("it can be read").path();
    let text = fs::read_to_string(&sql).expect("it can be read");
    fs::write(&sql, format!("{text}\n-- changed\n")).expect("it can be written");
    assert!(plan(&sandbox).contains("-- changed"));
    fs::write(&sql, text).expect("it can be written");

    let manifest = fs::read_to_string(sandbox.join(BATCH)).expect("it is there");
    fs::remove_file(sandbox.join(BATCH)).expect("it is there");
    assert!(plan(&sandbox).contains("1 delete"));
    sandbox.write(BATCH, &manifest);
    sandbox.write("manifests/more.yaml", manifest.replace("name: orders-daily", "name: orders-more"));
    sandbox.run(&["plan"]).ends_with(1).says("nothing was planned");
    fs::remove_file(sandbox.join("manifests/more.yaml")).expect("it is there");
    assert!(plan(&sandbox).contains("nothing to do"));
}

#[test]
fn a_warning_is_said_every_time() {
    let sandbox = applied();
    fs::remove_file(sandbox.join(BATCH)).expect("it is there");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0).says("nothing here produces");
    for _ in 0..2 {
        sandbox.run(&["plan"]).ends_with(0).says("nothing here produces").says("nothing to do");
    }
}

#[test]
fn what_is_remembered_counts_only_where_it_is_applied() {
    let sandbox = applied();
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0).says("applied serial 2");
    sandbox.run(&["rollback", "1", "--auto-approve"]).ends_with(0);
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(2).says("0 3 * * *");
}

/// It is only by a lie that one can see that it is used at all.
#[test]
fn what_is_remembered_is_used() {
    let sandbox = applied();
    let before = memo(&sandbox);
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(0);
    let mut lie = memo(&sandbox);
    assert_ne!(lie["files"][BATCH], before["files"][BATCH]);
    sandbox.run(&["rollback", "1", "--auto-approve"]).ends_with(0);
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(2);
    lie["files"][BATCH]["primitives"] = before["files"][BATCH]["primitives"].clone();
    sandbox.write(MEMO, lie.to_string());
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(0);
    lie["madeWith"] = "another program".into();
    sandbox.write(MEMO, lie.to_string());
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(2);
    for garbage in ["", "{", "[1, 2]", "{\"madeWith\": 3}"] {
        sandbox.write(MEMO, garbage);
        sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(2);
    }
}

#[test]
fn where_nothing_can_be_kept_a_plan_is_made_all_the_same() {
    let sandbox = applied();
    fs::remove_dir_all(sandbox.join(".dcp/cache")).expect("it is there");
    sandbox.write(".dcp/cache", "no folder");
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(0);
}
