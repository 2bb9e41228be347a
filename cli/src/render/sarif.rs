//! A report as SARIF 2.1.0, for code scanning.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};

use dcp_compiler::diag::{Code, Diagnostic, Label, Severity};
use serde_json::{Value, json};

use super::{Places, Report};
use crate::commands::explain;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

pub(super) fn write(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    let (places, prefix) = (report.places(), report.prefix());
    let codes: BTreeSet<Code> = report.diagnostics().map(|diagnostic| diagnostic.code).collect();
    let codes: Vec<Code> = codes.into_iter().collect();
    let results = report.diagnostics().map(|diagnostic| result(diagnostic, &codes, &places, &prefix));
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "dcp",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &log)?;
    writeln!(out)
}

fn rule(code: Code) -> Value {
    let info = code.info();
    let mut rule = json!({
        "id": code.to_string(),
        "shortDescription": {"text": info.title},
        "defaultConfiguration": {"level": level(info.severity)},
    });
    let text = format!("Run `dcp explain {code}` to read about it.");
    rule["help"] = match explain::page(code) {
        Some(page) => json!({"text": text, "markdown": page}),
        None => json!({"text": text}),
    };
    rule
}

fn result(diagnostic: &Diagnostic, codes: &[Code], places: &Places<'_>, prefix: &str) -> Value {
    let Diagnostic { code, severity, message, labels, help } = diagnostic;
    let mut text = message.clone();
    if let Some(label) = labels.first().filter(|label| !label.text.is_empty()) {
        text = format!("{text}: {}", label.text);
    }
    if let Some(help) = help {
        text = format!("{text}\n{help}");
    }
    let mut result = json!({
        "ruleId": code.to_string(),
        "ruleIndex": codes.binary_search(code).unwrap_or_default(),
        "level": level(*severity),
        "message": {"text": text},
    });
    let mut locations = labels.iter().map(|label| location(label, places, prefix));
    if let Some(primary) = locations.next() {
        result["locations"] = json!([primary]);
    }
    let related: Vec<Value> = locations
        .zip(labels.iter().skip(1))
        .map(|(mut location, label)| {
            if !label.text.is_empty() {
                location["message"] = json!({"text": label.text});
            }
            location
        })
        .collect();
    if !related.is_empty() {
        result["relatedLocations"] = json!(related);
    }
    result
}

fn location(label: &Label, places: &Places<'_>, prefix: &str) -> Value {
    let (start, end) = (places.start(label.span), places.end(label.span));
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(&format!("{prefix}{}", places.path(label.span)))},
        "region": {
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            "endColumn": end.column,
        },
    }})
}

fn level(severity: Severity) -> &'static str {
    severity.name()
}

/// Encodes a path as a relative URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("a b/ü:%.yaml"), "a%20b/%C3%BC%3A%25.yaml");
    }
}
