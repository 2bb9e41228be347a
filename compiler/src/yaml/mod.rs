//! YAML trees that contain the place of every value.
//!
//! The tree is an arena: the nodes, the entries of all maps and the items of all sequences are in three vectors, and
//! text is borrowed from the source. `jsonschema` and `serde` read it directly, without a copy.

mod build;
mod de;
mod fast_path;
pub mod fmt;
mod indentation;
mod json;
mod messages;
mod parse;
mod patch;
mod scalar;
mod scan_errors;
mod source_map;

use std::borrow::Cow;

pub use de::Error as DecodeError;
pub use json::TreeJson;
pub use parse::{parse, parse_full};
pub use patch::{Change, Merger, Replacement};

use crate::diag::Diagnostic;
use crate::source::Span;

/// Maximum depth of a tree. It is low enough for recursive functions.
const MAX_DEPTH: usize = 64;

/// The documents of a file that could be parsed, and the diagnostics.
#[derive(Debug, PartialEq, Default)]
pub struct Parsed<'s> {
    pub documents: Vec<Tree<'s>>,
    /// The offset of the first document that could not be parsed. The rest of the file is missing too.
    pub broken: Option<u32>,
    pub diagnostics: Vec<Diagnostic>,
}

/// The nodes of a document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree<'s> {
    nodes: Vec<Node<'s>>,
    entries: Vec<Entry<'s>>,
    items: Vec<NodeId>,
    root: NodeId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NodeId(u32);

#[derive(Debug, Clone, PartialEq)]
struct Node<'s> {
    kind: Kind,
    /// The text of a scalar, without escapes. It is empty for collections.
    text: Cow<'s, str>,
    /// The span for diagnostics: a scalar itself, or the key of a collection, or its first line if it has no key.
    span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str,
    Seq(Range),
    Map(Range),
}

/// A range of [`Tree::items`] or [`Tree::entries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u32,
    end: u32,
}

impl Range {
    fn of(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry<'s> {
    key: Cow<'s, str>,
    key_span: Span,
    value: NodeId,
}

/// A node with its tree.
#[derive(Clone, Copy)]
pub struct NodeRef<'t> {
    tree: &'t Tree<'t>,
    id: NodeId,
}

/// One key of a map and its value.
#[derive(Debug, Clone, Copy)]
pub struct Member<'t> {
    pub key: &'t str,
    pub key_span: Span,
    pub value: NodeRef<'t>,
}

impl<'s> Tree<'s> {
    pub fn root(&self) -> NodeRef<'_> {
        NodeRef { tree: self, id: self.root }
    }

    fn node(&self, id: NodeId) -> &Node<'s> {
        &self.nodes[id.0 as usize]
    }

    fn add(&mut self, node: Node<'s>) -> NodeId {
        let id = NodeId(index(self.nodes.len()));
        self.nodes.push(node);
        id
    }

    fn add_map(&mut self, span: Span, members: impl IntoIterator<Item = Entry<'s>>) -> NodeId {
        let start = index(self.entries.len());
        self.entries.extend(members);
        let end = index(self.entries.len());
        let kind = Kind::Map(Range { start, end });
        self.add(Node { kind, text: Cow::Borrowed(""), span })
    }

    fn add_seq(&mut self, span: Span, items: impl IntoIterator<Item = NodeId>) -> NodeId {
        let start = index(self.items.len());
        self.items.extend(items);
        let end = index(self.items.len());
        let kind = Kind::Seq(Range { start, end });
        self.add(Node { kind, text: Cow::Borrowed(""), span })
    }

    /// Renames the key `from` of `map` to `to`, to continue with the name that was probably meant.
    pub fn rename_key(&mut self, map: NodeId, from: &str, to: &str) {
        let Kind::Map(range) = self.node(map).kind else { return };
        for entry in &mut self.entries[range.of()] {
            if entry.key == from {
                entry.key = Cow::Owned(to.to_owned());
            }
        }
    }
}

