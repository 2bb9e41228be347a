//! Plan, apply and the commands after them, with a local registry and a folder of DAG files.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use serde_json::Value;

use crate::harness::{DCP, Ran, Sandbox, build};

const STREAM: &str = "manifests/clicks-per-store.yaml";
const BATCH: &str = "manifests/orders-daily.yaml";

fn applied() -> Sandbox {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    sandbox
}

/// Returns the output with the time of the last apply replaced.
fn same(ran: &Ran) -> String {
    let mut shown = ran.shown();
    let marks = ["applied by unknown, ", "Z", " UTC"];
    if let Some(at) = shown.find(marks[0]) {
        let from = at + marks[0].len();
        let to = from + shown[from..].find(marks[2]).expect("a time has a zone");
        shown.replace_range(from..to, "[TIME]");
    }
    shown
}

fn dags(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let folder = std::fs::read_dir(sandbox.join(".dcp/dags")).into_iter().flatten();
    let files =
        folder.map(|entry| entry.expect("the folder can be read").path()).filter(|path| path.is_file());
    files
        .map(|path| {
            let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("it can be read"))
        })
        .collect()
}

/// Removes the lines that name the revision from DAG files.
fn unstamped(dags: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let line = |line: &str| !line.trim_start().starts_with("\"- revision: ");
    let text = |text: &str| text.lines().filter(|it| line(it)).collect::<Vec<_>>().join("\n");
    dags.into_iter().map(|(name, content)| (name, text(&content))).collect()
}

#[test]
fn the_first_plan_the_apply_and_nothing_more_to_do() {
    let sandbox = Sandbox::quickstart();
    assert_snapshot!("first_plan", same(&sandbox.run(&["plan"]).ends_with(0)));
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(2);
    assert!(dags(&sandbox).is_empty(), "a plan changes nothing");
    assert_snapshot!("first_apply", same(&sandbox.run(&["apply", "--auto-approve"]).ends_with(0)));
    let written = dags(&sandbox);
    assert_eq!(written.len(), 3);
    assert_snapshot!("second_apply", same(&sandbox.run(&["apply", "--auto-approve"]).ends_with(0)));
    assert_eq!(dags(&sandbox), written);
    sandbox.run(&["plan", "--detailed-exitcode"]).ends_with(0);
    let history = sandbox.run(&["history", "--output", "json"]).ends_with(0).json();
    assert_eq!(history.as_array().map(Vec::len), Some(1), "{history}");
}

/// Returns an applied project with one edit of each kind.
fn edited() -> Sandbox {
    let sandbox = applied();
    sandbox.edit(
        STREAM,
        "GROUP BY window(c.ts, '5 minutes'), s.name",
        "GROUP BY window(c.ts, '5 minutes'), s.name, s.country",
    );
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    std::fs::remove_file(sandbox.join("manifests/pi.yaml")).expect("it is there");
    sandbox
}

#[test]
fn a_plan_says_what_is_dangerous_first() {
    let sandbox = edited();
    assert_snapshot!("dangerous_plan", same(&sandbox.run(&["plan"]).ends_with(0)));
    assert_snapshot!(
        "dangerous_markdown",
        same(&sandbox.run(&["plan", "--output", "markdown"]).ends_with(0))
    );
}

#[test]
fn what_is_dangerous_is_annotated_where_it_is_written() {
    let sandbox = edited();
    let plan = || sandbox.run(&["plan", "--output", "github"]).ends_with(0).stdout;
    let first = "::error file=manifests/clicks-per-store.yaml,line=21,col=";
    let told = plan();
    assert!(told.starts_with(first) && told.lines().count() == 1, "{told}");
    assert!(
        told.contains(
            "title=reset logistics/clicks-per-store%3A the checkpoint can't be kept; live%3A not started::"
        ),
        "{told}"
    );
    assert!(told.ends_with("%0Aconsent: dcp apply --allow-reset logistics/clicks-per-store\n"), "{told}");
    sandbox.edit(STREAM, "upgrade: {", "upgrade: {reset: allow, ");
    assert!(plan().starts_with("::warning file="), "{}", plan());
    std::fs::remove_file(sandbox.join(STREAM)).expect("it is there");
    assert!(plan().starts_with("::error title=delete logistics/clicks-per-store%3A "), "{}", plan());
}

