//! Builds trees from YAML events, independent of the parser.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::Tag;

use super::scalar::{self, Ambiguity};
use super::{Entry, Kind, Node, NodeId, Parsed, Tree};
use crate::diag::{Code, Diagnostic};
use crate::source::Span;

/// Maximum number of nodes of a document after its aliases are expanded.
const MAX_EXPANDED: u64 = 200_000;

pub(super) type BuildResult = Result<(), Box<Diagnostic>>;

pub(super) struct Builder<'s> {
    source: &'s str,
    parsed: Parsed<'s>,
    tree: Tree<'s>,
    /// The open collections. Their members so far are at the ends of `entries` and `items`.
    frames: Vec<Frame<'s>>,
    entries: Vec<Entry<'s>>,
    items: Vec<NodeId>,
    anchors: HashMap<usize, NodeId>,
    aliased: bool,
    /// The offset of the document.
    begin: u32,
}

/// The style of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A plain scalar, which is resolved by its content.
    Plain,
    /// A text, regardless of its content.
    Text,
}

/// The properties before a value. Anchors are numbers above zero.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Properties<'t> {
    pub(super) anchor: usize,
    pub(super) tag: Option<&'t Tag>,
}

struct Frame<'s> {
    shape: Shape<'s>,
    /// The index of the collection's first member in the builder's stack.
    base: usize,
    span: Span,
    anchor: usize,
}

