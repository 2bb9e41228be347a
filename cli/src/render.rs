//! Output of diagnostics, for people and for programs. All formats are rendered from a [`Report`].

pub(crate) mod assets;
pub(crate) mod clusters;
mod github;
pub(crate) mod jobs;
mod json;
pub(crate) mod plan;
pub(crate) mod pools;
pub(crate) mod run;
mod sarif;
pub(crate) mod secrets;
mod snippet;
mod summary;
pub(crate) mod table;
mod text;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use anstream::adapter::strip_str;
use clap::builder::styling::Style;
use dcp_compiler::diag::{Diagnostic, Severity};
use dcp_compiler::source::{FileId, Sources, Span};
use dcp_workspace::project::{Outcome, Timings};
use unicode_width::UnicodeWidthStr as _;

use crate::args::ReportFormat;
use crate::out::Look;

/// The result of a compilation, and options for showing it.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) outcome: &'a Outcome,
    /// The project's folder.
    pub(crate) root: &'a Path,
    /// Leave out notes.
    pub(crate) quiet: bool,
    pub(crate) deny_warnings: bool,
}

/// Writes a report.
pub(crate) fn write(
    report: &Report<'_>,
    format: ReportFormat,
    look: Look,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        ReportFormat::Text => {
            text::write(report, look, out)?;
            summary::write(report, look, out)
        }
        ReportFormat::Json => json::write(report, out),
        ReportFormat::Sarif => sarif::write(report, out),
        ReportFormat::Github => github::write(report, out),
    }
}

/// Writes the diagnostics of a file that is no manifest, without a summary.
pub(crate) fn write_diagnostics(report: &Report<'_>, look: Look, out: &mut impl Write) -> io::Result<()> {
    text::write(report, look, out)
}

/// Writes the diagnostics for a command that has more output than these.
pub(crate) fn write_found(report: &Report<'_>, look: Look, out: &mut impl Write) -> io::Result<()> {
    text::write(report, look, out)?;
    if report.count(Severity::Error) > 0 { summary::write(report, look, out) } else { Ok(()) }
}

impl<'a> Report<'a> {
    pub(crate) fn diagnostics(&self) -> impl Iterator<Item = &'a Diagnostic> + use<'a> {
        let quiet = self.quiet;
        let all = self.outcome.compilation.diagnostics.iter();
        all.filter(move |diagnostic| !(quiet && diagnostic.severity == Severity::Note))
    }

    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.diagnostics().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// Returns true if there are errors, or denied warnings.
    pub(crate) fn failed(&self) -> bool {
        self.count(Severity::Error) > 0 || (self.deny_warnings && self.count(Severity::Warning) > 0)
    }

    fn sources(&self) -> &'a Sources {
        &self.outcome.compilation.sources
    }

    fn timings(&self) -> Timings {
        self.outcome.timings
    }

    fn places(&self) -> Places<'a> {
        Places { sources: self.sources(), lines: RefCell::default() }
    }

    /// Returns the number of manifests with errors or warnings.
    fn manifests_with_problems(&self) -> usize {
        let problems = self.diagnostics().filter(|diagnostic| diagnostic.severity != Severity::Note);
        self.outcome.compilation.manifests.count_of(problems)
    }

    fn prefix(&self) -> String {
        prefix(self.root)
    }
}

/// Returns the path from the repository to the project, as GitHub needs paths in the repository.
pub(crate) fn prefix(root: &Path) -> String {
    let workspace =
        std::env::var_os("GITHUB_WORKSPACE").and_then(|path| Path::new(&path).canonicalize().ok());
    let workspace = workspace.filter(|workspace| root.starts_with(workspace));
    let top =
        workspace.or_else(|| root.ancestors().find(|above| above.join(".git").exists()).map(Path::to_owned));
    let below = top.and_then(|top| root.strip_prefix(top).ok());
    below.map_or_else(String::new, |below| {
        below.components().fold(String::new(), |mut prefix, part| {
            let _ = write!(prefix, "{}/", part.as_os_str().to_string_lossy());
            prefix
        })
    })
}

/// A position for people: from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
struct Position {
    line: usize,
    column: usize,
    /// The offset in bytes, from 0.
    offset: u32,
}

/// Finds positions, with a cache of the starts of lines.
struct Places<'a> {
    sources: &'a Sources,
    lines: RefCell<HashMap<FileId, Vec<usize>>>,
}

