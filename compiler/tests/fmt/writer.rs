//! Writes a document in a random style: collections, and the lines between their parts.

use std::fmt::Write as _;

use crate::document::Node;

pub(crate) struct Writer {
    pub(crate) out: String,
    seed: u64,
    comments: usize,
    anchors: usize,
    /// The column of the collection with the last block scalar. Comments must not be indented deeper.
    pub(crate) block: Option<usize>,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { out: String::new(), seed, comments: 0, anchors: 0, block: None }
    }

    pub(crate) fn write(mut self, nodes: &[Node]) -> String {
        self.stream(nodes);
        self.out
    }

    /// Returns a number less than `n`.
    pub(crate) fn pick(&mut self, n: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.seed >> 33).unwrap_or_default() % n
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.pick(n) == 0
    }

    pub(crate) fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    pub(crate) fn spaces(&mut self, n: usize) {
        self.out.extend(std::iter::repeat_n(' ', n));
    }

    pub(crate) fn some_spaces(&mut self, from: usize, to: usize) {
        let n = from + self.pick(to - from + 1);
        self.spaces(n);
    }

    fn stream(&mut self, nodes: &[Node]) {
        self.lines_between(0);
        for (at, node) in nodes.iter().enumerate() {
            if at > 0 || self.one_in(3) {
                self.document_start(at);
            }
            if self.one_in(8) {
                self.out.push_str("&root\n");
            }
            let column = self.pick(3);
            self.block_node(node, None, column);
            self.lines_between(0);
        }
        if self.one_in(4) && !self.out.contains(['|', '>']) {
            self.out.truncate(self.out.trim_end().len());
        }
    }

    fn document_start(&mut self, at: usize) {
        if self.one_in(4) && at > 0 {
            self.out.push_str("...");
            self.trailing(3);
            self.out.push('\n');
            self.block = None;
            if self.one_in(2) {
                self.out.push_str("%YAML 1.2\n");
            }
        }
        self.out.push_str("---");
        self.block = None;
        self.trailing(3);
        self.out.push('\n');
    }

    /// Writes blank lines and comments at random columns.
    pub(crate) fn lines_between(&mut self, column: usize) {
        while self.one_in(3) {
            if self.one_in(2) {
                self.some_spaces(0, 1);
                if self.block.is_some() && self.out.ends_with(' ') {
                    self.out.pop();
                }
                self.out.push('\n');
            } else {
                let limit = self.block.unwrap_or(column + 5);
                self.some_spaces(0, limit);
                self.comment();
                self.out.push('\n');
            }
        }
    }

    fn comment(&mut self) {
        self.comments += 1;
        let spaces = ["", " ", "  ", "- ", "#", "! ", "é"];
        let before = spaces[self.pick(spaces.len())];
        let after = ["", " ", ": x", " # y", "\t"][self.pick(5)];
        let _ = write!(self.out, "#{before}cmt{}x{after}", self.comments);
    }

    /// Sometimes writes a comment after the content of a line.
    pub(crate) fn trailing(&mut self, odds: usize) {
        if self.one_in(odds) {
            self.some_spaces(1, 4);
            self.comment();
        } else if self.one_in(6) {
            self.some_spaces(0, 3);
        }
    }

    /// Writes a node on its own lines, at `column`.
    fn block_node(&mut self, node: &Node, parent: Option<usize>, column: usize) {
        match node {
            Node::Seq(items) if !items.is_empty() => self.seq(items, column, false),
            Node::Map(members) if !members.is_empty() => self.map(members, column, false),
            _ => {
                self.spaces(column);
                self.inline(node, parent);
            }
        }
    }

    fn seq(&mut self, items: &[Node], column: usize, compact: bool) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 || !compact {
                self.lines_between(column);
                self.spaces(column);
            }
            self.block = None;
            self.put("-");
            self.content(item, column, true);
        }
    }

    fn map(&mut self, members: &[(String, Node)], column: usize, compact: bool) {
        for (at, (key, value)) in members.iter().enumerate() {
            if at > 0 || !compact {
                self.lines_between(column);
                self.spaces(column);
            }
            self.block = None;
            if self.one_in(8) {
                self.put("?");
                self.some_spaces(1, 3);
                self.put(key);
                self.trailing(5);
                self.put("\n");
                self.lines_between(column);
                self.spaces(column);
            } else {
                if self.one_in(9) {
                    self.put("!!str ");
                }
                self.put(key);
                self.some_spaces(0, 1);
            }
            self.put(":");
            self.content(value, column, false);
        }
    }

    /// Writes the content of a `-` or `:` at `column`, and the end of its line.
    fn content(&mut self, node: &Node, column: usize, item: bool) {
        let anchored = self.anchor(node);
        match node {
            Node::Seq(items) if !items.is_empty() && !self.one_in(4) => {
                if let Some(column) = self.compact_column(column, item && !anchored) {
                    return self.seq(items, column, true);
                }
                self.trailing(4);
                self.put("\n");
                let deeper = self.pick(7);
                self.seq(items, column + deeper.max(usize::from(item)), false);
            }
            Node::Map(members) if !members.is_empty() && !self.one_in(4) => {
                if let Some(column) = self.compact_column(column, item && !anchored) {
                    return self.map(members, column, true);
                }
                self.trailing(4);
                self.put("\n");
                let deeper = 1 + self.pick(7);
                self.map(members, column + deeper, false);
            }
            Node::Null => {
                self.trailing(4);
                self.put("\n");
            }
            _ if self.one_in(6) => {
                self.trailing(4);
                self.put("\n");
                self.lines_between(column);
                let deeper = column + 1 + self.pick(5);
                self.spaces(deeper);
                self.inline(node, Some(column));
            }
            _ => {
                self.some_spaces(1, 4);
                self.inline(node, Some(column));
            }
        }
    }

    /// Sometimes writes an anchor, and returns whether it did.
    fn anchor(&mut self, node: &Node) -> bool {
        let anchored = self.one_in(8) && !matches!(node, Node::Null);
        if anchored {
            self.anchors += 1;
            let name = self.anchors;
            let _ = write!(self.out, " &a{name}");
        }
        anchored
    }

    /// Sometimes begins a collection on the line of its dash, if `allowed`, and returns its column.
    fn compact_column(&mut self, column: usize, allowed: bool) -> Option<usize> {
        (allowed && self.one_in(2)).then(|| {
            let spaces = 1 + self.pick(4);
            self.spaces(spaces);
            column + 1 + spaces
        })
    }
}
