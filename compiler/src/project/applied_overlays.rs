//! Adds the changes by overlays to diagnostics of a manifest.

use crate::diag::{Code, Diagnostic, Label};
use crate::source::Span;
use crate::yaml::{Change, NodeRef};

/// The indices of overlays that matched a manifest, and their changes.
#[derive(Debug, Default)]
pub struct AppliedOverlays<'p> {
    pub matched: Vec<usize>,
    pub(super) changes: Vec<Change<'p>>,
}

impl AppliedOverlays<'_> {
    /// Adds a label for the overlay to each diagnostic that is related to a change. Values that an overlay sets have
    /// their place in the overlay anyway. Values that it removes are missing from the manifest, and values that it
    /// sets may contradict another field.
    pub fn explain(&self, manifest: NodeRef<'_>, found: &mut [Diagnostic]) {
        for (index, change) in self.changes.iter().enumerate() {
            // A change that a later overlay overwrites has no effect.
            if self.changes[index + 1..].iter().any(|later| later.path == change.path) {
                continue;
            }
            for diagnostic in &mut *found {
                if concerns(diagnostic, change, manifest) {
                    explain(diagnostic, change);
                }
            }
        }
    }
}

fn concerns(diagnostic: &Diagnostic, change: &Change<'_>, manifest: NodeRef<'_>) -> bool {
    let Some((key, above)) = change.path.split_last() else { return false };
    let Some(at) = diagnostic.primary() else { return false };
    let value = manifest.find(change.path.iter().copied()).map(NodeRef::span);
    let is_label_of_change = |span: Span| span == change.at || Some(span) == value;
    if diagnostic.labels.iter().any(|label| is_label_of_change(label.span)) {
        return false;
    }
    let names_field = |name: &str| diagnostic.message.contains(&format!("`{name}`"));
    if above.first() == Some(&"spec") && names_field(&change.path[1..].join(".")) {
        return true;
    }
    let Some(map) = manifest.find(above.iter().copied()) else { return false };
    let beside = map.span() == at || map.members().any(|it| it.key_span == at || it.value.span() == at);
    let itself = map.member(key).is_some_and(|member| member.key_span == at);
    itself || (beside && names_field(key))
}

fn explain(diagnostic: &mut Diagnostic, change: &Change<'_>) {
    let text = if change.removed { "this overlay removes it" } else { "this overlay sets it" };
    diagnostic.labels.push(Label { span: change.at, text: text.to_owned() });
    let lacks = matches!(diagnostic.code, Code::MISSING_FIELD | Code::EXACTLY_ONE);
    if change.removed && lacks {
        // A value that is added to the manifest would be removed as well.
        diagnostic.help = Some("take this out of the overlay, or have it set another value".to_owned());
    }
}
