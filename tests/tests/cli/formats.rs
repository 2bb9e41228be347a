//! Machine-readable reports and graphs.

use insta::assert_snapshot;

use crate::harness::Sandbox;

const BATCH: &str = "manifests/orders-daily.yaml";

fn broken() -> Sandbox {
    let sandbox = Sandbox::project();
    sandbox.edit(BATCH, "executors:", "exectuors:");
    sandbox.write("manifests/twice, 100%.yaml", sandbox.read("manifests/clicks-per-store.yaml"));
    sandbox
}

#[test]
fn json_has_every_diagnostic() {
    let ran = broken().run(&["validate", "--output", "json"]).exits_with(1);
    assert_snapshot!("validate_json", ran.stdout);
    let report = ran.json();
    assert_eq!(
        report["summary"]["errors"],
        report["diagnostics"].as_array().expect("the value is a list").len()
    );
    let fine = Sandbox::project().run(&["validate", "--output", "json"]).exits_with(0).json();
    assert_eq!(fine["diagnostics"], serde_json::json!([]));
}

#[test]
fn sarif_is_valid_for_code_scanning() {
    let ran = broken().run(&["validate", "--output", "sarif"]).exits_with(1);
    let log = ran.json();
    assert_eq!((&log["version"], log["runs"].as_array().map(Vec::len)), (&"2.1.0".into(), Some(1)));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("the value is a list");
    for result in run["results"].as_array().expect("the value is a list") {
        let rule = usize::try_from(result["ruleIndex"].as_u64().expect("the value is a number"))
            .expect("the number is small");
        assert_eq!(rules[rule]["id"], result["ruleId"]);
        assert!(result["message"]["text"].is_string());
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["region"]["startLine"].as_u64() >= Some(1), "{result}");
        let uri = place["artifactLocation"]["uri"].as_str().expect("the value is text");
        assert!(!uri.contains([' ', ',']), "{uri}");
    }
    assert_valid_sarif(&log);
    let text = ran.stdout.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    // The text of pages grows, and the test of `explain` covers it.
    let text: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("\"markdown\"")).collect();
    assert_snapshot!("validate_sarif", text.join("\n"));
}

/// Checks a log against the schema of the standard.
#[track_caller]
fn assert_valid_sarif(log: &serde_json::Value) {
    let schema = include_str!("../../sarif/sarif-schema-2.1.0.json");
    // JavaScript reads an unmatched bracket literally; Rust's regular expressions reject it.
    let schema = schema.replace("-[a-zA-Z]{2}]?$", "-[a-zA-Z]{2}\\\\]?$");
    let schema = serde_json::from_str(&schema).expect("the schema is JSON");
    let validator = jsonschema::options().should_validate_formats(true).build(&schema);
    let validator = validator.expect("the schema is valid");
    let wrong: Vec<String> =
        validator.iter_errors(log).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sarif_of_every_kind_of_diagnostic_matches_the_schema() {
    // Diagnostics without a position, in a file with SQL and in an overlay, and a log without diagnostics.
    let empty = Sandbox::new();
    empty.write("dcp.yaml", "project: shop\n").write("manifests/.keep", "");
    assert_valid_sarif(&empty.run(&["validate", "-o", "sarif"]).exits_with(0).json());
    let sandbox = Sandbox::project();
    sandbox.edit("dcp.yaml", "{memory: 1g}", "{memory: 1x}");
    sandbox
        .edit(BATCH, "owner:", "ownr:")
        .write("manifests/empty.yaml", "")
        .write("manifests/b.yaml", [0xff]);
    assert_valid_sarif(&sandbox.run(&["validate", "-o", "sarif", "--target", "dev"]).exits_with(1).json());
    sandbox.write("dcp.yaml", "\t");
    assert_valid_sarif(&sandbox.run(&["validate", "-o", "sarif"]).exits_with(1).json());
}

#[test]
fn github_output_has_annotations() {
    let sandbox = broken();
    assert_snapshot!(
        "validate_github",
        sandbox.run(&["validate", "--output", "github"]).exits_with(1).transcript()
    );
}

#[test]
fn github_and_sarif_paths_are_relative_to_the_repository() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.join(".git")).expect("a folder can be made");
    sandbox.run(&["init", "teams/shop", "-q"]).exits_with(0);
    sandbox.edit("teams/shop/manifests/orders-daily.yaml", "owner:", "onwer:");
    let github = sandbox.run_in("teams/shop", &["validate", "-o", "github"]).exits_with(1);
    github.prints("file=teams/shop/manifests/orders-daily.yaml,line=");
    let sarif = sandbox.run_in("teams/shop", &["validate", "-o", "sarif"]).exits_with(1);
    sarif.prints("\"uri\": \"teams/shop/manifests/orders-daily.yaml\"");
}

