//! Changes to a tree: overlays merged in, and text replaced, with every value keeping the place it comes from.

use std::borrow::Cow;

use super::{Entry, Kind, Node, NodeId, NodeRef, Tree, scalar};

/// Merges trees in the manner of a JSON merge patch: maps merge, `null` removes, everything else replaces.
#[derive(Debug)]
pub struct Merger<'m, 's> {
    tree: &'m mut Tree<'s>,
}

impl<'m, 's> Merger<'m, 's> {
    pub fn new(tree: &'m mut Tree<'s>) -> Self {
        Self { tree }
    }

    pub fn merge(&mut self, patch: NodeRef<'s>) {
        self.tree.root = self.merged(self.tree.root, patch);
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
            let at = entries.iter().position(|entry| entry.key == member.key);
            match at {
                Some(at) if member.value.is_null() => {
                    entries.remove(at);
                }
                Some(at) => entries[at].value = self.merged(entries[at].value, member.value),
                None if member.value.is_null() => {}
                None => {
                    let value = self.copied(member.value);
                    entries.push(Entry { key: Cow::Borrowed(member.key), key_span: member.key_span, value });
                }
            }
        }
        self.tree.add_map(span, entries)
    }

    fn copied(&mut self, node: NodeRef<'s>) -> NodeId {
        match node.node().kind {
            Kind::Map(_) => {
                let entries: Vec<_> = node
                    .members()
                    .map(|member| Entry {
                        key: Cow::Borrowed(member.key),
                        key_span: member.key_span,
                        value: self.copied(member.value),
                    })
                    .collect();
                self.tree.add_map(node.span(), entries)
            }
            Kind::Seq(_) => {
                let items: Vec<_> = node.items().map(|item| self.copied(item)).collect();
                self.tree.add_seq(node.span(), items)
            }
            kind => {
                let Node { text, span, .. } = node.node();
                self.tree.add(Node { kind, text: Cow::Borrowed(text), span: *span })
            }
        }
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
    pub fn replace_text(
        &mut self,
        mut replace: impl FnMut(&str, crate::source::Span) -> Option<Replacement>,
    ) {
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