#[test]
fn no_line_of_a_plan_is_wider_than_a_terminal() {
    let plan = edited().run(&["plan"]).ends_with(0);
    for line in plan.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_checkpoint_is_given_up_only_with_consent() {
    let sandbox = edited();
    let refused = sandbox.run(&["apply", "--auto-approve"]).ends_with(1);
    refused.says("needs consent: nothing was applied").says("--allow-reset logistics/clicks-per-store");
    sandbox.run(&["apply", "--auto-approve", "--allow-reset", "logistics/other"]).ends_with(1);
    sandbox.edit(STREAM, "  resources:", "  lifecycle: {preventDestroy: true}\n  resources:");
    let never = sandbox.run(&["apply", "--auto-approve", "--allow-reset", "all"]).ends_with(1);
    never.says("`lifecycle.preventDestroy`");
    sandbox.edit(STREAM, "  lifecycle: {preventDestroy: true}\n", "");
    let done = sandbox.run(&["apply", "--auto-approve", "--allow-reset", "logistics/clicks-per-store"]);
    done.ends_with(0).says("applied serial 2");
    let revisions =
        sandbox.run(&["show", "ContinuousJob/logistics/clicks-per-store", "--revisions"]).ends_with(0);
    revisions.says("revision 2, serial 2: reset").says("revision 1, serial 1: create");
    assert!(!dags(&sandbox).contains_key("sandbox__pi.py"), "what is gone has no DAG");
}

#[test]
fn nothing_is_applied_without_a_word() {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply"]).ends_with(1).says("there is no terminal to ask on").says("--auto-approve");
    assert!(dags(&sandbox).is_empty());
    sandbox.run(&["history"]).ends_with(0).says("nothing was ever applied");
}

#[test]
fn a_saved_plan_is_applied_exactly_or_refused() {
    let sandbox = edited();
    sandbox.run(&["plan", "--out", "plan.json"]).ends_with(0).says("dcp apply plan.json");
    // Later changes of the manifests have no effect on a saved plan.
    sandbox.edit(BATCH, "0 3 * * *", "0 4 * * *");
    let consent = ["apply", "plan.json", "--auto-approve", "--allow-reset", "all"];
    sandbox.run(&consent).ends_with(0).says("applied serial 2");
    assert!(dags(&sandbox)["logistics__orders-daily.py"].contains("0 3 * * *"));
    // A second apply of the same plan is based on an outdated state.
    sandbox
        .run(&consent)
        .ends_with(1)
        .says("the plan was made against serial 1")
        .says("serial 2 was applied by");
    sandbox.run(&["plan", "--out", "other.json"]).ends_with(0);
    let by_hand = sandbox.read("other.json").replacen("0 4 * * *", "0 5 * * *", 1);
    sandbox.write("other.json", by_hand);
    sandbox
        .run(&["apply", "other.json", "--auto-approve"])
        .ends_with(1)
        .says("it was changed after it was made");
    sandbox.write("none.json", "{\"format\": 1}");
    sandbox.run(&["apply", "none.json", "--auto-approve"]).ends_with(1).says("it is no plan of dcp");
    sandbox.run(&["apply", "absent.json", "--auto-approve"]).ends_with(1).says("absent.json");
    sandbox.run(&["plan", "--out", "mine.json"]).ends_with(0);
    sandbox.edit("dcp.yaml", "project: quickstart", "project: other");
    sandbox
        .run(&["apply", "mine.json", "--auto-approve"])
        .ends_with(2)
        .says("is a plan for `quickstart/dev`");
}

#[test]
fn two_plans_against_one_state_are_not_mixed() {
    let sandbox = applied();
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["plan", "--out", "one.json"]).ends_with(0);
    sandbox.edit("manifests/customer-segments.yaml", "instances: 2", "instances: 3");
    sandbox.run(&["plan", "--out", "two.json"]).ends_with(0);
    let run =
        |plan: &str| sandbox.command(&DCP).args(["apply", plan, "--auto-approve"]).output().expect("it runs");
    let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
        let both = ["one.json", "two.json"].map(|plan| scope.spawn(move || run(plan).status.code()));
        both.into_iter().map(|one| one.join().expect("it ends")).collect()
    });
    let won = codes.iter().filter(|code| **code == Some(0)).count();
    assert_eq!((won, codes.len()), (1, 2), "{codes:?}");
    sandbox.run(&["drift", "--detailed-exitcode"]).ends_with(0);
    let history = sandbox.run(&["history", "--output", "json"]).json();
    assert_eq!(history.as_array().map(Vec::len), Some(2));
}

