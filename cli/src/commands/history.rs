//! `dcp history`

use std::io::Write as _;
use std::path::Path;

use dcp_reconciler::state::Applied;
use dcp_workspace::project::Workspace;
use unicode_width::UnicodeWidthStr as _;

use crate::args::{self, Format};
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console, DIM, Look};
use crate::render::{cut, sanitize};

pub(super) fn run(
    args: &args::History,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::History { target, limit, output } = args;
    let home = Workspace::find(project, &[])?;
    let project = home.target(target.as_deref())?;
    let control = Control::open(&home, &project)?;
    let all = control.run(control.registry.history(&control.scope, None, *limit));
    let all = all.map_err(|error| crate::control::registry_failed(&error))?;
    match output {
        Format::Json => {
            let text = serde_json::to_string_pretty(&all)
                .map_err(|error| Failure::new(format!("it can't be written as JSON: {error}")))?;
            writeln!(console.out, "{text}")?;
        }
        Format::Text if all.is_empty() => {
            writeln!(console.out, "nothing was ever applied to {}", control.scope)?;
        }
        Format::Text => {
            let look = console.out.look;
            let names = all.iter().map(|applied| sanitize(&applied.by).width()).max().unwrap_or_default();
            let by = names.clamp(MIN_BY, MAX_BY);
            writeln!(console.out, "{}", look.paint(DIM, header(by)))?;
            for applied in &all {
                let lines = lines(applied, by, look);
                writeln!(console.out, "{lines}")?;
            }
        }
    }
    Ok(Verdict::Success)
}

/// The widths of the columns of names and of abbreviated commits.
const MIN_BY: usize = 14;
const MAX_BY: usize = 24;
const COMMIT: usize = 8;

/// Returns the header of a table whose names have a width.
fn header(by: usize) -> String {
    format!("{:>6}  {:19}  {:by$}  {:COMMIT$}  CHANGES", "SERIAL", "APPLIED (UTC)", "BY", "COMMIT")
}

/// Formats a commit, on as many lines as its changes need.
fn lines(applied: &Applied, by_width: usize, look: Look) -> String {
    let Applied { serial, by, at, commit, counts, .. } = applied;
    let commit = commit.as_deref().unwrap_or_default().chars().take(COMMIT).collect::<String>();
    let at = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let serial = look.paint(BOLD, format!("{serial:>6}"));
    let commit = look.paint(DIM, format!("{:COMMIT$}", sanitize(&commit)));
    let by = cut(&sanitize(by), by_width);
    let space = " ".repeat(by_width.saturating_sub(by.width()));
    let begin = format!("{serial}  {at}  {by}{space}  {commit}  ");
    let indent = header(by_width).chars().count() - "CHANGES".len();
    let changes = counts.iter().map(|(action, count)| format!("{count} {}", action.name()));
    let changes = wrapped(changes, look.width.saturating_sub(indent));
    format!("{begin}{}", changes.join(&format!("\n{}", " ".repeat(indent))))
}

/// Joins items with commas, on lines of a width.
fn wrapped(items: impl Iterator<Item = String>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if line.len() + item.len() + 3 <= width => *line = format!("{line}, {item}"),
            Some(line) => {
                line.push(',');
                lines.push(item);
            }
            None => lines.push(item),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use dcp_reconciler::state::Action;

    use super::*;

    #[test]
    fn lines_of_a_commit_fit_80_columns() {
        let applied = Applied {
            serial: 123_456,
            id: "x".to_owned(),
            by: "ein-sehr-langer-name-größer-als-jede-spalte@example.com".to_owned(),
            at: jiff::Timestamp::UNIX_EPOCH,
            commit: Some("0123456789abcdef0123456789abcdef01234567-dirty".to_owned()),
            counts: Action::ALL.into_iter().map(|action| (action, 12_345)).collect(),
        };
        let look = Look { color: false, width: 80, terminal: true, animated: false };
        let wide = super::lines(&applied, MAX_BY, look);
        assert!(wide.lines().all(|line| line.width() <= 80), "{wide}");
        let lines = lines(&applied, MIN_BY, look);
        assert!(lines.lines().all(|line| line.width() <= 80), "{lines}");
        assert_eq!(lines.split_whitespace().filter(|word| *word == "12345").count(), Action::ALL.len());
        let none =
            Applied { commit: None, counts: [(Action::Create, 1)].into(), by: "ada".to_owned(), ..applied };
        let expected = "123456  1970-01-01 00:00:00  ada                       1 create";
        assert_eq!(super::lines(&none, MIN_BY, look), expected);
    }
}
