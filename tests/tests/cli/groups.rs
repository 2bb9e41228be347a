//! Workloads that share a DAG, in every command that handles workloads.

use std::fs;

use insta::assert_snapshot;

use crate::harness::Sandbox;

const DAG: &str = ".dcp/dags/shop__nightly.py";
const CLEAN: &str = "manifests/clean.yaml";

/// Returns a project with a group of three, and `mail`, which waits for the table of the last one.
fn grouped() -> Sandbox {
    let sandbox = Sandbox::new();
    let manifest = |name: &str, reads: &str, run: &str, group: &str| {
        format!(
            "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: shop, owner: a@example.com}}\nspec:\n  \
             engine: {{version: \"4.1\"}}\n  job:\n    sql: {{query: INSERT INTO lake.{name} SELECT * FROM {reads}}}\n  \
             run: {run}\n{group}"
        )
    };
    let (night, group) = ("{schedule: {cron: \"0 2 * * *\"}}", "  orchestrator: {group: nightly}\n");
    let waits = |table: &str| format!("{{onAssets: {{all: [{{table: lake.{table}}}]}}}}");
    sandbox
        .write("dcp.yaml", "project: shop\n")
        .write("manifests/orders.yaml", manifest("orders", "lake.raw", night, group))
        .write(CLEAN, manifest("clean", "lake.orders", night, group))
        .write("manifests/report.yaml", manifest("report", "lake.clean", &waits("clean"), group))
        .write("manifests/mail.yaml", manifest("mail", "lake.report", &waits("report"), ""));
    sandbox
}

fn applied() -> Sandbox {
    let sandbox = grouped();
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    sandbox
}

#[test]
fn lineage_has_waiters_within_a_group() {
    let sandbox = grouped();
    // Then `report` depends on the table by its trigger alone.
    sandbox.edit("manifests/report.yaml", "SELECT * FROM lake.clean", "SELECT 1 AS one");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    let output = sandbox.run(&["assets", "table:lake.clean", "--output", "json"]).exits_with(0).json();
    assert_eq!(output["waiters"], serde_json::json!(["shop/report"]), "{output}");
    let output = sandbox.run(&["assets", "table:lake.report", "--output", "json"]).exits_with(0).json();
    assert_eq!(output["waiters"], serde_json::json!(["shop/mail"]), "{output}");
}

#[test]
fn group_is_planned_applied_shown_and_deleted() {
    let sandbox = grouped();
    assert_snapshot!("group_graph", sandbox.run(&["graph"]).exits_with(0).stdout);
    let graph = sandbox.run(&["graph", "--output", "json"]).exits_with(0).json();
    assert_eq!(graph["workloads"][0]["group"], "nightly", "{graph}");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0).prints("2 DAG files written");
    assert!(sandbox.read(DAG).contains("- revision: 1"), "{}", sandbox.read(DAG));
    for _ in 0..2 {
        sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(0).prints("5 unchanged");
    }
    sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(0);
    let shown = sandbox.run(&["show", "shop/nightly"]).exits_with(0).json();
    assert_eq!(shown["address"], "Orchestrator/shop/nightly");

    sandbox.edit(CLEAN, "FROM lake.orders", "FROM lake.orders WHERE id > 0");
    assert_snapshot!("group_plan", plan(&sandbox));
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    assert!(sandbox.read(DAG).contains("- revision: 2"));
    sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(0);

    fs::remove_file(sandbox.join("manifests/report.yaml")).expect("the file exists");
    sandbox.edit("manifests/mail.yaml", "lake.report}]", "lake.clean}]");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    assert!(!sandbox.read(DAG).contains("report"));
    for name in ["orders", "clean"] {
        sandbox.edit(&format!("manifests/{name}.yaml"), "  orchestrator: {group: nightly}\n", "");
    }
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0).prints("removed");
    assert!(!sandbox.join(DAG).exists());
    assert!(sandbox.join(".dcp/dags/shop__clean.py").exists());
    sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(0);
    sandbox.run(&["rollback", "1", "--auto-approve"]).exits_with(0);
    assert!(sandbox.read(DAG).contains("- revision: 5"), "{}", sandbox.read(DAG));
    assert!(!sandbox.join(".dcp/dags/shop__clean.py").exists());
    sandbox.run(&["drift", "--detailed-exitcode"]).exits_with(0);
}

