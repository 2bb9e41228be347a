//! The prompt of `dcp sql`.

use std::fmt;
use std::io::{Write as _, stdin, stdout};

use dcp_compiler::sql;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use tokio::sync::oneshot;

use super::{LOST, Outcome, PROMPT_ROWS, StatementRunner};
use crate::failure::{Failure, Verdict};
use crate::interrupt::{Interrupts, Terminations};
use crate::out::{Console, DIM};

/// An editor of lines. Its history is in memory only, as statements may have secrets.
type Lines = Editor<(), MemHistory>;

/// Ends the mode in which the terminal marks pasted text.
const PASTE_OFF: &str = "\x1b[?2004l";

/// Reads statements from the terminal and runs them, until the end of the input or a signal that ends the prompt.
pub(super) async fn run(runner: &mut StatementRunner, console: &mut Console) -> Result<Verdict, Failure> {
    let (mut interrupts, mut terminations) = (Interrupts::at_prompt()?, Terminations::new()?);
    let terminal = Terminal::new();
    runner.limit = runner.limit.or(Some(PROMPT_ROWS));
    let mut lines = editor()?;
    let name = runner.place.name().to_owned();
    let mut pending = String::new();
    loop {
        console.flush()?;
        let line;
        (lines, line) = tokio::select! {
            biased;
            signal = terminations.next() => {
                terminal.restore();
                return Err(Failure::new(format!("the prompt was ended by {signal}")));
            }
            read = read_line(lines, &name, &pending) => read?,
        };
        match line {
            Ok(line) => pending.push_str(&line),
            Err(ReadlineError::Interrupted) => {
                pending.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(Verdict::Success),
            Err(error) => return Err(unreadable(&error)),
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
        run_all(runner, &script, &mut interrupts, console).await?;
    }
}

/// Reads a line on a thread of its own, as nothing but the terminal ends it: the process must not wait for it.
async fn read_line(
    mut lines: Lines,
    name: &str,
    pending: &str,
) -> Result<(Lines, Result<String, ReadlineError>), Failure> {
    let prompt = match pending.is_empty() {
        true => format!("{name}> "),
        false => format!("{:>width$}> ", "", width = name.len()),
    };
    let (sender, read) = oneshot::channel();
    std::thread::Builder::new().spawn(move || {
        let line = lines.readline(&prompt);
        // Without a receiver, the prompt has ended.
        let _ = sender.send((lines, line));
    })?;
    read.await.map_err(|error| unreadable(&error))
}

fn unreadable(error: &impl fmt::Display) -> Failure {
    Failure::new(format!("the terminal can't be read: {error}"))
}

/// The settings of the terminal before a line is read.
struct Terminal(Option<Termios>);

impl Terminal {
    fn new() -> Self {
        Self(tcgetattr(stdin()).ok())
    }

    /// Restores the settings while a line is read. A terminal that is gone needs none.
    fn restore(self) {
        if let Some(settings) = self.0 {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &settings);
            let _ = write!(stdout(), "{PASTE_OFF}\r\n");
        }
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
