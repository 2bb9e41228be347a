//! The secrets that manifests refer to, for people and for programs.

use clap::builder::styling::Style;
use serde_json::{Value, json};

use super::{format_count, hanging, sanitize, titled};
use crate::out::{BOLD, ERROR, GOOD, Look, WARNING};

/// A secret that a workload refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) workload: String,
    /// `name/key`.
    pub(crate) secret: String,
    pub(crate) fields: Vec<String>,
    /// Where it has to be.
    pub(crate) location: String,
    pub(crate) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Found,
    Missing,
    /// It could not be searched for, for this reason.
    Unknown(String),
    /// The search failed.
    Failed(String),
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Found => "found",
            State::Missing => "missing",
            State::Unknown(_) => "unknown",
            State::Failed(_) => "failed",
        }
    }

    fn mark(&self) -> (char, Style) {
        match self {
            State::Found => ('✓', GOOD),
            State::Missing | State::Failed(_) => ('✗', ERROR),
            State::Unknown(_) => ('!', WARNING),
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            State::Found | State::Missing => None,
            State::Unknown(reason) | State::Failed(reason) => Some(reason),
        }
    }
}

/// Returns the rows by workload, and a summary.
pub(crate) fn text(rows: &[Row], look: Look) -> Vec<String> {
    if rows.is_empty() {
        return vec!["the manifests refer to no secret".to_owned()];
    }
    let mut lines = Vec::new();
    let mut workload = "";
    for row in rows {
        if row.workload != workload {
            workload = &row.workload;
            lines.push(look.paint(BOLD, sanitize(workload)));
        }
        let (mark, style) = row.state.mark();
        let begin = format!("  {} ", look.paint(style, format!("{mark} {:<7}", row.state.name())));
        lines.push(hanging(&begin, &sanitize(&row.secret), look));
        let mut detail = |title: &str, text: &str| {
            if !text.is_empty() {
                lines.push(titled(12, title, Style::new(), &sanitize(text), look));
            }
        };
        detail("in", &row.fields.join(", "));
        detail("at", &row.location);
        detail("why", row.state.reason().unwrap_or_default());
    }
    let count = |name: &str| rows.iter().filter(|row| row.state.name() == name).count();
    let parts = ["found", "missing", "unknown", "failed"].map(|name| (name, count(name)));
    let parts = parts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}"));
    let parts = parts.collect::<Vec<_>>().join(", ");
    lines.push(format!("{}: {parts}", format_count(rows.len(), "reference")));
    lines
}

/// Returns the rows as JSON.
pub(crate) fn json(rows: &[Row]) -> Value {
    let one = |row: &Row| {
        let mut value = json!({
            "workload": row.workload,
            "secret": row.secret,
            "fields": row.fields,
            "location": row.location,
            "state": row.state.name(),
        });
        if let Some(reason) = row.state.reason() {
            value["reason"] = json!(reason);
        }
        value
    };
    json!({"secrets": rows.iter().map(one).collect::<Vec<_>>()})
}
