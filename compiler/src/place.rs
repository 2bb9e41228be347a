//! Finds the place of a workload's field.

use crate::compile::Compilation;
use crate::graph::Node;
use crate::project::{AppliedOverlays, Project};
use crate::source::Span;
use crate::yaml::{self, NodeRef};

/// Returns the place of a field of a workload, or of its nearest ancestor. It parses the manifest again, because only
/// its text is stored. Plans call it for a few fields only.
pub fn find(compilation: &Compilation, project: &Project<'_>, node: &Node, path: &[&str]) -> Option<Span> {
    let file = node.at.file;
    let text = &compilation.sources.get(file).text;
    let documents = yaml::parse(file, text).documents;
    documents.into_iter().find_map(|mut tree| {
        project.apply(&mut tree, text, &mut AppliedOverlays::default());
        let root = tree.root();
        let is = |key, value: &str| root.find(["metadata", key]).and_then(NodeRef::scalar) == Some(value);
        (is("name", &node.name) && is("domain", &node.domain)).then(|| nearest(root, path))
    })
}

fn nearest(root: NodeRef<'_>, path: &[&str]) -> Span {
    // SQL may be in a separate file.
    let beside = path.split_last().filter(|(last, _)| **last == "query").and_then(|(_, above)| {
        let above = root.find(above.iter().copied())?;
        above.get("query").or_else(|| above.get("file"))
    });
    beside.unwrap_or_else(|| root.nearest(path.iter().copied())).span()
}
