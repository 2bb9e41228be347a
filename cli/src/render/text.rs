//! A report for people: `miette` draws the source, this module draws the rest.

use std::fmt;
use std::io::{self, Write};

use dcp_compiler::diag::{Diagnostic, Severity};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use super::snippet::{Snippet, TAB, snippets};
use super::{Places, Report, format_thousands, sanitize};
use crate::out::{BOLD, DIM, ERROR, Look, NOTE, WARNING};

/// Maximum number of diagnostics.
const MAX_DIAGNOSTICS: usize = 200;

pub(super) fn write(report: &Report<'_>, look: Look, out: &mut impl Write) -> io::Result<()> {
    let places = report.places();
    let theme = if look.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(look.width)
        .with_links(false)
        .tab_width(TAB)
        .with_context_lines(1)
        .without_syntax_highlighting();
    for diagnostic in report.diagnostics().take(MAX_DIAGNOSTICS) {
        one(diagnostic, &places, look, &handler, out)?;
    }
    let all = report.diagnostics().count();
    if let Some(more) = all.checked_sub(MAX_DIAGNOSTICS).filter(|more| *more > 0) {
        writeln!(out, "and {} more; `--output json` has them all\n", format_thousands(more))?;
    }
    Ok(())
}

fn one(
    diagnostic: &Diagnostic,
    places: &Places<'_>,
    look: Look,
    handler: &GraphicalReportHandler,
    out: &mut impl Write,
) -> io::Result<()> {
    let Diagnostic { code, severity, message, labels, help } = diagnostic;
    let style = match severity {
        Severity::Error => ERROR,
        Severity::Warning => WARNING,
        Severity::Note => NOTE,
    };
    let kind = look.paint(style, format_args!("{}[{code}]", severity.name()));
    writeln!(out, "{kind}{}", look.paint(BOLD, format_args!(": {}", sanitize(message))))?;
    for snippet in snippets(labels, places, look.width) {
        if snippet.labels.is_empty() {
            writeln!(out, "  ─[{}]", sanitize(&snippet.path))?;
        } else {
            write!(out, "{}", drawn(handler, &Drawing { snippet: Some(&snippet), help: None })?)?;
        }
    }
    if let Some(help) = help {
        let help = Some(sanitize(help));
        write!(out, "{}", drawn(handler, &Drawing { snippet: None, help })?)?;
    }
    writeln!(out, "  {}\n", look.paint(DIM, format_args!("more: dcp explain {code}")))
}

/// Draws a part without its first line, which is for a message: that is printed before.
fn drawn(handler: &GraphicalReportHandler, drawing: &Drawing<'_>) -> io::Result<String> {
    let mut text = String::new();
    handler.render_report(&mut text, drawing).map_err(io::Error::other)?;
    Ok(text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default())
}

/// A part of a diagnostic for `miette`'s handler.
#[derive(Debug)]
struct Drawing<'s> {
    snippet: Option<&'s Snippet>,
    help: Option<String>,
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Drawing<'_> {}

impl miette::Diagnostic for Drawing<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.snippet.map(|snippet| snippet as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.snippet?.labels.iter().cloned();
        Some(Box::new(labels))
    }
}
