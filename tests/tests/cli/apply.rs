//! Plan, apply and the commands after them, with a local registry and a folder of DAG files.

mod recovery;

use std::collections::BTreeMap;

use insta::assert_snapshot;
use serde_json::Value;

use crate::harness::{CommandOutput, DCP, Sandbox};

const STREAM: &str = "manifests/clicks-per-store.yaml";
const BATCH: &str = "manifests/orders-daily.yaml";

fn applied() -> Sandbox {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    sandbox
}

/// Returns the output with the time of the last apply replaced.
fn normalized(ran: &CommandOutput) -> String {
    let mut shown = ran.transcript();
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
            let name = path.file_name().expect("the path has a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("the file can be read"))
        })
        .collect()
}

/// Removes the lines that name the revision from DAG files.
fn without_revisions(dags: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let line = |line: &str| !line.trim_start().starts_with("\"- revision: ");
    let text = |text: &str| text.lines().filter(|it| line(it)).collect::<Vec<_>>().join("\n");
    dags.into_iter().map(|(name, content)| (name, text(&content))).collect()
}

#[test]
fn second_apply_has_nothing_to_do() {
    let sandbox = Sandbox::quickstart();
    assert_snapshot!("first_plan", normalized(&sandbox.run(&["plan"]).exits_with(0)));
    sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(2);
    assert!(dags(&sandbox).is_empty(), "a plan changes nothing");
    assert_snapshot!("first_apply", normalized(&sandbox.run(&["apply", "--auto-approve"]).exits_with(0)));
    let written = dags(&sandbox);
    assert_eq!(written.len(), 3);
    assert_snapshot!("second_apply", normalized(&sandbox.run(&["apply", "--auto-approve"]).exits_with(0)));
    assert_eq!(dags(&sandbox), written);
    sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(0);
    let history = sandbox.run(&["history", "--output", "json"]).exits_with(0).json();
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
    std::fs::remove_file(sandbox.join("manifests/pi.yaml")).expect("the file exists");
    sandbox
}

#[test]
fn plan_lists_dangerous_changes_first() {
    let sandbox = edited();
    assert_snapshot!("dangerous_plan", normalized(&sandbox.run(&["plan"]).exits_with(0)));
    assert_snapshot!(
        "dangerous_markdown",
        normalized(&sandbox.run(&["plan", "--output", "markdown"]).exits_with(0))
    );
}

#[test]
fn github_output_annotates_dangerous_changes_at_their_lines() {
    let sandbox = edited();
    let plan = || sandbox.run(&["plan", "--output", "github"]).exits_with(0).stdout;
    let first = "::error file=manifests/clicks-per-store.yaml,line=21,col=";
    let annotations = plan();
    assert!(annotations.starts_with(first) && annotations.lines().count() == 1, "{annotations}");
    assert!(
        annotations.contains(
            "title=reset logistics/clicks-per-store%3A the checkpoint can't be kept; live%3A not started::"
        ),
        "{annotations}"
    );
    assert!(
        annotations.ends_with("%0Aconsent: dcp apply --allow-reset logistics/clicks-per-store\n"),
        "{annotations}"
    );
    sandbox.edit(STREAM, "upgrade: {", "upgrade: {reset: allow, ");
    assert!(plan().starts_with("::warning file="), "{}", plan());
    std::fs::remove_file(sandbox.join(STREAM)).expect("the file exists");
    assert!(plan().starts_with("::error title=delete logistics/clicks-per-store%3A "), "{}", plan());
}

