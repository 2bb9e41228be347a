//! A plan on a terminal, readable at 80 columns.

use std::io::{self, Write};

use clap::builder::styling::Style;
use dcp_reconciler::plan::{Class, Plan, Reason, Renamed, Workload};
use dcp_reconciler::state::Action;
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr as _;

use super::headline::Base;
use super::{by_danger, consent, headline, is_dangerous, meaning, unknown};
use crate::out::{BOLD, DIM, ERROR, GOOD, Look, NOTE, WARNING};
use crate::render::{cut, format_thousands, sanitize, wrapped};

/// Maximum number of workloads to show; above it, only dangerous ones.
const SHOWN: usize = 100;
/// Maximum number of lines of a difference.
const LINES: usize = 20;

pub(crate) fn text(plan: &Plan, now: Option<Timestamp>, look: Look, out: &mut impl Write) -> io::Result<()> {
    if plan.is_empty() {
        let line = format!("nothing to do: {}", headline(plan));
        writeln!(out, "{}", look.paint(GOOD, line))?;
        writeln!(out, "{}", look.paint(DIM, Base(plan).describe(now)))?;
        return given_up(plan, look, out);
    }
    for line in wrapped(&headline(plan), look.width, "") {
        writeln!(out, "{}", look.paint(BOLD, line))?;
    }
    writeln!(out, "{}", look.paint(DIM, Base(plan).describe(now)))?;
    let all = by_danger(plan);
    let name_width = all.iter().take(SHOWN).map(|it| it.id().width()).max().unwrap_or_default().min(40);
    let mut before = None;
    let mut left = SHOWN;
    let mut hidden = 0_usize;
    for workload in all {
        if left == 0 && !is_dangerous(workload) {
            hidden += 1;
            continue;
        }
        left = left.saturating_sub(1);
        // New workloads have one line each, and are listed together.
        if before != Some(Action::Create) || workload.action != Action::Create {
            writeln!(out)?;
        }
        before = Some(workload.action);
        one(workload, name_width, look, out)?;
    }
    if hidden > 0 {
        let line = format!(
            "… and {} more, none of them dangerous: --output json has them all",
            format_thousands(hidden)
        );
        writeln!(out, "\n{}", look.paint(DIM, line))?;
    }
    for line in unknown(plan) {
        writeln!(out, "\n{}", look.paint(DIM, line))?;
    }
    given_up(plan, look, out)
}

/// Writes the applied revisions that were given up.
fn given_up(plan: &Plan, look: Look, out: &mut impl Write) -> io::Result<()> {
    for text in super::given_up(plan) {
        writeln!(out)?;
        for (index, line) in wrapped(&format!("warning: {text}"), look.width, "  ").into_iter().enumerate() {
            let line = if index == 0 {
                line.replacen("warning:", &look.paint(WARNING, "warning:"), 1)
            } else {
                line
            };
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn one(workload: &Workload, name_width: usize, look: Look, out: &mut impl Write) -> io::Result<()> {
    let (sign, style) = sign(workload);
    let id = workload.id();
    let pad = " ".repeat(name_width.saturating_sub(id.width()));
    let action = workload.action.name().to_uppercase();
    let meaning = meaning(workload);
    let line =
        format!("{}{pad}  {}", look.paint(BOLD, sanitize(&id)), look.paint(style, format!("{action:<8}")));
    // Sign, name, two spaces, action, space.
    let used = 2 + name_width.max(id.width()) + 2 + 8 + 1;
    if used + meaning.width() <= look.width {
        writeln!(out, "{} {line} {meaning}", look.paint(style, sign))?;
    } else {
        writeln!(out, "{} {}", look.paint(style, sign), line.trim_end())?;
        for line in wrapped(&meaning, look.width, "    ") {
            writeln!(out, "{line}")?;
        }
    }
    match &workload.renamed {
        Some(Renamed::From(old)) => writeln!(out, "    the same as `{old}`, under another name")?,
        Some(Renamed::To(new)) => writeln!(out, "    it comes again as `{new}`")?,
        None => {}
    }
    for reason in &workload.reasons {
        of_reason(reason, look, out)?;
    }
    if let Some(consent) = consent(workload) {
        writeln!(out, "    {}", look.paint(style, consent))?;
    }
    Ok(())
}

fn sign(workload: &Workload) -> (&'static str, Style) {
    match workload.action {
        _ if is_dangerous(workload) => ("!", ERROR),
        Action::Create => ("+", GOOD),
        Action::Delete => ("-", WARNING),
        Action::Redeploy | Action::Reset => ("~", WARNING),
        Action::Update | Action::None => ("~", NOTE),
    }
}

fn of_reason(reason: &Reason, look: Look, out: &mut impl Write) -> io::Result<()> {
    let Reason { field, what, old, new, diff, class, why, at } = reason;
    let what = what.as_deref().map(|what| format!("  {what}")).unwrap_or_default();
    let head = format!("    {field}{what}");
    let change = change(old.as_deref(), new.as_deref());
    let place = at.as_ref().map(|at| format!("{}:{}", at.path, at.line)).unwrap_or_default();
    write_change(&head, &change, &place, look, out)?;
    let style = match class {
        Class::InPlace => DIM,
        Class::Restart => NOTE,
        Class::Unknown => WARNING,
        Class::Reset => ERROR,
    };
    for line in wrapped(why, look.width, "      ") {
        writeln!(out, "{}", look.paint(style, line))?;
    }
    // Differences of generated DAGs are left out, as their causes are shown already.
    match diff {
        Some(diff) if !field.starts_with("DAG ") => write_diff(diff, look, out),
        _ => Ok(()),
    }
}

/// Writes a field, its change and its place, on one line if they fit.
fn write_change(head: &str, change: &str, place: &str, look: Look, out: &mut impl Write) -> io::Result<()> {
    let fits = |used: usize| used + 2 + place.width() <= look.width;
    let short = head.width() + 2 + change.width();
    let beside = !change.is_empty() && fits(short) && !change.contains('\n');
    let line = if beside { format!("{head}  {change}") } else { head.to_owned() };
    let line = sanitize(&line);
    if place.is_empty() || !fits(line.width()) {
        writeln!(out, "{line}")?;
        if !place.is_empty() {
            writeln!(out, "      {}", look.paint(DIM, sanitize(place)))?;
        }
    } else {
        let pad = " ".repeat(look.width - line.width() - place.width());
        writeln!(out, "{line}{pad}{}", look.paint(DIM, sanitize(place)))?;
    }
    if !beside && !change.is_empty() {
        for line in wrapped(&sanitize(change), look.width, "      ") {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Writes the first lines of a difference.
fn write_diff(diff: &str, look: Look, out: &mut impl Write) -> io::Result<()> {
    let lines: Vec<&str> = diff.lines().collect();
    for line in lines.iter().take(LINES) {
        let style = match line.chars().next() {
            Some('+') => GOOD,
            Some('-') => ERROR,
            _ => DIM,
        };
        writeln!(out, "{}", look.paint(style, format!("      {}", cut(&sanitize(line), look.width - 6))))?;
    }
    if lines.len() > LINES {
        let more = format!("      … {} more lines", lines.len() - LINES);
        writeln!(out, "{}", look.paint(DIM, more))?;
    }
    Ok(())
}

fn change(old: Option<&str>, new: Option<&str>) -> String {
    match (old, new) {
        (Some(old), Some(new)) => format!("{old} → {new}"),
        (Some(old), None) => format!("without {old}"),
        (None, Some(new)) => format!("with {new}"),
        (None, None) => String::new(),
    }
}
