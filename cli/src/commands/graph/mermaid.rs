//! The graph for Markdown.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::{View, reads};

pub(super) fn write(view: &View<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "flowchart LR")?;
    for (at, node) in view.nodes.iter().enumerate() {
        let (name, kind) = (escaped(&node.address()), node.description());
        writeln!(out, "  w{at}[\"{name}<br/>{kind}\"]")?;
    }
    for (at, dataset) in view.datasets.keys().enumerate() {
        writeln!(out, "  d{at}([\"{}<br/>{}\"])", dataset.kind, escaped(&dataset.name))?;
    }
    for (at, (dataset, ends)) in view.datasets.iter().enumerate() {
        for producer in &ends.producers {
            writeln!(out, "  w{producer} --> d{at}")?;
        }
        for consumer in &ends.consumers {
            let arrow = if reads(view.nodes[*consumer], dataset) { "-->" } else { "-.->" };
            writeln!(out, "  d{at} {arrow} w{consumer}")?;
        }
    }
    let external = view.datasets.values().enumerate().filter(|(_, ends)| ends.external());
    let external: Vec<String> = external.map(|(at, _)| format!("d{at}")).collect();
    if !external.is_empty() {
        writeln!(out, "  classDef external stroke-dasharray: 4 3")?;
        writeln!(out, "  class {} external", external.join(","))?;
    }
    Ok(())
}

/// Escapes text for quotes: characters other than those of plain names become numeric entities.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | ' ') {
            escaped.push(c);
        } else {
            let _ = write!(escaped, "#{};", u32::from(c));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn names_are_escaped_in_mermaid() {
        assert_eq!(escaped("a\"]<b>#c;\n"), "a#34;#93;#60;b#62;#35;c#59;#10;");
        assert_eq!(escaped("s3://lake/größe_1.x"), "s3://lake/größe_1.x");
    }
}
