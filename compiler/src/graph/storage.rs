//! Checks of paths that workloads must not share: outputs of streams, and checkpoints.

use std::collections::BTreeMap;

use dcp_model::dataset::DatasetKind;
use dcp_model::manifest::JobKind;

use super::{Link, Node, report_shared};
use crate::diag::{Code, Diagnostic, Severity};

type Places<'g> = BTreeMap<&'g str, (&'g Node, &'g Link)>;

pub(super) fn check(nodes: &[Node]) -> Vec<Diagnostic> {
    let checkpoints: Places<'_> = by_path(nodes, |node| node.checkpoint.as_slice());
    let mut found = writers(nodes);
    for (node, link) in checkpoints.values() {
        // Equal paths are reported as shared checkpoints.
        let inside =
            ancestors(&link.dataset.name, &checkpoints).find(|(_, outer)| outer.dataset != link.dataset);
        found.extend(inside.map(|outer| nested_checkpoint((node, link), outer)));
    }
    let written: Places<'_> = by_path(nodes, |node| node.writes.as_slice());
    let read: Places<'_> =
        by_path(nodes.iter().filter(|node| node.job == JobKind::Stream), |node| node.reads.as_slice());
    for checkpoint in checkpoints.values() {
        let name = &checkpoint.1.dataset.name;
        let data = ancestors(name, &read).next().map(|data| (data, "is read"));
        let data = data.or_else(|| Some((ancestors(name, &written).next()?, "is written")));
        found.extend(data.map(|(data, what)| data_overlap(*checkpoint, data, what)));
    }
    for (node, link) in written.values() {
        let inside = ancestors(&link.dataset.name, &checkpoints)
            .find(|(_, outer)| outer.dataset.name != link.dataset.name);
        found.extend(inside.map(|(owner, checkpoint)| {
            let message = format!("`{}` writes into the checkpoint of `{}`", node.address(), owner.address());
            let mut diagnostic = Diagnostic::new(Code::CHECKPOINT_OVERLAPS_DATA, message)
                .at(link.at, "lies inside")
                .at(checkpoint.at, "of this checkpoint")
                .help("keep them side by side: who resets the stream takes the data with it");
            diagnostic.severity = Severity::Error;
            diagnostic
        }));
    }
    found
}

/// Reports streams that write to the same folder. A file sink stores the list of its batches in the folder. A second
/// stream finds the batches of the first in it, and skips its own.
fn writers(nodes: &[Node]) -> Vec<Diagnostic> {
    let streams = nodes.iter().filter(|node| node.job == JobKind::Stream);
    let paths = streams.flat_map(|node| node.writes.iter().map(move |link| (node, link)));
    let paths = paths.filter(|(_, link)| link.dataset.kind == DatasetKind::Path);
    report_shared(paths, |dataset, again, first| {
        let (first, again) = (first.address(), again.address());
        let message = format!("the streams `{first}` and `{again}` both write to `{}`", dataset.name);
        let help = "give each a folder of its own: Spark takes the batches of one for those of the other, and loses them";
        Some(Diagnostic::new(Code::TWO_WRITERS, message).help(help))
    })
}

fn nested_checkpoint((node, link): (&Node, &Link), (owner, outer): (&Node, &Link)) -> Diagnostic {
    let message =
        format!("the checkpoint of `{}` lies inside of that of `{}`", node.address(), owner.address());
    Diagnostic::new(Code::SHARED_CHECKPOINT, message)
        .at(link.at, "lies inside")
        .at(outer.at, "of this one")
        .help("keep them side by side: who resets the outer stream takes the inner one's progress with it")
}

fn data_overlap((node, link): (&Node, &Link), (_, data): (&Node, &Link), what: &str) -> Diagnostic {
    let message = format!("the checkpoint of `{}` lies in a folder that {what}", node.address());
    Diagnostic::new(Code::CHECKPOINT_OVERLAPS_DATA, message)
        .at(link.at, "lies inside")
        .at(data.at, "of this folder")
        .help("keep checkpoints apart from data: who reads the folder may meet it, and who empties it takes it along")
}

fn by_path<'g>(
    nodes: impl IntoIterator<Item = &'g Node>,
    links: impl Fn(&'g Node) -> &'g [Link],
) -> Places<'g> {
    let mut places = Places::new();
    for node in nodes {
        for link in links(node)
            .iter()
            .filter(|link| matches!(link.dataset.kind, DatasetKind::Path | DatasetKind::Checkpoint))
        {
            places.entry(&link.dataset.name).or_insert((node, link));
        }
    }
    places
}

/// Returns the entries of a path and its ancestors, the nearest first.
fn ancestors<'p, 'g>(
    path: &'p str,
    places: &'p Places<'g>,
) -> impl Iterator<Item = (&'g Node, &'g Link)> + use<'p, 'g> {
    let above = path.rmatch_indices('/').map(|(at, _)| &path[..at]);
    std::iter::once(path).chain(above).filter_map(|path| places.get(path).copied())
}
