//! Compares renderings with `templates/golden`. `UPDATE_GOLDEN=1 cargo test airflow` updates them.

use std::path::PathBuf;

use dcp_compiler::airflow::{file_name, render};
use dcp_model::dag::Dag;

use crate::{python, samples};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../templates/golden")
}

#[test]
fn rendered_files_match_the_golden_files() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, dag) in samples::all() {
        let path = folder().join(format!("{name}.py"));
        let rendered = render(&dag);
        if update {
            std::fs::write(&path, &rendered).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(rendered == golden, "{name}.py differs from its golden file; rendered:\n{rendered}");
    }
}

#[test]
fn every_golden_file_has_its_sample() {
    let mut found: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected: Vec<String> = samples::all().iter().map(|(name, _)| format!("{name}.py")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// Checks that Python parses each file, and that each file imports exactly the names that it uses.
const IMPORTS: &str = r"
import ast, json, sys
for line in sys.stdin:
    tree = ast.parse(json.loads(line).encode())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    loaded = {n.id for n in names if isinstance(n.ctx, ast.Load)}
    print(sorted(imported ^ (loaded - stored)))
";

#[test]
fn rendered_files_import_exactly_the_names_they_use() {
    let sources: Vec<String> = samples::all().iter().map(|(_, dag)| render(dag)).collect();
    assert_eq!(python::run(IMPORTS, &sources), "[]\n".repeat(sources.len()));
}

#[test]
fn unknown_upstream_task_is_rendered_for_airflow_to_reject() {
    let mut dag = samples::all().into_iter().find(|(name, _)| *name == "tasks").unwrap().1;
    dag.tasks[1].upstream = vec!["no \"such\" task".to_owned()];
    assert!(render(&dag).contains("    dag.get_task('no \"such\" task') >> task_1\n"));
}

#[test]
fn documentation_is_never_a_file_name() {
    let dag = Dag { doc: "/etc/secret.md".to_owned(), ..samples::all().swap_remove(0).1 };
    assert!(render(&dag).contains("    doc_md=\"/etc/secret.md\\n\",\n"));
}

#[test]
fn dag_round_trips_through_json() {
    for (_, dag) in samples::all() {
        let json = serde_json::to_string(&dag).unwrap();
        assert_eq!(serde_json::from_str::<Dag>(&json).unwrap(), dag);
    }
}

#[test]
fn a_file_name_stays_in_its_folder() {
    assert_eq!(file_name("logistics__orders-daily"), "logistics__orders-daily.py");
    assert_eq!(file_name("v1.2"), "v1.2.py");
    assert_eq!(file_name("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd.py");
    assert_eq!(file_name("a%2Fb\0ä"), "a%252Fb%00%C3%A4.py");
}
