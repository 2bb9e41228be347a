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

use dcp_compiler::sql::{Detail, Facts, Form, Reading, TableRef, read};

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
    let Some(folder) = arguments.iter().find(|it| !it.starts_with("--")) else {
        eprintln!("usage: sql_rate [--list] [--tables] FOLDER");
        return ExitCode::from(2);
    };
    let is_set = |option: &str| arguments.iter().any(|it| it == option);
    let mut report = Report { list: is_set("--list"), tables: is_set("--tables"), ..Report::default() };
    for path in files(Path::new(folder)) {
        let text = fs::read_to_string(&path).expect("a file of results is text");
        for statement in statements(&text) {
            report.add(&path, &statement);
        }
    }
    let Report { total, unread, late, false_errors, missed, list: _, tables: _ } = report;
    let rate = 100.0 * f64::from(unread) / f64::from(total.max(1));
    println!(
        "{total} statements: {unread} could not be read ({rate:.2} %), {late} have names that are only known when they run, \
         {false_errors} false errors, {missed} errors not seen"
    );
    ExitCode::from(u8::from(false_errors > 0))
}

/// The options, and the numbers of statements of each kind.
#[derive(Default)]
struct Report {
    list: bool,
    tables: bool,
    total: u32,
    unread: u32,
    late: u32,
    false_errors: u32,
    missed: u32,
}

impl Report {
    fn add(&mut self, path: &Path, statement: &Statement) {
        let Statement { sql, refused, failed } = statement;
        let path = path.display();
        self.total += 1;
        match read(sql, Detail::Shape) {
            Reading::Unknown { at, reason } => {
                self.unread += u32::from(!refused);
                if self.list && !refused {
                    let place = &sql[at.start as usize..at.end as usize];
                    println!("unread {path}: {reason} [{place}]\n{sql}\n");
                }
            }
            Reading::Malformed { message, .. } if !failed => {
                self.false_errors += 1;
                println!("FALSE ERROR {path}: {message}\n{sql}\n");
            }
            // Names in double quotes need a setting, which is set in one of Spark's files.
            Reading::Known(facts)
                if !failed && facts.unsupported_forms.iter().any(|it| it.form != Form::DoubleQuotedName) =>
            {
                self.false_errors += 1;
                println!("FALSE ERROR {path}: {:?}\n{sql}\n", facts.unsupported_forms);
            }
            Reading::Known(facts) if *refused && facts.unsupported_forms.is_empty() => {
                self.missed += 1;
                if self.list {
                    println!("missed {path}\n{sql}\n");
                }
            }
            Reading::Known(facts) => {
                self.late += u32::from(!facts.dynamic.is_empty());
                if self.tables {
                    println!("tables {path}: {}\n{sql}\n", described(&facts));
                }
            }
            Reading::Malformed { .. } => {}
        }
    }
}

fn described(facts: &Facts) -> String {
    let names =
        |tables: &[TableRef]| tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>().join(", ");
    let (reads, writes) = (names(&facts.reads), names(&facts.writes));
    let late = if facts.dynamic.is_empty() { "" } else { "; more at run time" };
    let calls: Vec<&str> = facts.calls.iter().map(|call| call.name.as_str()).collect();
    format!("reads [{reads}], writes [{writes}], calls [{}]{late}", calls.join(", "))
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
