//! Statements with a known verdict: Spark parses, analyses or rejects them, and dcp agrees.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use dcp_compiler::compile::{Compiler, Goal};
use dcp_compiler::project::Project;
use dcp_compiler::sql::{Detail, Reading, read};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statements {
    read: Vec<String>,
    refused: Vec<String>,
    analysed: Vec<String>,
    unknown_functions: Vec<String>,
    ungrouped: Vec<String>,
}

impl Statements {
    fn load() -> Self {
        let path = dcp_tests::workspace().join("tests/tests/spark_sql/statements.yaml");
        let text = std::fs::read_to_string(path).expect("the file can be read");
        serde_yaml_ng::from_str(&text).expect("the file has lists of statements")
    }
}

#[test]
fn statements_that_spark_parses_are_read_without_error() {
    let unread = |sql: &&String| match read(sql, Detail::Shape) {
        Reading::Known(facts) => !facts.unsupported_forms.is_empty(),
        Reading::Malformed { .. } | Reading::Unknown { .. } => true,
    };
    let statements = Statements::load().read;
    let unread: Vec<&String> = statements.iter().filter(unread).collect();
    assert!(unread.is_empty(), "{unread:#?}");
}

#[test]
fn statements_that_spark_rejects_are_rejected() {
    let accepted = |sql: &&String| match read(sql, Detail::Lineage) {
        Reading::Known(facts) => facts.unsupported_forms.is_empty(),
        Reading::Malformed { .. } => false,
        Reading::Unknown { .. } => true,
    };
    let statements = Statements::load().refused;
    let accepted: Vec<&String> = statements.iter().filter(accepted).collect();
    assert!(accepted.is_empty(), "{accepted:#?}");
}

/// Returns the codes that dcp reports for a statement in a workload.
fn reported(sql: &str) -> Vec<String> {
    let text = serde_json::to_string(sql).expect("text is JSON");
    let manifest = format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: a, domain: b, owner: c@example.com}}\n\
         spec:\n  engine: {{version: \"4.1\"}}\n  job: {{sql: {{query: {text}}}}}\n  run: {{manual: {{}}}}\n"
    );
    let project = Project::none();
    let compiler = Compiler {
        project: &project,
        project_source: None,
        project_diagnostics: Vec::new(),
        goal: Goal::Compile,
    };
    let files = BTreeMap::from([("a.yaml".to_owned(), manifest)]);
    let compilation = compiler.link(vec![compiler.analyze(0, "a.yaml", &files)]);
    compilation.diagnostics.iter().map(|it| it.code.to_string()).collect()
}

/// Returns the statements whose reported codes differ from `codes`.
fn not_reported<'a>(statements: &'a [String], codes: &[&str]) -> Vec<(&'a String, Vec<String>)> {
    let reported = statements.iter().map(|sql| (sql, reported(sql)));
    reported.filter(|(_, reported)| reported != codes).collect()
}

#[test]
fn analysed_statements_get_the_codes_of_the_errors_of_spark() {
    let statements = Statements::load();
    for (statements, codes) in [
        (&statements.analysed, &[][..]),
        (&statements.unknown_functions, &["DCP0130"]),
        (&statements.ungrouped, &["DCP0131"]),
    ] {
        let wrong = not_reported(statements, codes);
        assert!(wrong.is_empty(), "expected {codes:?}: {wrong:#?}");
    }
}

mod spark {
    use super::*;

    #[test]
    fn spark_parses_and_rejects_the_same_statements() {
        let Statements { read, refused, .. } = Statements::load();
        let statements: Vec<&String> = read.iter().chain(&refused).collect();
        let verdicts = verdicts(&statements, false);
        let wrong: Vec<_> = statements
            .iter()
            .zip(&verdicts)
            .enumerate()
            .filter(|(index, (_, verdict))| (*index < read.len()) != verdict.is_none())
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn spark_analyses_and_rejects_the_same_statements() {
        let Statements { analysed, unknown_functions, ungrouped, .. } = Statements::load();
        let expected: [(&[String], &[&str]); 3] = [
            (&analysed, &[]),
            (
                &unknown_functions,
                &["UNRESOLVED_ROUTINE", "ROUTINE_NOT_FOUND", "UNRESOLVABLE_TABLE_VALUED_FUNCTION"],
            ),
            (&ungrouped, &["MISSING_AGGREGATION", "MISSING_GROUP_BY"]),
        ];
        let cases: Vec<(&String, &[&str])> = expected
            .iter()
            .flat_map(|(list, conditions)| list.iter().map(|sql| (sql, *conditions)))
            .collect();
        let statements: Vec<&String> = cases.iter().map(|(sql, _)| *sql).collect();
        let verdicts = verdicts(&statements, true);
        let right = |conditions: &[&str], verdict: &Option<String>| match verdict {
            None => conditions.is_empty(),
            Some(verdict) => conditions.contains(&verdict.as_str()),
        };
        let wrong: Vec<_> = cases
            .iter()
            .zip(&verdicts)
            .filter(|((_, conditions), verdict)| !right(conditions, verdict))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Returns Spark's verdict of each statement: none, or the condition of the error.
    fn verdicts(statements: &[&String], analyse: bool) -> Vec<Option<String>> {
        let python = dcp_tests::spark_home()
            .ancestors()
            .nth(4)
            .expect("Spark is in an environment")
            .join("bin/python");
        let mut child = Command::new(python)
            .arg(dcp_tests::workspace().join("tests/tests/spark_sql/verdicts.py"))
            .env_remove("SPARK_HOME")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let input = serde_json::to_string(&(statements, analyse)).expect("text is JSON");
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        stdin.write_all(input.as_bytes()).expect("Python reads its input");
        drop(stdin);
        let output = child.wait_with_output().expect("Python ends");
        assert!(output.status.success(), "Spark did not start");
        let text = String::from_utf8(output.stdout).expect("JSON is text");
        let verdicts: Vec<Option<String>> =
            serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a list of verdicts");
        assert_eq!(verdicts.len(), statements.len());
        verdicts
    }
}