#[test]
fn going_back_goes_through_the_same_door() {
    let sandbox = applied();
    let before = dags(&sandbox);
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.edit(STREAM, "memory: 4g", "memory: 8g");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    assert_ne!(dags(&sandbox), before);
    assert_snapshot!("rollback", same(&sandbox.run(&["rollback", "1", "--auto-approve"]).ends_with(0)));
    assert_eq!(unstamped(dags(&sandbox)), unstamped(before));
    assert!(dags(&sandbox)["logistics__orders-daily.py"].contains("\"- revision: 3\\n\""));
    sandbox.run(&["rollback", "1", "--auto-approve"]).ends_with(0).says("nothing to do");
    sandbox.run(&["rollback", "9"]).ends_with(2).says("there is no serial 9 yet: the last one is 3");
    let shown = sandbox
        .run(&["show", "CoreEtlJob/logistics/clicks-per-store", "--revision", "2"])
        .ends_with(0)
        .json();
    assert_eq!(shown["body"]["resources"]["executors"]["memory"], Value::from("8g"));
    sandbox
        .run(&["show", "logistics/click-per-store"])
        .ends_with(1)
        .says("did you mean `logistics/clicks-per-store`?");
}

#[test]
fn all_is_taken_away_and_comes_back() {
    let sandbox = applied();
    let before = dags(&sandbox);
    sandbox
        .run(&["destroy", "--auto-approve"])
        .ends_with(1)
        .says("--allow-delete logistics/clicks-per-store");
    assert_snapshot!(
        "destroy",
        same(&sandbox.run(&["destroy", "--auto-approve", "--allow-delete", "all"]).ends_with(0))
    );
    assert!(dags(&sandbox).is_empty());
    sandbox.run(&["show", "logistics/orders-daily"]).ends_with(0).says("it was deleted with serial 2");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    assert_eq!(unstamped(dags(&sandbox)), unstamped(before));
    let revisions = sandbox.run(&["show", "CoreEtlJob/logistics/orders-daily", "--revisions"]).ends_with(0);
    revisions.says("revision 3, serial 3: create").says("revision 2, serial 2: delete");
}

#[test]
fn drift_is_told_and_repaired() {
    let sandbox = applied();
    let before = dags(&sandbox);
    sandbox.run(&["drift", "--detailed-exitcode"]).ends_with(0).says("the DAG folder is as applied");
    sandbox.edit(".dcp/dags/logistics__orders-daily.py", "0 2 * * *", "0 9 * * *");
    std::fs::remove_file(sandbox.join(".dcp/dags/sandbox__pi.py")).expect("it is there");
    let extra = before["sandbox__pi.py"].clone();
    sandbox.write(".dcp/dags/other__one.py", extra).write(".dcp/dags/by_hand.py", "# mine\n");
    assert_snapshot!("drift", same(&sandbox.run(&["drift", "--detailed-exitcode"]).ends_with(2)));
    sandbox.run(&["drift", "--repair"]).ends_with(0).says("2 DAG files put in place");
    let mut after = dags(&sandbox);
    assert!(
        after.remove("other__one.py").is_some() && after.remove("by_hand.py").is_some(),
        "they are not ours to remove"
    );
    assert_eq!(after, before);
}

#[test]
fn only_what_is_selected_is_planned() {
    let sandbox = edited();
    let plan = |args: &[&str]| {
        let value = sandbox.run(&[&["plan", "--output", "json"], args].concat()).ends_with(0).json();
        let workloads = value["plan"]["workloads"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        workloads
            .iter()
            .map(|it| format!("{} {}", text(&it["action"]), text(&it["name"])))
            .collect::<Vec<_>>()
    };
    assert_eq!(plan(&[]), ["reset clicks-per-store", "update orders-daily", "delete pi"]);
    assert_eq!(plan(&["--select", "logistics/*"]), ["reset clicks-per-store", "update orders-daily"]);
    assert_eq!(plan(&["--select", "CoreEtlJob/sandbox/pi"]), ["delete pi"]);
    assert_eq!(plan(&[BATCH]), ["update orders-daily"], "nothing is deleted for not being in this file");
    sandbox
        .run(&["plan", "--select", "logistics/order-daily"])
        .ends_with(2)
        .says("did you mean `logistics/orders-daily`?");
    sandbox.run(&["plan", "--select", "nonsense"]).ends_with(2).says("names no workload");
}

#[test]
fn a_broken_manifest_changes_nothing() {
    let sandbox = applied();
    let before = dags(&sandbox);
    sandbox.edit(BATCH, "schedule:", "shedule:");
    sandbox.run(&["plan"]).ends_with(1).says("nothing was planned");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(1).says("nothing was planned");
    assert_eq!(dags(&sandbox), before);
}

#[test]
fn a_state_that_cannot_be_used_is_told_and_left_alone() {
    let sandbox = applied();
    sandbox.write(
        ".dcp/state.db",
        "this is no database, and long enough to be looked at as one: it has to have a page of bytes",
    );
    for file in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(sandbox.join(&format!(".dcp/{file}")));
    }
    sandbox.run(&["plan"]).ends_with(1).says("state.db");
    let sandbox = applied();
    // A file that dcp does not own is not overwritten, and nothing of the plan is applied.
    sandbox.write(".dcp/dags/logistics__orders-daily.py", "# mine\n").edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(1).says("logistics__orders-daily.py");
    assert_eq!(sandbox.read(".dcp/dags/logistics__orders-daily.py"), "# mine\n");
    sandbox.run(&["history", "--output", "json"]).says("\"serial\": 1");
}

