//! A report as annotations of GitHub Actions.

use std::io::{self, Write};

use dcp_compiler::diag::{Diagnostic, Severity};

use super::{Places, Report};

pub(super) fn write(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    let (places, prefix) = (report.places(), report.prefix());
    for diagnostic in report.diagnostics() {
        annotation(diagnostic, &places, &prefix, out)?;
    }
    Ok(())
}

fn annotation(
    diagnostic: &Diagnostic,
    places: &Places<'_>,
    prefix: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let Diagnostic { code, severity, message, labels, help } = diagnostic;
    let command = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    write!(out, "::{command} ")?;
    let mut text = message.clone();
    if let Some(primary) = labels.first() {
        let (start, end) = (places.start(primary.span), places.end(primary.span));
        let file = property(&format!("{prefix}{}", places.path(primary.span)));
        write!(out, "file={file},line={},col={},", start.line, start.column)?;
        write!(out, "endLine={},endColumn={},", end.line, end.column)?;
        if !primary.text.is_empty() {
            text = format!("{text}: {}", primary.text);
        }
    }
    for other in labels.iter().skip(1) {
        let start = places.start(other.span);
        let said = if other.text.is_empty() { "see also" } else { &other.text };
        text = format!("{text}\n{}:{}:{}: {said}", places.path(other.span), start.line, start.column);
    }
    if let Some(help) = help {
        text = format!("{text}\nhelp: {help}");
    }
    let title = property(&format!("{code}: {}", code.info().title));
    writeln!(out, "title={title}::{}", escape(&text))
}

pub(super) fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

pub(super) fn property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_escape_their_delimiters() {
        assert_eq!(escape("100%\r\n::error::x"), "100%25%0D%0A::error::x");
        assert_eq!(property("a,b:c%"), "a%2Cb%3Ac%25");
    }
}