#[test]
fn plan_fits_80_columns() {
    let plan = edited().run(&["plan"]).exits_with(0);
    for line in plan.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn checkpoint_reset_needs_consent() {
    let sandbox = edited();
    let refused = sandbox.run(&["apply", "--auto-approve"]).exits_with(1);
    refused.prints("needs consent: nothing was applied").prints("--allow-reset logistics/clicks-per-store");
    sandbox.run(&["apply", "--auto-approve", "--allow-reset", "logistics/other"]).exits_with(1);
    sandbox.edit(STREAM, "  resources:", "  lifecycle: {preventDestroy: true}\n  resources:");
    let never = sandbox.run(&["apply", "--auto-approve", "--allow-reset", "all"]).exits_with(1);
    never.prints("`lifecycle.preventDestroy`");
    sandbox.edit(STREAM, "  lifecycle: {preventDestroy: true}\n", "");
    let done = sandbox.run(&["apply", "--auto-approve", "--allow-reset", "logistics/clicks-per-store"]);
    done.exits_with(0).prints("applied serial 2");
    let revisions =
        sandbox.run(&["show", "ContinuousJob/logistics/clicks-per-store", "--revisions"]).exits_with(0);
    revisions.prints("revision 2, serial 2: reset").prints("revision 1, serial 1: create");
    assert!(!dags(&sandbox).contains_key("sandbox__pi.py"), "a deleted workload has no DAG");
}

#[test]
fn apply_without_terminal_needs_auto_approve() {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply"]).exits_with(1).prints("there is no terminal to ask on").prints("--auto-approve");
    assert!(dags(&sandbox).is_empty());
    sandbox.run(&["history"]).exits_with(0).prints("nothing was ever applied");
}

#[test]
fn saved_plan_is_applied_exactly_or_rejected() {
    let sandbox = edited();
    sandbox.run(&["plan", "--out", "plan.json"]).exits_with(0).prints("dcp apply plan.json");
    // Later changes of the manifests have no effect on a saved plan.
    sandbox.edit(BATCH, "0 3 * * *", "0 4 * * *");
    let consent = ["apply", "plan.json", "--auto-approve", "--allow-reset", "all"];
    sandbox.run(&consent).exits_with(0).prints("applied serial 2");
    assert!(dags(&sandbox)["logistics__orders-daily.py"].contains("0 3 * * *"));
    // A second apply of the same plan is based on an outdated state.
    sandbox
        .run(&consent)
        .exits_with(1)
        .prints("the plan was made against serial 1")
        .prints("serial 2 was applied by");
    sandbox.run(&["plan", "--out", "other.json"]).exits_with(0);
    let by_hand = sandbox.read("other.json").replacen("0 4 * * *", "0 5 * * *", 1);
    sandbox.write("other.json", by_hand);
    sandbox
        .run(&["apply", "other.json", "--auto-approve"])
        .exits_with(1)
        .prints("it was changed after it was made");
    sandbox.write("none.json", "{\"format\": 1}");
    sandbox.run(&["apply", "none.json", "--auto-approve"]).exits_with(1).prints("it is no plan of dcp");
    sandbox.run(&["apply", "absent.json", "--auto-approve"]).exits_with(1).prints("absent.json");
    sandbox.run(&["plan", "--out", "mine.json"]).exits_with(0);
    sandbox.edit("dcp.yaml", "project: quickstart", "project: other");
    sandbox
        .run(&["apply", "mine.json", "--auto-approve"])
        .exits_with(2)
        .prints("is a plan for `quickstart/dev`");
}

#[test]
fn only_one_of_two_concurrent_plans_is_applied() {
    let sandbox = applied();
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["plan", "--out", "one.json"]).exits_with(0);
    sandbox.edit("manifests/customer-segments.yaml", "instances: 2", "instances: 3");
    sandbox.run(&["plan", "--out", "two.json"]).exits_with(0);
    let run = |plan: &str| {
        sandbox
            .command(&DCP)
            .args(["apply", plan, "--auto-approve"])
            .output()
            .expect("the program can be run")
    };
    let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
        let both = ["one.json", "two.json"].map(|plan| scope.spawn(move || run(plan).status.code()));
        both.into_iter().map(|one| one.join().expect("the process or thread ends")).collect()
    });
    let won = codes.iter().filter(|code| **code == Some(0)).count();
    assert_eq!((won, codes.len()), (1, 2), "{codes:?}");
    sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(0);
    let history = sandbox.run(&["history", "--output", "json"]).json();
    assert_eq!(history.as_array().map(Vec::len), Some(2));
}