pub(super) enum Shape<'s> {
    Seq,
    /// The key of the next value, if it has been read.
    Map(Option<(Cow<'s, str>, Span)>),
}

impl<'s> Builder<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        // Manifests have about one node per twelve bytes. These capacities avoid most growth of the arena.
        let tree = Tree {
            nodes: Vec::with_capacity(source.len() / 24),
            entries: Vec::with_capacity(source.len() / 32),
            ..Tree::default()
        };
        Self {
            source,
            parsed: Parsed::default(),
            tree,
            frames: Vec::with_capacity(16),
            entries: Vec::with_capacity(32),
            items: Vec::with_capacity(16),
            anchors: HashMap::new(),
            aliased: false,
            begin: 0,
        }
    }

    pub(super) fn finish(self) -> Parsed<'s> {
        self.parsed
    }

    /// Returns the result if the rest of the text can't be parsed.
    pub(super) fn broken(mut self, diagnostic: Diagnostic) -> Parsed<'s> {
        self.parsed.diagnostics.push(diagnostic);
        self.parsed.broken = Some(self.begin);
        self.parsed
    }

    pub(super) fn begin_document(&mut self, at: u32) {
        self.begin = at;
    }

    pub(super) fn scalar(
        &mut self,
        text: Cow<'s, str>,
        style: Style,
        Properties { anchor, tag }: Properties<'_>,
        span: Span,
    ) -> BuildResult {
        let is_key = matches!(self.frames.last(), Some(Frame { shape: Shape::Map(None), .. }));
        if is_key && anchor == 0 {
            self.key(text, span);
            return Ok(());
        }
        let mut kind = Kind::Str;
        if style == Style::Plain {
            let empty = span.start == span.end;
            let (resolved, ambiguity) = if empty { (Kind::Null, None) } else { scalar::resolve(&text) };
            kind = resolved;
            if let Some(ambiguity) = ambiguity.filter(|_| tag.is_none()) {
                self.parsed.diagnostics.push(ambiguous(ambiguity, &text, span));
            }
        }
        if let Some(tag) = tag {
            kind = tagged(tag, kind, &text, span)?;
        }
        if is_key {
            // An alias may use the text of a key as a value.
            let id = self.tree.add(Node { kind, text: text.clone(), span });
            self.anchors.insert(anchor, id);
            self.key(text, span);
            return Ok(());
        }
        let span = self.underline(span);
        let id = self.tree.add(Node { kind, text, span });
        self.value(id, anchor);
        Ok(())
    }

    fn key(&mut self, text: Cow<'s, str>, span: Span) {
        if let Some(Frame { shape: Shape::Map(key), .. }) = self.frames.last_mut() {
            *key = Some((text, span));
        }
    }

    /// Returns the span without the white space after a block scalar, or the span of the key if the value is omitted.
    fn underline(&self, span: Span) -> Span {
        if span.start == span.end {
            return self.key_span().unwrap_or(span);
        }
        let text = self.source.get(span.range()).unwrap_or_default();
        let end = span.start + super::index(text.trim_end().len());
        Span { end: end.max(span.start), ..span }
    }

    fn key_span(&self) -> Option<Span> {
        match self.frames.last() {
            Some(Frame { shape: Shape::Map(Some((_, span))), .. }) => Some(*span),
            _ => None,
        }
    }

    pub(super) fn open(
        &mut self,
        shape: Shape<'s>,
        Properties { anchor, tag }: Properties<'_>,
        span: Span,
    ) -> BuildResult {
        if let Some(tag) = tag.filter(|tag| !matches!(tag.core_suffix(), Some("map" | "seq"))) {
            return Err(Box::new(unsupported_tag(tag, span)));
        }
        if let Some(Frame { shape: Shape::Map(None), .. }) = self.frames.last() {
            let diagnostic = Diagnostic::new(Code::UNSUPPORTED_YAML, "a collection is used as a key")
                .at(span, "keys are text")
                .help("if this was meant to be a template such as `{{ x }}`, put it in quotes");
            return Err(Box::new(diagnostic));
        }
        let base = match shape {
            Shape::Seq => self.items.len(),
            Shape::Map(_) => self.entries.len(),
        };
        let span = self.key_span().unwrap_or_else(|| self.first_line(span));
        self.frames.push(Frame { shape, base, span, anchor });
        Ok(())
    }

    fn first_line(&self, span: Span) -> Span {
        let rest = self.source.get(span.start as usize..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default().trim_end();
        Span { end: span.start + super::index(line.len()), ..span }
    }

    pub(super) fn close(&mut self) -> BuildResult {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let id = match frame.shape {
            Shape::Seq => self.tree.add_seq(frame.span, self.items.drain(frame.base..)),
            Shape::Map(_) => {
                self.duplicates(frame.base);
                self.merge_keys(frame.base)?;
                self.tree.add_map(frame.span, self.entries.drain(frame.base..))
            }
        };
        self.value(id, frame.anchor);
        Ok(())
    }

    /// Adds a finished node to the innermost open collection.
    fn value(&mut self, id: NodeId, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        match self.frames.last_mut().map(|frame| &mut frame.shape) {
            None => self.tree.root = id,
            Some(Shape::Seq) => self.items.push(id),
            Some(Shape::Map(key)) => {
                if let Some((key, key_span)) = key.take() {
                    self.entries.push(Entry { key, key_span, value: id });
                }
            }
        }
    }

    pub(super) fn alias(&mut self, anchor: usize, span: Span) -> BuildResult {
        if let Some(Frame { shape: Shape::Map(None), .. }) = self.frames.last() {
            let diagnostic = Diagnostic::new(Code::UNSUPPORTED_YAML, "an alias is used as a key")
                .at(span, "keys are text");
            return Err(Box::new(diagnostic));
        }
        self.aliased = true;
        match self.anchors.get(&anchor) {
            Some(&id) => {
                self.value(id, 0);
                Ok(())
            }
            None => {
                let diagnostic =
                    Diagnostic::new(Code::TOO_COMPLEX, "an alias stands inside of what it refers to")
                        .at(span, "this would go on forever");
                Err(Box::new(diagnostic))
            }
        }
    }

    /// Reports duplicate keys. The first of each stays, so that the rest can be read.
    fn duplicates(&mut self, base: usize) {
        let again = repeated(&self.entries[base..]);
        for (first, again) in &again {
            let (first, again) = (&self.entries[base + first], &self.entries[base + again]);
            let diagnostic =
                Diagnostic::new(Code::DUPLICATE_KEY, format!("`{}` stands twice in this map", again.key))
                    .at(again.key_span, "again here")
                    .at(first.key_span, "first here")
                    .help("keep one of the two: readers of YAML disagree about which of them counts");
            self.parsed.diagnostics.push(diagnostic);
        }
        for (_, again) in again.iter().rev() {
            self.entries.remove(base + again);
        }
    }

    /// Resolves a merge key: `<<: *base` adds the entries of `base` that the map doesn't have.
    fn merge_keys(&mut self, base: usize) -> BuildResult {
        let Some(at) = self.entries[base..].iter().position(|entry| entry.key == "<<") else { return Ok(()) };
        let merge = self.entries.remove(base + at);
        let sources = match self.tree.node(merge.value).kind {
            Kind::Map(_) => vec![merge.value],
            Kind::Seq(range) => self.tree.items[range.of()].to_vec(),
            _ => vec![],
        };
        let mut known: HashSet<String> =
            self.entries[base..].iter().map(|entry| entry.key.to_string()).collect();
        for source in &sources {
            let Kind::Map(range) = self.tree.node(*source).kind else {
                return Err(Box::new(bad_merge(merge.key_span)));
            };
            for entry in &self.tree.entries[range.of()] {
                if known.insert(entry.key.to_string()) {
                    self.entries.push(entry.clone());
                }
            }
        }
        match sources.is_empty() {
            true => Err(Box::new(bad_merge(merge.key_span))),
            false => Ok(()),
        }
    }

    pub(super) fn end_document(&mut self, at: u32) -> BuildResult {
        self.begin = at;
        let tree = std::mem::take(&mut self.tree);
        self.anchors.clear();
        if std::mem::take(&mut self.aliased) && expanded(&tree) > MAX_EXPANDED {
            let message = format!("the aliases of this document expand to more than {MAX_EXPANDED} values");
            let diagnostic =
                Diagnostic::new(Code::TOO_COMPLEX, message).at(tree.root().span(), "in this document");
            return Err(Box::new(diagnostic));
        }
        if !tree.root().is_null() {
            self.parsed.documents.push(tree);
        }
        Ok(())
    }
}

