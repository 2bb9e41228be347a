//! The graph for Graphviz.

use std::io::{self, Write};

use super::{View, reads};

pub(super) fn write(view: &View<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "digraph dcp {{")?;
    writeln!(out, "  rankdir=LR;")?;
    writeln!(out, "  node [fontname=\"Helvetica\"];")?;
    for (at, node) in view.nodes.iter().enumerate() {
        let label = format!("{}\n{}", node.address(), node.description());
        writeln!(out, "  w{at} [shape=box, style=rounded, label={}];", quoted(&label))?;
    }
    for (at, (dataset, ends)) in view.datasets.iter().enumerate() {
        let style = if ends.external() { ", style=dashed" } else { "" };
        let label = format!("{}\n{}", dataset.kind, dataset.name);
        writeln!(out, "  d{at} [shape=ellipse{style}, label={}];", quoted(&label))?;
    }
    for (at, (dataset, ends)) in view.datasets.iter().enumerate() {
        for producer in &ends.producers {
            writeln!(out, "  w{producer} -> d{at};")?;
        }
        for consumer in &ends.consumers {
            let style = if reads(view.nodes[*consumer], dataset) { "" } else { " [style=dotted]" };
            writeln!(out, "  d{at} -> w{consumer}{style};")?;
        }
    }
    writeln!(out, "}}")
}

/// Quotes a string of DOT. An unescaped backslash would start an escape such as `\N`, the node's name.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push('\u{fffd}'),
            // Graphviz decodes HTML entities in labels.
            '&' => quoted.push_str("&amp;"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn names_are_escaped_in_dot() {
        assert_eq!(quoted("a\"];b\\"), r#""a\"];b\\""#);
        assert_eq!(quoted("&lt;\nx"), "\"&amp;lt;\\nx\"");
    }
}