impl<'a> Places<'a> {
    fn path(&self, span: Span) -> &'a str {
        &self.sources.get(span.file).path
    }

    fn text(&self, span: Span) -> &'a str {
        &self.sources.get(span.file).text
    }

    fn start(&self, span: Span) -> Position {
        self.position(span.file, span.start)
    }

    fn end(&self, span: Span) -> Position {
        self.position(span.file, span.end)
    }

    fn position(&self, file: FileId, offset: u32) -> Position {
        let text = &self.sources.get(file).text;
        let at = boundary(text, offset as usize);
        let mut lines = self.lines.borrow_mut();
        let lines = lines.entry(file).or_insert_with(|| line_starts(text));
        let line = lines.partition_point(|start| *start <= at).max(1);
        let column = text[lines[line - 1]..at].chars().count() + 1;
        Position { line, column, offset }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// Returns the offset, rounded down to the start of a character.
fn boundary(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}

/// Wraps a text to lines of a width, each with a prefix.
pub(crate) fn wrapped(text: &str, width: usize, before: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = before.to_owned();
    for word in text.split(' ') {
        let blank = line.len() == before.len();
        if !blank && line.width() + 1 + word.width() > width {
            lines.push(std::mem::replace(&mut line, before.to_owned()));
        } else if !blank {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// Adds a title before a text. On a terminal, the text is wrapped with a hanging indent.
pub(crate) fn titled(indent: usize, title: &str, style: Style, text: &str, look: Look) -> String {
    hanging(&format!("{}{} ", " ".repeat(indent), look.paint(style, title)), text, look)
}

/// Adds a prefix before a text. On a terminal, the text is wrapped with a hanging indent.
pub(crate) fn hanging(begin: &str, text: &str, look: Look) -> String {
    if !look.terminal {
        return format!("{begin}{text}");
    }
    let indent = strip_str(begin).to_string().width();
    let width = look.width.saturating_sub(indent);
    let lines: Vec<String> = text.lines().flat_map(|line| wrapped(line, width, "")).collect();
    format!("{begin}{}", lines.join(&format!("\n{}", " ".repeat(indent))))
}

/// Pads the cells of each column to the widest. With a limit, the widest columns are cut so that all fit into it.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]], limit: Option<usize>) -> Vec<[String; N]> {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or_default();
    let natural: Vec<usize> = (0..N).map(width).collect();
    let widths = match limit {
        Some(limit) => table::fit(natural, limit),
        None => natural,
    };
    let cell = |row: &[String; N], column: usize| {
        widths.get(column).map_or_else(String::new, |width| table::aligned(&row[column], *width, false))
    };
    rows.iter().map(|row| std::array::from_fn(|column| cell(row, column))).collect()
}

/// Lines of a table whose first column is a name, which is never cut.
#[derive(Debug)]
pub(crate) struct NamedRow<const N: usize> {
    /// The name, if it is too wide for its column: its line comes before the row.
    pub(crate) name: Option<String>,
    pub(crate) cells: [String; N],
}

/// Pads the cells of each column as [`aligned`] does. With a limit, a name that is too wide for the first column gets a
/// line of its own.
pub(crate) fn aligned_with_names<const N: usize>(
    rows: &[[String; N]],
    limit: Option<usize>,
) -> Vec<NamedRow<N>> {
    let head = rows.first().map_or(0, |row| row[0].width());
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or_default();
    let others: usize = (1..N).map(|column| width(column) + 2).sum();
    let room = limit.map_or(usize::MAX, |limit| limit.saturating_sub(others).max(head));
    let short = |row: &[String; N]| row[0].width() <= room;
    let shortened: Vec<[String; N]> = rows
        .iter()
        .map(|row| {
            std::array::from_fn(|at| if at == 0 && !short(row) { String::new() } else { row[at].clone() })
        })
        .collect();
    let name = |row: &[String; N]| (!short(row)).then(|| row[0].clone());
    let cells = aligned(&shortened, limit);
    rows.iter().zip(cells).map(|(row, cells)| NamedRow { name: name(row), cells }).collect()
}

/// Formats a count: `1 error`, `2 errors`.
pub(crate) fn format_count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Formats a number with separated thousands.
pub(crate) fn format_thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns text from a manifest without control characters.
pub(crate) fn sanitize(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { visible(c) }).collect()
}

/// Replaces control characters and those that change the direction of writing by a symbol.
fn visible(c: char) -> char {
    match c {
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        _ => c,
    }
}

/// Cuts a text to a width.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    for c in text.chars() {
        if cut.width() + 2 > width {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}