#[test]
fn no_secret_gets_into_a_plan_or_the_state() {
    let sandbox = Sandbox::quickstart();
    sandbox.edit(
        "manifests/pi.yaml",
        "  run:",
        "  spark: {hadoopConf: {fs.s3a.secret.key: \"${secret.s3/key}\"}}\n  run:",
    );
    sandbox.run(&["plan", "--out", "plan.json"]).ends_with(0);
    assert!(sandbox.read("plan.json").contains("${secret.s3/key}"), "the reference is all there is");
    sandbox.edit("manifests/pi.yaml", "${secret.s3/key}", "wJalrXUtnFEMIK7MDENG");
    let refused = sandbox.run(&["plan", "--out", "secret.json"]).ends_with(1);
    assert!(!refused.shown().contains("wJalrXUtnFEMIK7MDENG"));
    assert!(!sandbox.join("secret.json").exists());
}

#[test]
fn the_dag_folder_may_be_anywhere_that_is_said() {
    let sandbox = Sandbox::quickstart();
    sandbox.edit("dcp.yaml", "project: quickstart", "project: quickstart\ndags: airflow/dags");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    assert!(sandbox.join("airflow/dags/sandbox__pi.py").is_file() && dags(&sandbox).is_empty());
    // A folder outside of the project is not created, because it may be a mount that is missing.
    let elsewhere = Sandbox::new();
    let folder = elsewhere.join("not-there");
    sandbox.edit("dcp.yaml", "dags: airflow/dags", &format!("dags: {}", folder.display()));
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(1).says("not-there");
    assert!(!folder.exists());
}

/// Runs the applier until it kills itself at a step.
fn killed_at(sandbox: &Sandbox, step: &str) {
    let applier = build("dcp-test-applier");
    let ended = sandbox.command(&applier).arg(sandbox.path()).args(["plan.json", step]).status();
    assert_eq!(ended.expect("it can be run").code(), None, "it was killed at `{step}`");
}

