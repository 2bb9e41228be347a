//! The graph for people: each workload with its inputs and their producers, and its outputs and their consumers.

use std::io::{self, Write};

use dcp_compiler::graph::Node;
use dcp_model::dataset::Dataset;

use super::View;
use crate::out::{BOLD, DIM, Look, WARNING};
use crate::render::{cut, format_count, sanitize};

/// The width of the column of names.
const NAMES: usize = 38;

pub(super) fn write(view: &View<'_>, look: Look, out: &mut impl Write) -> io::Result<()> {
    for node in &view.nodes {
        workload(view, node, look, out)?;
    }
    let external = view.datasets.values().filter(|ends| ends.external()).count();
    let (workloads, datasets) = (view.nodes.len(), view.datasets.len());
    let counts = [format_count(workloads, "workload"), format_count(datasets, "dataset")].join(", ");
    writeln!(out, "{counts}{}", if external > 0 { format!(", {external} external") } else { String::new() })
}

fn workload(view: &View<'_>, node: &Node, look: Look, out: &mut impl Write) -> io::Result<()> {
    let group = node.member.as_ref().map(|member| format!(", group {}", member.group)).unwrap_or_default();
    let kind = look.paint(DIM, format_args!("{}{group}", node.description()));
    writeln!(out, "{}  {kind}", look.paint(BOLD, sanitize(&node.address())))?;
    let mut lines: Vec<(&str, &Dataset, String)> = Vec::new();
    for link in &node.reads {
        lines.push(("reads", &link.dataset, from(view, &link.dataset, look)));
    }
    for link in &node.waits {
        lines.push(("waits", &link.dataset, from(view, &link.dataset, look)));
    }
    for link in &node.writes {
        let ends = view.datasets.get(&link.dataset);
        let names = ends.map(|ends| view.names(&ends.consumers)).unwrap_or_default();
        lines.push(("writes", &link.dataset, arrow("→", &names, look)));
    }
    let mut before = "";
    for (verb, dataset, others) in lines {
        let shown = if verb == before { "" } else { verb };
        before = verb;
        let name = sanitize(&dataset.to_string());
        let width = name.chars().count();
        write!(out, "  {shown:6}  {name}")?;
        match others.as_str() {
            "" => writeln!(out)?,
            // A long name gets a line of its own.
            _ if width + 2 > NAMES => writeln!(out, "\n{:indent$}{others}", "", indent = 10 + NAMES)?,
            _ => writeln!(out, "{:pad$}{others}", "", pad = NAMES - width)?,
        }
    }
    writeln!(out)
}

fn from(view: &View<'_>, dataset: &Dataset, look: Look) -> String {
    match view.datasets.get(dataset) {
        Some(ends) if !ends.external() => arrow("←", &view.names(&ends.producers), look),
        _ => look.paint(WARNING, "external"),
    }
}

/// Returns a line for each name, cut to the width of a terminal.
fn arrow(arrow: &str, names: &[String], look: Look) -> String {
    let indent = " ".repeat(10 + NAMES);
    let line = |name: &String| {
        let line = format!("{arrow} {}", sanitize(name));
        if look.terminal { cut(&line, look.width.saturating_sub(indent.len())) } else { line }
    };
    let lines: Vec<String> = names.iter().map(line).collect();
    lines.join(&format!("\n{indent}"))
}
