//! Stored analyses: files without problems can be linked again without their texts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Analysis, PROJECT_FILE, Unit, file_of};
use crate::graph::{Link, Node};
use crate::lower::Lowered;
use crate::source::{FileId, SourceFile, Span};

/// An analysis without diagnostics, primitives and the texts of its files.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The id of the file at the time of the analysis.
    file: FileId,
    nodes: Vec<Node>,
    overlays: Vec<usize>,
    manifests: Vec<u32>,
    files: Vec<Box<str>>,
    owners: Vec<usize>,
}

impl Stored {
    /// Returns the analysis in a form that can be stored. Files with problems, and files with workloads of a group,
    /// need their texts to be linked.
    pub fn of(index: usize, analysis: &Analysis) -> Option<Self> {
        let Analysis { source: _, files, diagnostics, units, overlays, mentions, manifests, owners } =
            analysis;
        let complete = diagnostics.is_empty() && mentions.is_empty();
        if !complete || units.iter().any(|unit| unit.node.member.is_some()) {
            return None;
        }
        Some(Self {
            file: file_of(index),
            nodes: units.iter().map(|unit| unit.node.clone()).collect(),
            overlays: overlays.clone(),
            manifests: manifests.clone(),
            files: files.iter().map(|file| (*file.path).into()).collect(),
            owners: owners.clone(),
        })
    }

    /// Returns the number of manifests in the file.
    pub fn manifests(&self) -> usize {
        self.manifests.len()
    }

    /// Returns the domain and the name of the workload, if the file holds exactly one.
    pub fn workload(&self) -> Option<(String, String)> {
        match self.nodes.as_slice() {
            [node] if self.manifests.len() == 1 => Some((node.domain.clone(), node.name.clone())),
            _ => None,
        }
    }

    /// Returns whether linking another analysis of the file instead of this one gives the same graph and the same
    /// diagnostics, except for their places.
    pub fn links_as(&self, other: &Self) -> bool {
        let nodes = self.nodes.iter().zip(&other.nodes);
        self.nodes.len() == other.nodes.len()
            && nodes.into_iter().all(same)
            && self.overlays == other.overlays
    }

    /// Restores the analysis at another index among all files. Returns `None` if it is not consistent.
    pub fn restore(self, index: usize, path: &str) -> Option<Analysis> {
        let Self { file: old, mut nodes, overlays, manifests, files, owners } = self;
        let new = file_of(index);
        let known = |span: &mut Span| {
            if span.file == old {
                span.file = new;
                return true;
            }
            span.file == PROJECT_FILE || span.file.local_index().is_some_and(|local| local < files.len())
        };
        let consistent = owners.len() == files.len() && owners.iter().all(|owner| *owner < manifests.len());
        if !consistent || !nodes.iter_mut().flat_map(spans).all(known) {
            return None;
        }
        let empty = |path: Arc<str>| SourceFile { path, text: Arc::default() };
        Some(Analysis {
            source: empty(path.into()),
            files: files.into_iter().map(|path| empty(path.into())).collect(),
            diagnostics: Vec::new(),
            units: nodes.into_iter().map(|node| Unit { node, lowered: Lowered::default() }).collect(),
            overlays,
            mentions: BTreeSet::new(),
            manifests,
            owners,
        })
    }
}

/// Returns whether two nodes differ in places only.
fn same((one, other): (&Node, &Node)) -> bool {
    let datasets = |links: &[Link]| links.iter().map(|link| link.dataset.clone()).collect::<Vec<_>>();
    let Node { domain, name, job, run, at: _, reads, writes, shared, waits, checkpoint, member } = one;
    let links = [(reads, &other.reads), (writes, &other.writes), (waits, &other.waits)];
    (domain, name, job, run) == (&other.domain, &other.name, &other.job, &other.run)
        && links.into_iter().all(|(one, other)| datasets(one) == datasets(other))
        && datasets(checkpoint.as_slice()) == datasets(other.checkpoint.as_slice())
        && *shared == other.shared
        && member.is_none()
        && other.member.is_none()
}

fn spans(node: &mut Node) -> impl Iterator<Item = &mut Span> {
    let Node { at, reads, writes, waits, checkpoint, .. } = node;
    let links = reads.iter_mut().chain(writes).chain(waits).chain(checkpoint);
    std::iter::once(at).chain(links.map(|link| &mut link.at))
}