/// Converts an offset. Sources are limited to far less than 4 GiB, and each node takes at least one byte.
fn index(len: usize) -> u32 {
    u32::try_from(len).expect("a source is smaller than 4 GiB")
}

impl std::fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

impl<'t> NodeRef<'t> {
    fn node(self) -> &'t Node<'t> {
        self.tree.node(self.id)
    }

    pub fn id(self) -> NodeId {
        self.id
    }

    pub fn span(self) -> Span {
        self.node().span
    }

    /// Returns the text of a scalar of any type, or `None` for collections and null.
    pub fn scalar(self) -> Option<&'t str> {
        let node = self.node();
        match node.kind {
            Kind::Null | Kind::Seq(_) | Kind::Map(_) => None,
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str => Some(&node.text),
        }
    }

    pub fn as_str(self) -> Option<&'t str> {
        let node = self.node();
        matches!(node.kind, Kind::Str).then_some(&*node.text)
    }

    pub fn is_map(self) -> bool {
        matches!(self.node().kind, Kind::Map(_))
    }

    pub fn is_null(self) -> bool {
        matches!(self.node().kind, Kind::Null)
    }

    /// Returns a description of the node's type for messages.
    pub fn type_name(self) -> &'static str {
        match self.node().kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Int(_) => "a number",
            Kind::Float(_) => "a number with a fraction",
            Kind::Str => "text",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    pub fn members(self) -> impl ExactSizeIterator<Item = Member<'t>> {
        let entries = match self.node().kind {
            Kind::Map(range) => &self.tree.entries[range.of()],
            _ => &[],
        };
        entries.iter().map(move |entry| Member {
            key: &entry.key,
            key_span: entry.key_span,
            value: NodeRef { tree: self.tree, id: entry.value },
        })
    }

    pub fn items(self) -> impl ExactSizeIterator<Item = NodeRef<'t>> {
        let items = match self.node().kind {
            Kind::Seq(range) => &self.tree.items[range.of()],
            _ => &[],
        };
        items.iter().map(move |&id| NodeRef { tree: self.tree, id })
    }

    pub fn member(self, key: &str) -> Option<Member<'t>> {
        self.members().find(|member| member.key == key)
    }

    pub fn get(self, key: &str) -> Option<NodeRef<'t>> {
        self.member(key).map(|member| member.value)
    }

    /// Returns the node at a path of keys and indices, if it exists.
    pub fn find<'p>(self, path: impl IntoIterator<Item = &'p str>) -> Option<NodeRef<'t>> {
        path.into_iter().try_fold(self, NodeRef::step)
    }

    /// Returns the node at a path, or its nearest ancestor if it doesn't exist.
    #[must_use]
    pub fn nearest<'p>(self, path: impl IntoIterator<Item = &'p str>) -> NodeRef<'t> {
        let mut at = self;
        for segment in path {
            match at.step(segment) {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }

    fn step(self, segment: &str) -> Option<NodeRef<'t>> {
        match self.node().kind {
            Kind::Map(_) => self.get(segment),
            Kind::Seq(_) => self.items().nth(segment.parse().ok()?),
            _ => None,
        }
    }

    /// Returns the place in `source` of a range of a scalar's text, or of the whole scalar if it has escapes.
    pub fn within(self, source: &str, range: std::ops::Range<u32>) -> Span {
        source_map::within(source, self.span(), &self.node().text, range)
    }

    /// Visits this node and all nodes below it. Aliases are expanded.
    pub fn walk(self, visit: &mut impl FnMut(NodeRef<'t>)) {
        visit(self);
        self.members().for_each(|member| member.value.walk(visit));
        self.items().for_each(|item| item.walk(visit));
    }

    pub fn decode<T: serde::Deserialize<'t>>(self) -> Result<T, DecodeError> {
        T::deserialize(self)
    }
}