/// Returns the plan without the line that contains the time of the last apply.
fn plan(sandbox: &Sandbox) -> String {
    let plan = sandbox.run(&["plan"]).exits_with(0).stdout;
    plan.lines().filter(|line| !line.contains("applied by")).collect::<Vec<_>>().join("\n")
}

/// The DAG of a group depends on several files, so their results can't be cached separately.
#[test]
fn workloads_of_groups_are_not_cached() {
    let sandbox = applied();
    sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(0);
    let shards = fs::read_dir(sandbox.join(".dcp/cache/default")).expect("a plan writes it");
    let shards = shards
        .map(|shard| fs::read(shard.expect("the file can be read").path()).expect("the file can be read"));
    let cached = String::from_utf8_lossy(&shards.collect::<Vec<_>>().concat()).into_owned();
    assert!(cached.contains("manifests/mail.yaml") && !cached.contains("manifests/clean.yaml"), "{cached}");
    sandbox.edit(CLEAN, "\"0 2 * * *\"", "\"0 3 * * *\"");
    sandbox.run(&["plan"]).exits_with(1).prints("differ in `cron`");
    sandbox.edit("manifests/orders.yaml", "\"0 2 * * *\"", "\"0 3 * * *\"");
    sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(2).prints("0 2 * * * → 0 3 * * *");
    // Two manifests in one file, one of them in a group.
    let (clean, mail) = (sandbox.read(CLEAN), sandbox.read("manifests/mail.yaml"));
    fs::remove_file(sandbox.join(CLEAN)).expect("the file exists");
    sandbox.write("manifests/mail.yaml", format!("{mail}---\n{clean}"));
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    for _ in 0..2 {
        sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(0);
    }
}

#[test]
fn group_is_selected_as_a_whole() {
    let sandbox = applied();
    sandbox.edit(CLEAN, "FROM lake.orders", "FROM lake.orders WHERE id > 0");
    sandbox.edit("manifests/orders.yaml", "FROM lake.raw", "FROM lake.raw WHERE id > 0");
    sandbox.edit("manifests/mail.yaml", "FROM lake.report", "FROM lake.report WHERE id > 0");
    let select = |what: &str| sandbox.run(&["plan", "--select", what]).exits_with(0).stdout;
    let of_one = select("shop/clean");
    for chosen in ["shop/clean ", "shop/orders ", "shop/nightly "] {
        assert!(of_one.contains(chosen), "{of_one}");
    }
    assert!(!of_one.contains("shop/mail "), "{of_one}");
    assert_eq!(of_one, select("shop/nightly"));
    let of_another = select("shop/mail");
    assert!(of_another.contains("shop/mail ") && !of_another.contains("shop/clean "), "{of_another}");

    let some = sandbox.run(&["plan", CLEAN, "manifests/orders.yaml"]).exits_with(1);
    some.prints("`shop/report` is a task of the group `shop/nightly`");
    let all = ["plan", CLEAN, "manifests/orders.yaml", "manifests/report.yaml"];
    sandbox.run(&all).exits_with(0).prints("shop/nightly");
    sandbox.run(&["plan", "manifests/mail.yaml"]).exits_with(0).prints("shop/mail");

    let part = sandbox.run(&["destroy", "--select", "shop/clean", "--auto-approve"]);
    assert_ne!(part.code, 0);
    part.prints("can't be chosen without");
    sandbox.run(&["destroy", "--select", "shop/mail", "--auto-approve"]).exits_with(0);
    sandbox.run(&["destroy", "--auto-approve"]).exits_with(0);
    assert!(!sandbox.join(DAG).exists());
}