#[test]
fn rollback_restores_an_earlier_serial() {
    let sandbox = applied();
    let before = dags(&sandbox);
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.edit(STREAM, "memory: 4g", "memory: 8g");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    assert_ne!(dags(&sandbox), before);
    assert_snapshot!(
        "rollback",
        normalized(&sandbox.run(&["rollback", "1", "--auto-approve"]).exits_with(0))
    );
    assert_eq!(without_revisions(dags(&sandbox)), without_revisions(before));
    assert!(dags(&sandbox)["logistics__orders-daily.py"].contains("\"- revision: 3\\n\""));
    sandbox.run(&["rollback", "1", "--auto-approve"]).exits_with(0).prints("nothing to do");
    sandbox.run(&["rollback", "9"]).exits_with(2).prints("there is no serial 9 yet: the last one is 3");
    let shown = sandbox
        .run(&["show", "CoreEtlJob/logistics/clicks-per-store", "--revision", "2"])
        .exits_with(0)
        .json();
    assert_eq!(shown["body"]["resources"]["executors"]["memory"], Value::from("8g"));
    sandbox
        .run(&["show", "logistics/click-per-store"])
        .exits_with(1)
        .prints("did you mean `logistics/clicks-per-store`?");
}

#[test]
fn destroyed_workloads_can_be_applied_again() {
    let sandbox = applied();
    let before = dags(&sandbox);
    sandbox
        .run(&["destroy", "--auto-approve"])
        .exits_with(1)
        .prints("--allow-delete logistics/clicks-per-store");
    assert_snapshot!(
        "destroy",
        normalized(&sandbox.run(&["destroy", "--auto-approve", "--allow-delete", "all"]).exits_with(0))
    );
    assert!(dags(&sandbox).is_empty());
    sandbox.run(&["show", "logistics/orders-daily"]).exits_with(0).prints("it was deleted with serial 2");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    assert_eq!(without_revisions(dags(&sandbox)), without_revisions(before));
    let revisions = sandbox.run(&["show", "CoreEtlJob/logistics/orders-daily", "--revisions"]).exits_with(0);
    revisions.prints("revision 3, serial 3: create").prints("revision 2, serial 2: delete");
}

#[test]
fn drift_is_reported_and_repaired() {
    let sandbox = applied();
    let before = dags(&sandbox);
    sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(0).prints("the DAG folder is as applied");
    sandbox.edit(".dcp/dags/logistics__orders-daily.py", "0 2 * * *", "0 9 * * *");
    std::fs::remove_file(sandbox.join(".dcp/dags/sandbox__pi.py")).expect("the file exists");
    let extra = before["sandbox__pi.py"].clone();
    sandbox.write(".dcp/dags/other__one.py", extra).write(".dcp/dags/by_hand.py", "# mine\n");
    assert_snapshot!("drift", normalized(&sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(2)));
    sandbox.run(&["drift", "--repair"]).exits_with(0).prints("2 DAG files put in place");
    let mut after = dags(&sandbox);
    assert!(
        after.remove("other__one.py").is_some() && after.remove("by_hand.py").is_some(),
        "files of others are not removed"
    );
    assert_eq!(after, before);
}

