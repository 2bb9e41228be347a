//! Changes to a tree: overlays merged in, and text replaced, with every value keeping the place it comes from.

use std::borrow::Cow;

use super::{Entry, Kind, Member, Node, NodeId, NodeRef, Tree, scalar};
use crate::source::Span;

/// Something that a merge has put into a tree, or taken out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'s> {
    pub path: Vec<&'s str>,
    /// Where the key stands that says so.
    pub at: Span,
    pub removed: bool,
}

/// Merges trees in the manner of a JSON merge patch: maps merge, `null` removes, everything else replaces.
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

    /// Merges, and tells what was changed.
    pub fn merge(mut self, patch: NodeRef<'s>) -> Vec<Change<'s>> {
        self.tree.root = self.merged(self.tree.root, patch);
        self.changes
    }

    /// The node that `base` becomes. Nodes are never changed, as an alias may share them: new ones take their place.
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
        // What a map changes are the fields in it.
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

    /// A list is changed as a whole, whatever is in it.
    fn item(&mut self, item: NodeRef<'s>) -> NodeId {
        let known = self.changes.len();
        let copied = self.copied(item);
        self.changes.truncate(known);
        copied
    }
}

/// What a piece of text becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// Text, whatever it looks like.
    Text(String),
    /// What a plain scalar of this text would be: `3` a number, `true` a boolean.
    Plain(String),
}

impl Tree<'_> {
    /// Offers every text of the tree to `replace`.
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