#[test]
fn a_kill_at_any_step_is_repaired_by_the_next_apply() {
    for step in ["begun", "staged", "committed", "switched", "removed", "published"] {
        let sandbox = edited();
        let old = dags(&sandbox);
        // The expected result: the same edits, applied without a kill.
        let other = edited();
        other.run(&["apply", "--auto-approve", "--allow-reset", "all"]).ends_with(0);
        let new = dags(&other);

        sandbox.run(&["plan", "--out", "plan.json"]).ends_with(0);
        killed_at(&sandbox, step);
        let history = sandbox.run(&["history", "--output", "json"]).json();
        let serial = history.as_array().map(Vec::len);
        let committed = matches!(step, "committed" | "switched" | "removed" | "published");
        assert_eq!(serial, Some(if committed { 2 } else { 1 }), "{step}");
        for (name, content) in dags(&sandbox) {
            let known = old.get(&name) == Some(&content) || (committed && new.get(&name) == Some(&content));
            assert!(known, "{step}: {name} is neither what it was nor what it should be");
        }
        sandbox.run(&["apply", "--auto-approve", "--allow-reset", "all"]).ends_with(0);
        assert_eq!(dags(&sandbox), new, "{step}");
        sandbox.run(&["drift", "--detailed-exitcode"]).ends_with(0);
        sandbox.run(&["apply", "--auto-approve"]).ends_with(0).says("nothing to do");
        let left = std::fs::read_dir(sandbox.join(".dcp/dags/.dcp-staged")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{step}: nothing staged is left");
    }
}

#[test]
fn how_far_it_is_is_told_beside_the_result() {
    let sandbox = applied();
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    std::fs::remove_file(sandbox.join("manifests/pi.yaml")).expect("it is there");
    let done = sandbox.run(&["apply", "--auto-approve", "--output", "json"]).ends_with(0);
    assert_eq!(done.json()["serial"], 2, "stdout has the result, and nothing else");
    let steps = "staged 1 DAG file\ncommitted serial 2\nswitched 1 DAG file\nremoved 1 DAG file\n";
    assert_eq!(done.stderr, steps);
    let done = sandbox.run(&["rollback", "1", "--auto-approve", "--quiet"]).ends_with(0);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
}

#[test]
fn a_state_that_was_lost_is_made_anew() {
    let sandbox = applied();
    let before = dags(&sandbox);
    std::fs::remove_file(sandbox.join(".dcp/state.db")).expect("it is there");
    std::fs::remove_file(sandbox.join("manifests/pi.yaml")).expect("it is there");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0).says("applied serial 1");
    assert_eq!(dags(&sandbox), before, "what dcp wrote is taken over, and what it no longer knows stays");
    let drift = sandbox.run(&["drift", "--detailed-exitcode"]).ends_with(2);
    drift.says("made by dcp, but not applied here sandbox__pi.py");
}

#[test]
fn an_old_backup_goes_on_from_where_it_was() {
    let sandbox = applied();
    // SQLite's write-ahead log is part of the database.
    let files = [".dcp/state.db", ".dcp/state.db-wal"];
    let backup = files.map(|file| std::fs::read(sandbox.join(file)).ok());
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    let wanted = dags(&sandbox);
    sandbox.edit(BATCH, "0 3 * * *", "0 4 * * *").run(&["plan", "--out", "plan.json"]).ends_with(0);
    for (file, content) in files.iter().zip(backup) {
        let _ = std::fs::remove_file(sandbox.join(file));
        content.map(|content| sandbox.write(file, content));
    }
    let _ = std::fs::remove_file(sandbox.join(".dcp/state.db-shm"));
    let refused = sandbox.run(&["apply", "plan.json", "--auto-approve"]).ends_with(1);
    refused.says("the plan was made against serial 2");
    sandbox.run(&["drift"]).ends_with(0).says("changed by hand");
    sandbox.edit(BATCH, "0 4 * * *", "0 3 * * *").run(&["apply", "--auto-approve"]).ends_with(0);
    assert_eq!(dags(&sandbox), wanted);
    sandbox.run(&["drift", "--detailed-exitcode"]).ends_with(0);
}

#[test]
fn history_counts_workloads_as_the_plan_does_and_fits_80_columns() {
    let sandbox = Sandbox::project();
    sandbox.run(&["plan"]).ends_with(0).says("2 create");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    let history = sandbox.run(&["history"]).ends_with(0).says("SERIAL").says("2 create");
    assert!(history.stdout.lines().all(|line| line.chars().count() <= 80), "{}", history.shown());
    // A workload with another kind of run loses one primitive and gets another, but counts as one update.
    sandbox.edit(
        "manifests/orders-daily.yaml",
        "schedule: {cron: \"0 3 * * *\", timezone: Europe/Berlin, startDate: 2026-01-01}",
        "manual: {}",
    );
    sandbox.edit(
        "manifests/orders-daily.yaml",
        "        day: {type: date, run: date}",
        "        day: {type: date}",
    );
    sandbox.run(&["plan"]).ends_with(0).says("1 update");
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    sandbox.run(&["history", "--limit", "1"]).ends_with(0).says("1 update");
}

#[test]
fn destroy_names_itself_and_not_apply() {
    let sandbox = Sandbox::project();
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    let refused = sandbox.run(&["destroy"]).ends_with(1).says("needs consent: nothing was destroyed");
    assert!(!refused.stderr.contains("applied"), "{}", refused.shown());
    let refused = sandbox.run(&["destroy", "--allow-delete", "sales/clicks-per-store"]).ends_with(1);
    let refused = refused.says("nothing was destroyed").says("dcp destroy --auto-approve");
    assert!(!refused.stderr.contains("applied"), "{}", refused.shown());
}