#[test]
fn graph_is_printed_in_each_format() {
    let sandbox = Sandbox::project();
    let batch = sandbox.read(BATCH);
    let second = batch
        .replace("name: orders-daily", "name: best-stores")
        .replace("orders_daily", "best_stores")
        .replace("lake.raw.orders", "lake.mart.orders_daily");
    sandbox.write("manifests/best.yaml", second);
    for format in ["text", "dot", "mermaid", "json"] {
        let ran = sandbox.run(&["graph", "--output", format]).exits_with(0);
        assert_eq!(ran.stderr, "");
        assert_snapshot!(format!("graph_{format}"), ran.stdout);
        if format == "text" {
            assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
        }
    }
}

#[test]
fn graph_is_printed_despite_errors() {
    let sandbox = Sandbox::project();
    sandbox.edit(BATCH, "executors:", "exectuors:");
    let ran = sandbox.run(&["graph"]).exits_with(1);
    assert!(ran.stdout.starts_with("sales/clicks-per-store"), "{}", ran.transcript());
    assert!(ran.stderr.contains("error[DCP0012]"), "{}", ran.transcript());
}

#[test]
fn text_output_is_limited_to_200_errors() {
    let sandbox = Sandbox::new();
    for number in 0..250 {
        sandbox.write(&format!("{number:03}.yaml"), "kind: Other\n");
    }
    let ran = sandbox.run(&["validate"]).exits_with(1).prints("and 50 more; `--output json` has them all");
    assert_eq!(ran.stdout.matches("error[").count(), 200);
    ran.prints("250 errors in 250 of 250 manifests");
    let json = sandbox.run(&["validate", "-o", "json"]).json();
    assert_eq!(json["diagnostics"].as_array().map(Vec::len), Some(250));
}

#[test]
fn summary_counts_manifests_and_not_files() {
    let manifest = |name: &str, job: &str| {
        format!(
            "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: sales, owner: x}}\n\
             spec:\n  engine: {{version: \"4.1\"}}\n  job: {{sql: {job}}}\n  run: {{manual: {{}}}}\n"
        )
    };
    let good = |name: &str| manifest(name, "{query: SELECT 1}");
    let sandbox = Sandbox::project();
    let several = [&good("a"), "nonsense: 1\n---\n", &good("b"), "---\n", &manifest("c", "{file: c.sql}")];
    sandbox.write("manifests/several.yaml", several.concat()).write("c.sql", "SELEC 1");
    sandbox.run(&["validate"]).exits_with(1).prints("2 errors in 2 of 5 manifests\n");
    // A manifest that can't be parsed counts as one, and a manifest with several errors counts once.
    let broken = [&good("a"), "---\n", &good("b"), "x: 1\ny: 1\n---\na: b: c\n"];
    sandbox.write("manifests/several.yaml", broken.concat());
    sandbox.run(&["validate"]).exits_with(1).prints("3 errors in 2 of 5 manifests\n");
    sandbox.write("manifests/several.yaml", [&good("a"), "---\n", &good("a")].concat());
    sandbox.run(&["validate"]).exits_with(1).prints("1 error in 1 of 4 manifests\n");
    sandbox.edit("dcp.yaml", "variables:", "vriables:");
    sandbox.run(&["validate"]).exits_with(1).prints("no manifest was checked\n");
}
