//! Reports how much of Spark's own SQL can be read, and how the verdicts compare with Spark's.
//!
//! `cargo run -p dcp-compiler --example sql_rate -- FOLDER` reads the folder `sql-tests/results` of Spark's test
//! resources, which are in the jar `spark-sql_2.13-VERSION-tests.jar`. With `--list`, it prints all statements that
//! could not be read, and all that Spark parses and that are reported as malformed. With `--tables`, it prints the
//! tables that each statement reads and writes, and the functions that it calls.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for a terminal")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dcp_compiler::sql::{Detail, Form, Reading, TableRef, read};

/// A statement of a result file.
struct Statement {
    sql: String,
    /// Set if Spark could not parse it.
    refused: bool,
    /// Set if Spark could not run it.
    failed: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let list = arguments.iter().any(|it| it == "--list");
    let tables = arguments.iter().any(|it| it == "--tables");
    let Some(folder) = arguments.iter().find(|it| !it.starts_with("--")) else {
        eprintln!("usage: sql_rate [--list] [--tables] FOLDER");
        return ExitCode::from(2);
    };
    let (mut total, mut unread, mut late) = (0_u32, 0_u32, 0_u32);
    let (mut false_errors, mut missed) = (0_u32, 0_u32);
    for path in files(Path::new(folder)) {
        let text = fs::read_to_string(&path).expect("a file of results is text");
        for Statement { sql, refused, failed } in statements(&text) {
            total += 1;
            match read(&sql, Detail::Shape) {
                Reading::Unknown { at, reason } => {
                    unread += u32::from(!refused);
                    if list && !refused {
                        let place = &sql[at.start as usize..at.end as usize];
                        println!("unread {}: {reason} [{place}]\n{sql}\n", path.display());
                    }
                }
                Reading::Malformed { message, .. } if !failed => {
                    false_errors += 1;
                    println!("FALSE ERROR {}: {message}\n{sql}\n", path.display());
                }
                // Names in double quotes need a setting, which is set in one of Spark's files.
                Reading::Known(facts)
                    if !failed
                        && facts.unsupported_forms.iter().any(|it| it.form != Form::DoubleQuotedName) =>
                {
                    false_errors += 1;
                    println!("FALSE ERROR {}: {:?}\n{sql}\n", path.display(), facts.unsupported_forms);
                }
                Reading::Known(facts) if refused && facts.unsupported_forms.is_empty() => {
                    missed += 1;
                    if list {
                        println!("missed {}\n{sql}\n", path.display());
                    }
                }
                Reading::Known(facts) => {
                    late += u32::from(!facts.dynamic.is_empty());
                    if tables {
                        let names = |tables: &[TableRef]| {
                            tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>().join(", ")
                        };
                        let (reads, writes) = (names(&facts.reads), names(&facts.writes));
                        let late = if facts.dynamic.is_empty() { "" } else { "; more at run time" };
                        let calls: Vec<&str> = facts.calls.iter().map(|call| call.name.as_str()).collect();
                        println!(
                            "tables {}: reads [{reads}], writes [{writes}], calls [{}]{late}\n{sql}\n",
                            path.display(),
                            calls.join(", ")
                        );
                    }
                }
                Reading::Malformed { .. } => {}
            }
        }
    }
    let rate = 100.0 * f64::from(unread) / f64::from(total.max(1));
    println!(
        "{total} statements: {unread} could not be read ({rate:.2} %), {late} have names that are only known when they run, \
         {false_errors} false errors, {missed} errors not seen"
    );
    ExitCode::from(u8::from(false_errors > 0))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|it| it == "out") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Reads a result file: a sequence of sections that begin with `-- !query`, `-- !query schema` and
/// `-- !query output`.
fn statements(text: &str) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    for section in text.split("-- !query").skip(1) {
        let (head, body) = section.split_once('\n').unwrap_or((section, ""));
        match (head.trim(), statements.last_mut()) {
            ("", _) => {
                let sql = body.trim_matches('\n').to_owned();
                statements.push(Statement { sql, refused: false, failed: false });
            }
            ("output", Some(last)) => {
                last.refused = body.contains("ParseException");
                last.failed = body.contains("Exception") || body.contains("Error");
            }
            _ => {}
        }
    }
    statements
}
