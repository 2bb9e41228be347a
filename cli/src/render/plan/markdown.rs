//! A plan as a comment on a pull request: long differences are folded, and text of manifests is escaped.

use std::fmt::Write as _;

use dcp_reconciler::plan::{Class, Plan, Reason, Renamed, Workload};

use super::headline::Base;
use super::{by_danger, consent, given_up, headline, is_dangerous, meaning, unknown};
use crate::render::{format_thousands, sanitize};

/// GitHub's limit is 65,536 characters; the rest must be shorter than the difference.
const MAX_DIFFERENCE: usize = 50_000;
/// Differences with more lines are folded.
const MAX_UNFOLDED_LINES: usize = 6;

pub(crate) fn markdown(plan: &Plan) -> String {
    let mut text = format!("### dcp plan: {}\n\n", escaped(&headline(plan)));
    writeln!(text, "{}\n", escaped(&Base(plan).describe(None))).expect(INFALLIBLE);
    if plan.is_empty() {
        text.push_str("Nothing to do.\n");
    }
    let all = by_danger(plan);
    let mut left = all.len();
    for workload in all {
        let part = one(workload);
        if text.len() + part.len() > MAX_DIFFERENCE {
            writeln!(text, "\n… and {} more: `dcp plan` shows them.", format_thousands(left))
                .expect(INFALLIBLE);
            break;
        }
        left -= 1;
        text.push_str(&part);
    }
    for line in unknown(plan) {
        writeln!(text, "\n{line}").expect(INFALLIBLE);
    }
    for line in given_up(plan) {
        writeln!(text, "\n⚠️ {}", escaped(&line)).expect(INFALLIBLE);
    }
    text
}

const INFALLIBLE: &str = "writing to a String does not fail";

fn one(workload: &Workload) -> String {
    let mark = if is_dangerous(workload) { "⚠️ " } else { "" };
    let action = workload.action.name().to_uppercase();
    let mut text =
        format!("- {mark}**{action}** {}: {}\n", code(&workload.id()), escaped(&meaning(workload)));
    let renamed = workload.renamed.as_ref().map(|renamed| match renamed {
        Renamed::From(old) => format!("the same as {}, under another name", code(old)),
        Renamed::To(new) => format!("it comes again as {}", code(new)),
    });
    if let Some(line) = renamed {
        writeln!(text, "  - {line}").expect(INFALLIBLE);
    }
    for reason in &workload.reasons {
        text.push_str(&of_reason(reason));
    }
    if let Some(consent) = consent(workload) {
        writeln!(text, "  - {}", escaped(&consent)).expect(INFALLIBLE);
    }
    text
}

fn of_reason(reason: &Reason) -> String {
    let Reason { field, what, old, new, diff, class, why, at } = reason;
    let what = what.as_deref().map(|what| format!(", {}", escaped(what))).unwrap_or_default();
    let change = match (old, new) {
        (Some(old), Some(new)) => format!(": {} → {}", code(old), code(new)),
        (Some(old), None) => format!(": without {}", code(old)),
        (None, Some(new)) => format!(": with {}", code(new)),
        (None, None) => String::new(),
    };
    let place =
        at.as_ref().map(|at| format!(" ({})", code(&format!("{}:{}", at.path, at.line)))).unwrap_or_default();
    let why = match class {
        Class::InPlace | Class::Restart => escaped(why),
        Class::Unknown | Class::Reset => format!("**{}**", escaped(why)),
    };
    let mut text = format!("  - {}{what}{change}{place}<br>{why}\n", code(field));
    let Some(diff) = diff.as_ref().filter(|diff| !diff.is_empty()) else { return text };
    let folded = diff.lines().count() > MAX_UNFOLDED_LINES || field.starts_with("DAG ");
    if folded {
        text.push_str("    <details><summary>difference</summary>\n\n");
    } else {
        text.push('\n');
    }
    let fence = "`".repeat(longest_run(diff, '`').max(2) + 1);
    writeln!(text, "    {fence}diff").expect(INFALLIBLE);
    for line in diff.lines() {
        writeln!(text, "    {}", sanitize(line)).expect(INFALLIBLE);
    }
    writeln!(text, "    {fence}").expect(INFALLIBLE);
    if folded {
        text.push_str("\n    </details>\n");
    }
    text
}

/// Escapes a text so that it contains no markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in sanitize(text).chars() {
        match c {
            '`' => within = !within,
            '<' if !within => {
                out.push_str("&lt;");
                continue;
            }
            '\\' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '@' if !within => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Formats a text as code, even if it contains backticks.
fn code(text: &str) -> String {
    let text = sanitize(text);
    let ticks = "`".repeat(longest_run(&text, '`') + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

fn longest_run(text: &str, of: char) -> usize {
    let runs = text.split(|c| c != of).map(str::len);
    runs.max().unwrap_or_default()
}
