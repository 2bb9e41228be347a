//! Compares the documented output formats with the output.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::Sandbox;

const MARK: &str = "<!-- From here on what dcp writes";

/// Returns a plan with many kinds of changes: after an apply, a stream gets another key, and a workload is deleted.
fn plan() -> Value {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    let keys = "GROUP BY window(c.ts, '5 minutes'), s.name";
    sandbox.edit("manifests/clicks-per-store.yaml", keys, &format!("{keys}, s.country"));
    std::fs::remove_file(sandbox.join("manifests/pi.yaml")).expect("the file exists");
    let written = sandbox.run(&["plan", "--output", "json"]).exits_with(0);
    sandbox.run(&["plan", "--out", "plan.json"]).exits_with(0);
    assert_eq!(written.stdout, sandbox.read("plan.json"), "both outputs have the same format");
    written.json()
}

/// Replaces values that differ between runs, and shortens long ones.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match (key.as_str(), value.as_str().map(str::len)) {
                    ("at", Some(_)) => *value = "2026-11-21T10:00:00Z".into(),
                    ("id" | "lineage", Some(_)) => *value = "0b5e…".into(),
                    ("digest" | "before" | "after", Some(_)) => *value = "9f3c…".into(),
                    ("body", Some(_)) => *value = "{…}".into(),
                    _ => shorten(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}

/// Collects the names of all fields, except those of a map.
fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.insert(key.clone());
                if key != "counts" {
                    fields(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, found)),
        _ => {}
    }
}

#[test]
fn plan_document_matches_the_plan_format() {
    let path = dcp_tests::workspace().join("docs/plan.md");
    let page = std::fs::read_to_string(&path).expect("the document exists");
    let at = page.find(MARK).expect("the page has its mark");
    let written = at + page[at..].find('\n').expect("the mark has a line of its own") + 1;
    let mut plan = plan();
    let mut found = BTreeSet::new();
    fields(&plan, &mut found);
    let missing: Vec<_> = found.iter().filter(|field| !page[..at].contains(&format!("`{field}`"))).collect();
    assert!(missing.is_empty(), "docs/plan.md does not describe {missing:?}");
    shorten(&mut plan);
    let example = format!("\n```json\n{plan:#}\n```\n");
    if dcp_tests::update_golden() {
        std::fs::write(&path, format!("{}{example}", &page[..written])).expect("the page can be written");
        return;
    }
    assert_eq!(page[written..], example, "UPDATE_GOLDEN=1 updates the document; read the diff");
}