/// Returns the entries with a repeated key, in order, each with the first entry of this key.
fn repeated(entries: &[Entry<'_>]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    if entries.len() <= 16 {
        for (at, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..at].iter().position(|other| other.key == entry.key) {
                found.push((first, at));
            }
        }
        return found;
    }
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        match seen.get(&*entry.key) {
            Some(first) => found.push((*first, at)),
            None => {
                seen.insert(&entry.key, at);
            }
        }
    }
    found
}

/// Returns the number of nodes if every alias were a copy. In the arena, children precede their parents.
fn expanded(tree: &Tree<'_>) -> u64 {
    let mut weights: Vec<u64> = Vec::with_capacity(tree.nodes.len());
    for node in &tree.nodes {
        let weight = |id: &NodeId| weights[id.0 as usize];
        let below = match node.kind {
            Kind::Seq(range) => tree.items[range.of()].iter().map(weight).fold(0, u64::saturating_add),
            Kind::Map(range) => {
                tree.entries[range.of()].iter().map(|entry| weight(&entry.value)).fold(0, u64::saturating_add)
            }
            _ => 0,
        };
        weights.push(below.saturating_add(1));
    }
    weights.get(tree.root.0 as usize).copied().unwrap_or(0)
}

fn tagged(tag: &Tag, kind: Kind, text: &str, span: Span) -> Result<Kind, Box<Diagnostic>> {
    match (tag.core_suffix(), kind) {
        (Some("str"), _) => Ok(Kind::Str),
        (Some("int"), Kind::Int(_))
        | (Some("bool"), Kind::Bool(_))
        | (Some("null"), Kind::Null)
        | (Some("float"), Kind::Float(_) | Kind::Int(_)) => Ok(kind),
        (Some(name @ ("int" | "bool" | "null" | "float")), _) => {
            let message = format!("`{text}` is not what its tag `!!{name}` says");
            Err(Box::new(Diagnostic::new(Code::UNSUPPORTED_YAML, message).at(span, "")))
        }
        _ => Err(Box::new(unsupported_tag(tag, span))),
    }
}

fn unsupported_tag(tag: &Tag, span: Span) -> Diagnostic {
    let message = format!("the tag `{}` means nothing here", tag.original());
    Diagnostic::new(Code::UNSUPPORTED_YAML, message)
        .at(span, "")
        .help("remove the tag, or put the value in quotes")
}

fn bad_merge(span: Span) -> Diagnostic {
    Diagnostic::new(Code::UNSUPPORTED_YAML, "`<<` merges maps, and this is none")
        .at(span, "expected an alias of a map, or a list of them")
}

fn ambiguous(ambiguity: Ambiguity, text: &str, span: Span) -> Diagnostic {
    let (what, help) = match ambiguity {
        Ambiguity::Boolean(value) => (
            format!("`{text}` is text here, and a boolean to readers of YAML 1.1"),
            format!("write `{value}` for the boolean, or put the text in quotes: \"{text}\""),
        ),
        Ambiguity::Octal => (
            format!("`{text}` is an octal number to some readers of YAML, and a decimal one to others"),
            format!("write a decimal number without a leading zero, or put it in quotes: \"{text}\""),
        ),
        Ambiguity::Sexagesimal => (
            format!("`{text}` is text here, and a number of base 60 to readers of YAML 1.1"),
            format!("put it in quotes: \"{text}\""),
        ),
        Ambiguity::Underscored => (
            format!("`{text}` is text here, and a number to readers of YAML 1.1"),
            format!("write the number without underscores, or put it in quotes: \"{text}\""),
        ),
        Ambiguity::NotFinite => (
            format!("`{text}` is a number that JSON and most settings can't hold"),
            format!("put it in quotes if it is text: \"{text}\""),
        ),
    };
    Diagnostic::new(Code::AMBIGUOUS_SCALAR, what).at(span, "").help(help)
}