#[test]
fn plan_covers_selected_workloads_only() {
    let sandbox = edited();
    let plan = |args: &[&str]| {
        let value = sandbox.run(&[&["plan", "--output", "json"], args].concat()).exits_with(0).json();
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
    assert_eq!(plan(&[BATCH]), ["update orders-daily"], "workloads of other files are not deleted");
    sandbox
        .run(&["plan", "--select", "logistics/order-daily"])
        .exits_with(2)
        .prints("did you mean `logistics/orders-daily`?");
    sandbox.run(&["plan", "--select", "nonsense"]).exits_with(2).prints("names no workload");
}

#[test]
fn invalid_manifest_changes_nothing() {
    let sandbox = applied();
    let before = dags(&sandbox);
    sandbox.edit(BATCH, "schedule:", "shedule:");
    sandbox.run(&["plan"]).exits_with(1).prints("nothing was planned");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(1).prints("nothing was planned");
    assert_eq!(dags(&sandbox), before);
}

#[test]
fn plan_and_state_contain_no_secret() {
    let sandbox = Sandbox::quickstart();
    sandbox.edit(
        "manifests/pi.yaml",
        "  run:",
        "  spark: {hadoopConf: {fs.s3a.secret.key: \"${secret.s3/key}\"}}\n  run:",
    );
    sandbox.run(&["plan", "--out", "plan.json"]).exits_with(0);
    assert!(sandbox.read("plan.json").contains("${secret.s3/key}"), "the plan has the reference only");
    sandbox.edit("manifests/pi.yaml", "${secret.s3/key}", "wJalrXUtnFEMIK7MDENG");
    let refused = sandbox.run(&["plan", "--out", "secret.json"]).exits_with(1);
    assert!(!refused.transcript().contains("wJalrXUtnFEMIK7MDENG"));
    assert!(!sandbox.join("secret.json").exists());
}

#[test]
fn dag_folder_is_configurable() {
    let sandbox = Sandbox::quickstart();
    sandbox.edit("dcp.yaml", "project: quickstart", "project: quickstart\ndags: airflow/dags");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    assert!(sandbox.join("airflow/dags/sandbox__pi.py").is_file() && dags(&sandbox).is_empty());
    // A folder outside of the project is not created, because it may be a mount that is missing.
    let elsewhere = Sandbox::new();
    let folder = elsewhere.join("not-there");
    sandbox.edit("dcp.yaml", "dags: airflow/dags", &format!("dags: {}", folder.display()));
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(1).prints("not-there");
    assert!(!folder.exists());
}

#[test]
fn progress_is_printed_to_stderr() {
    let sandbox = applied();
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    std::fs::remove_file(sandbox.join("manifests/pi.yaml")).expect("the file exists");
    let done = sandbox.run(&["apply", "--auto-approve", "--output", "json"]).exits_with(0);
    assert_eq!(done.json()["serial"], 2, "stdout has the result, and nothing else");
    let steps = "staged 1 DAG file\ncommitted serial 2\nswitched 1 DAG file\nremoved 1 DAG file\n";
    assert_eq!(done.stderr, steps);
    let done = sandbox.run(&["rollback", "1", "--auto-approve", "--quiet"]).exits_with(0);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
}

#[test]
fn history_counts_workloads_as_the_plan_does_and_fits_80_columns() {
    let sandbox = Sandbox::project();
    sandbox.run(&["plan"]).exits_with(0).prints("2 create");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    let history = sandbox.run(&["history"]).exits_with(0).prints("SERIAL").prints("2 create");
    assert!(history.stdout.lines().all(|line| line.chars().count() <= 80), "{}", history.transcript());
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
    sandbox.run(&["plan"]).exits_with(0).prints("1 update");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    sandbox.run(&["history", "--limit", "1"]).exits_with(0).prints("1 update");
}

#[test]
fn messages_of_destroy_do_not_mention_apply() {
    let sandbox = Sandbox::project();
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    let refused = sandbox.run(&["destroy"]).exits_with(1).prints("needs consent: nothing was destroyed");
    assert!(!refused.stderr.contains("applied"), "{}", refused.transcript());
    let refused = sandbox.run(&["destroy", "--allow-delete", "sales/clicks-per-store"]).exits_with(1);
    let refused = refused.prints("nothing was destroyed").prints("dcp destroy --auto-approve");
    assert!(!refused.stderr.contains("applied"), "{}", refused.transcript());
}
