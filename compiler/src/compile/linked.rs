//! The union of all analyses, and the last steps on their diagnostics.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::primitive::Primitive;

use super::{Analysis, Manifests, Unit};
use crate::diag::{Code, Diagnostic};
use crate::graph::Node;
use crate::lower::{Lowered, Part};
use crate::source::{FileId, Sources, Span};

/// The union of the analyses of all files.
#[derive(Default)]
pub(super) struct Linked {
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) nodes: Vec<Node>,
    pub(super) primitives: Vec<Primitive>,
    /// The parts of workloads in the DAGs of their groups, by the indices of their nodes.
    pub(super) parts: BTreeMap<usize, Part>,
    pub(super) overlays: BTreeSet<usize>,
    pub(super) mentions: BTreeSet<String>,
    pub(super) manifests: Manifests,
}

impl Linked {
    pub(super) fn add(&mut self, file: FileId, analysis: Analysis, sources: &mut Sources) {
        let Analysis { source: _, files, mut diagnostics, units, overlays, mentions, manifests, owners } =
            analysis;
        let globals: Vec<FileId> = files.into_iter().map(|file| sources.add(file)).collect();
        let globalize = |span: &mut Span| {
            if let Some(global) = span.file.local_index().and_then(|index| globals.get(index)) {
                span.file = *global;
            }
        };
        for label in diagnostics.iter_mut().flat_map(|diagnostic| &mut diagnostic.labels) {
            globalize(&mut label.span);
        }
        for Unit { mut node, lowered: Lowered { primitives, part } } in units {
            for link in node.reads.iter_mut().chain(&mut node.writes).chain(&mut node.waits) {
                globalize(&mut link.at);
            }
            self.parts.extend(part.map(|part| (self.nodes.len(), *part)));
            self.nodes.push(node);
            self.primitives.extend(primitives);
        }
        self.manifests.add(file, &manifests, globals.iter().copied().zip(owners));
        self.diagnostics.extend(diagnostics);
        self.overlays.extend(overlays);
        self.mentions.extend(mentions);
    }
}

/// Sorts diagnostics, and removes secrets from them.
pub(super) fn finish(sources: &mut Sources, diagnostics: &mut [Diagnostic]) {
    Diagnostic::sort(diagnostics);
    let secrets = diagnostics.iter().filter(|found| found.code == Code::SECRET_LITERAL);
    let places: Vec<Span> = secrets.filter_map(Diagnostic::primary).collect();
    redact_messages(sources, diagnostics, &places);
    sources.redact(&places);
}

/// Hides the texts at these places in all messages, because other diagnostics may quote them.
fn redact_messages(sources: &Sources, diagnostics: &mut [Diagnostic], places: &[Span]) {
    // Shorter texts also occur in messages by chance, and are too short for a secret.
    const MIN_LENGTH: usize = 5;
    let text = |place: &Span| sources.get(place.file).text.get(place.range()).unwrap_or_default();
    let values: BTreeSet<&str> = places.iter().flat_map(|place| text(place).lines()).collect();
    let values =
        values.into_iter().map(|line| line.trim_matches(|c: char| c.is_whitespace() || "\"'".contains(c)));
    for value in values.filter(|value| value.len() >= MIN_LENGTH) {
        for diagnostic in diagnostics.iter_mut() {
            let labels = diagnostic.labels.iter_mut().map(|label| &mut label.text);
            for text in labels.chain([&mut diagnostic.message]).chain(&mut diagnostic.help) {
                if text.contains(value) {
                    *text = text.replace(value, dcp_model::secrets::REDACTED);
                }
            }
        }
    }
}
