//! The prompt of `dcp sql`.

use std::io::Write as _;

use dcp_compiler::sql;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

use super::{LOST, Outcome, PROMPT_ROWS, StatementRunner};
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::out::{Console, DIM};

/// An editor of lines. Its history is in memory only, as statements may have secrets.
type Lines = Editor<(), MemHistory>;

/// Reads statements from the terminal and runs them, until the end of the input.
pub(super) async fn run(
    runner: &mut StatementRunner,
    interrupts: &mut Interrupts,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    runner.limit = runner.limit.or(Some(PROMPT_ROWS));
    let mut lines = editor()?;
    let name = runner.place.name().to_owned();
    let mut pending = String::new();
    loop {
        console.flush()?;
        let prompt = match pending.is_empty() {
            true => format!("{name}> "),
            false => format!("{:>width$}> ", "", width = name.len()),
        };
        let read = tokio::task::spawn_blocking(move || {
            let line = lines.readline(&prompt);
            (lines, line)
        });
        let (returned, line) =
            read.await.map_err(|error| Failure::new(format!("the terminal can't be read: {error}")))?;
        lines = returned;
        match line {
            Ok(line) => pending.push_str(&line),
            Err(ReadlineError::Interrupted) => {
                pending.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(Verdict::Success),
            Err(error) => return Err(Failure::new(format!("the terminal can't be read: {error}"))),
        }
        if matches!(pending.trim(), "exit" | "quit" | "\\q" | "exit;" | "quit;") {
            return Ok(Verdict::Success);
        }
        if !is_complete(&pending) {
            pending.push('\n');
            continue;
        }
        let script = std::mem::take(&mut pending);
        // Without a place in the history, the statement still runs.
        let _ = lines.add_history_entry(script.trim().replace('\n', " "));
        run_all(runner, &script, interrupts, console).await?;
    }
}

/// Runs the statements of an input until one fails.
async fn run_all(
    runner: &mut StatementRunner,
    script: &str,
    interrupts: &mut Interrupts,
    console: &mut Console,
) -> Result<(), Failure> {
    if script.trim().trim_matches(';').is_empty() {
        return Ok(());
    }
    for range in sql::statements(script) {
        match runner.run(script.get(range).unwrap_or_default(), interrupts, console).await {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Cancelled) => {
                let look = console.err.look;
                writeln!(console.err, "{}", look.paint(DIM, "cancelled"))?;
                return Ok(());
            }
            Err(failure) => {
                let is_lost = failure.message() == LOST;
                failure.print(console);
                if is_lost {
                    runner.renew_session(console).await?;
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

fn editor() -> Result<Lines, Failure> {
    let config = Config::builder().auto_add_history(false).build();
    let lines = Editor::with_history(config, MemHistory::new());
    lines.map_err(|error| Failure::new(format!("the terminal can't be used: {error}")))
}

/// Returns whether an input ends with a complete statement: a `;` that is in no text and no comment, or nothing at all.
fn is_complete(input: &str) -> bool {
    let Some(rest) = input.trim_end().strip_suffix(';') else { return input.trim().is_empty() };
    let lower = rest.trim().to_ascii_lowercase();
    // A block is one statement, whose parts end with `;`.
    if lower.starts_with("begin") {
        return lower.ends_with("end");
    }
    // With a `;` that separates, what follows is a statement of its own.
    sql::statements(&format!("{rest};\nx")).len() > sql::statements(rest).len()
}

#[cfg(test)]
mod tests {
    use super::is_complete;

    #[test]
    fn statement_ends_with_a_semicolon() {
        for (input, expected) in [
            ("", true),
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT 1; ", true),
            ("SELECT ';", false),
            ("SELECT ';';", true),
            ("SELECT 1 -- ;", false),
            ("SELECT 1 /* ;", false),
            ("SELECT 1; SELECT", false),
            ("BEGIN SELECT 1;", false),
            ("BEGIN SELECT 1; END;", true),
        ] {
            assert_eq!(is_complete(input), expected, "{input}");
        }
    }
}
