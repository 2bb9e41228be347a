//! Statements whose verdict is known: Spark parses them or refuses them, and dcp says the same.

use std::io::Write as _;
use std::process::{Command, Stdio};

use dcp_compiler::sql::{Detail, Reading, read};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statements {
    read: Vec<String>,
    refused: Vec<String>,
}

impl Statements {
    fn load() -> Self {
        let path = dcp_tests::workspace().join("tests/tests/spark_sql/statements.yaml");
        let text = std::fs::read_to_string(path).expect("the file can be read");
        serde_yaml_ng::from_str(&text).expect("it has two lists of statements")
    }
}

#[test]
fn statements_that_spark_parses_are_read_without_error() {
    let unread = |sql: &&String| match read(sql, Detail::Shape) {
        Reading::Known(facts) => !facts.refused.is_empty(),
        Reading::Malformed { .. } | Reading::Unknown { .. } => true,
    };
    let statements = Statements::load().read;
    let unread: Vec<&String> = statements.iter().filter(unread).collect();
    assert!(unread.is_empty(), "{unread:#?}");
}

#[test]
fn statements_that_spark_refuses_are_refused() {
    let accepted = |sql: &&String| match read(sql, Detail::Lineage) {
        Reading::Known(facts) => facts.refused.is_empty(),
        Reading::Malformed { .. } => false,
        Reading::Unknown { .. } => true,
    };
    let statements = Statements::load().refused;
    let accepted: Vec<&String> = statements.iter().filter(accepted).collect();
    assert!(accepted.is_empty(), "{accepted:#?}");
}

mod spark {
    use super::*;

    #[test]
    fn spark_parses_and_refuses_the_same_statements() {
        let Statements { read, refused } = Statements::load();
        let statements: Vec<&String> = read.iter().chain(&refused).collect();
        let verdicts = verdicts(&statements);
        assert_eq!(verdicts.len(), statements.len());
        let wrong: Vec<_> = statements
            .iter()
            .zip(&verdicts)
            .enumerate()
            .filter(|(index, (_, parses))| (*index < read.len()) != **parses)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    fn verdicts(statements: &[&String]) -> Vec<bool> {
        let python = dcp_tests::spark_home()
            .ancestors()
            .nth(4)
            .expect("Spark is in an environment")
            .join("bin/python");
        let mut child = Command::new(python)
            .arg(dcp_tests::workspace().join("tests/tests/spark_sql/parse.py"))
            .env_remove("SPARK_HOME")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let input = serde_json::to_string(statements).expect("text is JSON");
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        stdin.write_all(input.as_bytes()).expect("Python reads its input");
        drop(stdin);
        let output = child.wait_with_output().expect("Python ends");
        assert!(output.status.success(), "Spark did not start");
        let text = String::from_utf8(output.stdout).expect("JSON is text");
        serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a list of verdicts")
    }
}
