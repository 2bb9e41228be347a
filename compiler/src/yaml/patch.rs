//! Changes to a tree: merged overlays and replaced texts. Each value preserves the place from which it comes.

use std::borrow::Cow;

use super::{Entry, Kind, Member, Node, NodeId, NodeRef, Tree, scalar};
use crate::source::Span;

/// A change to a tree by a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'s> {
    pub path: Vec<&'s str>,
    /// The place of the key in the overlay.
    pub at: Span,
    pub removed: bool,
}

/// Merges trees like a JSON merge patch: maps are merged, `null` removes, and other values replace.
#[derive(Debug)]
pub struct Merger<'m, 's> {
    tree: &'m mut Tree<'s>,
    path: Vec<&'s str>,
    changes: Vec<Change<'s>>,
}

impl<'m, 's> Merger<'m, 's> {
    pub fn new(tree: &'m mut Tree<'s>) -> Self {
        Self { tree, path: Vec::new(), changes: Vec::new() }
    }

    /// Merges a patch, and returns the changes.
    pub fn merge(mut self, patch: NodeRef<'s>) -> Vec<Change<'s>> {
        self.tree.root = self.merged(self.tree.root, patch);
        self.changes
    }

    /// Returns the merged node. Nodes are never modified, because aliases may share them; new nodes replace them.
    fn merged(&mut self, base: NodeId, patch: NodeRef<'s>) -> NodeId {
        let Kind::Map(range) = self.tree.node(base).kind else { return self.copied(patch) };
        if !patch.is_map() {
            return self.copied(patch);
        }
        let span = self.tree.node(base).span;
        let mut entries = self.tree.entries[range.of()].to_vec();
        for member in patch.members() {
            self.path.push(member.key);
            let at = entries.iter().position(|entry| entry.key == member.key);
            match at {
                Some(at) if member.value.is_null() => {
                    entries.remove(at);
                    self.note(member, true);
                }
                Some(at) => {
                    self.note(member, false);
                    entries[at].value = self.merged(entries[at].value, member.value);
                }
                None if member.value.is_null() => {}
                None => {
                    self.note(member, false);
                    let value = self.copied(member.value);
                    entries.push(Entry { key: Cow::Borrowed(member.key), key_span: member.key_span, value });
                }
            }
            self.path.pop();
        }
        self.tree.add_map(span, entries)
    }

    fn note(&mut self, member: Member<'s>, removed: bool) {
        // A map is not a change itself, but its fields are.
        if removed || !member.value.is_map() {
            self.changes.push(Change { path: self.path.clone(), at: member.key_span, removed });
        }
    }

    fn copied(&mut self, node: NodeRef<'s>) -> NodeId {
        match node.node().kind {
            Kind::Map(_) => {
                let mut entries = Vec::new();
                for member in node.members() {
                    self.path.push(member.key);
                    self.note(member, false);
                    let value = self.copied(member.value);
                    self.path.pop();
                    entries.push(Entry { key: Cow::Borrowed(member.key), key_span: member.key_span, value });
                }
                self.tree.add_map(node.span(), entries)
            }
            Kind::Seq(_) => {
                let items: Vec<_> = node.items().map(|item| self.item(item)).collect();
                self.tree.add_seq(node.span(), items)
            }
            kind => {
                let Node { text, span, .. } = node.node();
                self.tree.add(Node { kind, text: Cow::Borrowed(text), span: *span })
            }
        }
    }

    /// Copies an item of a list. Changes in lists are not noted, because a list is replaced as a whole.
    fn item(&mut self, item: NodeRef<'s>) -> NodeId {
        let known = self.changes.len();
        let copied = self.copied(item);
        self.changes.truncate(known);
        copied
    }
}

/// The replacement of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// A text, regardless of its content.
    Text(String),
    /// A plain scalar, which is resolved by its content: `3` is a number, `true` a boolean.
    Plain(String),
}

impl Tree<'_> {
    /// Calls `replace` with every text of the tree.
    pub fn replace_text(&mut self, mut replace: impl FnMut(&str, Span) -> Option<Replacement>) {
        for node in &mut self.nodes {
            if node.kind != Kind::Str {
                continue;
            }
            match replace(&node.text, node.span) {
                None => {}
                Some(Replacement::Text(text)) => node.text = Cow::Owned(text),
                Some(Replacement::Plain(text)) => {
                    node.kind = scalar::resolve(&text).0;
                    node.text = Cow::Owned(text);
                }
            }
        }
    }
}
