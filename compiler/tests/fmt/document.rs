//! Random documents in random styles: every way to write YAML that the parser takes, and comments everywhere.

use std::fmt::Write as _;

use proptest::prelude::*;

/// What a document says, apart from its style.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Null,
    Scalar(String),
    Lines(Vec<String>),
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

pub(crate) fn stream() -> impl Strategy<Value = String> {
    (prop::collection::vec(node(), 1..4), any::<u64>(), any::<bool>()).prop_map(|(nodes, seed, carriage)| {
        let mut writer = Writer { out: String::new(), seed, comments: 0, anchors: 0, block: None };
        writer.stream(&nodes);
        if carriage { writer.out.replace('\n', "\r\n") } else { writer.out }
    })
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        1 => Just(Node::Null),
        4 => scalar().prop_map(Node::Scalar),
        2 => prop::collection::vec(line(), 1..5).prop_map(Node::Lines),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Node::Seq),
            prop::collection::vec((key(), inner), 0..5).prop_map(Node::Map),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "[a-z] [a-zß]{1,3}", "\"[a-z :#]{0,4}\"", "'[a-z -]{0,4}'", "[a-z]:[0-9]"]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[0-9]{1,5}",
        "[a-z]{1,3}(#|:|\\\\|-|é|日)[a-z]{1,3}",
        "\"[a-z #:,{}\\[\\]é]{0,9}(\\\\n|\\\\\"|\\\\\\\\)?\"",
        "'[a-z #:,{}\\[\\]\\\\\"]{0,9}('')?'",
    ]
}

/// A line of a block scalar, or of one in quotes.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        2 => "[a-z]{1,5} [a-z]{1,5}",
        1 => " {1,4}[a-z]{1,5}",
        1 => "[a-z]{1,5} {1,3}",
        1 => "(#|- |a: |---|\\|)[a-z]{0,3}",
        1 => " {1,5}",
        1 => "\u{a0}?\t?[a-z]{1,3}",
    ]
}

struct Writer {
    out: String,
    seed: u64,
    comments: usize,
    anchors: usize,
    /// The column of the collection with the block scalar that was written last: no comment may stand deeper.
    block: Option<usize>,
}

impl Writer {
    /// A number less than `n`.
    fn pick(&mut self, n: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.seed >> 33).unwrap() % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.pick(n) == 0
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn spaces(&mut self, n: usize) {
        self.out.extend(std::iter::repeat_n(' ', n));
    }

    fn some_spaces(&mut self, from: usize, to: usize) {
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

    /// Blank lines and comments, each of them at a column of its own.
    fn lines_between(&mut self, column: usize) {
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
        let spaces = ["", " ", "  ", "- ", "#", "! "];
        let before = spaces[self.pick(spaces.len())];
        let after = ["", " ", ": x", " # y", "\t"][self.pick(5)];
        let _ = write!(self.out, "#{before}cmt{}x{after}", self.comments);
    }

    /// A comment behind what the line has, once in a while.
    fn trailing(&mut self, odds: usize) {
        if self.one_in(odds) {
            self.some_spaces(1, 4);
            self.comment();
        } else if self.one_in(6) {
            self.some_spaces(0, 3);
        }
    }

    /// A node on lines of its own, at `column`.
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

    /// What a `-` or `:` at `column` has, and the end of its line.
    fn content(&mut self, node: &Node, column: usize, item: bool) {
        let anchored = self.one_in(8) && !matches!(node, Node::Null);
        if anchored {
            self.anchors += 1;
            let name = self.anchors;
            let _ = write!(self.out, " &a{name}");
        }
        match node {
            Node::Seq(items) if !items.is_empty() && !self.one_in(4) => {
                if item && !anchored && self.one_in(2) {
                    let spaces = 1 + self.pick(4);
                    self.spaces(spaces);
                    return self.seq(items, column + 1 + spaces, true);
                }
                self.trailing(4);
                self.put("\n");
                let deeper = self.pick(7);
                self.seq(items, column + deeper.max(usize::from(item)), false);
            }
            Node::Map(members) if !members.is_empty() && !self.one_in(4) => {
                if item && !anchored && self.one_in(2) {
                    let spaces = 1 + self.pick(4);
                    self.spaces(spaces);
                    return self.map(members, column + 1 + spaces, true);
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

    /// A scalar or flow collection, and the end of its line.
    fn inline(&mut self, node: &Node, parent: Option<usize>) {
        match node {
            Node::Lines(lines) if self.one_in(2) => return self.block_scalar(lines, parent),
            Node::Lines(lines) => self.folded(lines, parent),
            Node::Seq(_) | Node::Map(_) => self.flow(node, parent.map_or(1, |column| column + 1)),
            Node::Scalar(text) => self.put(text),
            Node::Null => {}
        }
        self.trailing(4);
        self.put("\n");
    }

    fn block_scalar(&mut self, lines: &[String], parent: Option<usize>) {
        let deeper = 1 + self.pick(4);
        let indent = parent.map_or(deeper, |column| column + deeper);
        let first = lines.iter().find(|line| !line.is_empty()).map_or("", String::as_str);
        let leads =
            lines.iter().take_while(|line| line.trim_matches(' ').is_empty()).any(|line| !line.is_empty());
        let explicit = leads || first.starts_with([' ', '\t']) || self.one_in(4);
        let style = if self.one_in(2) { "|" } else { ">" };
        let chomp = ["", "-", "+"][self.pick(3)];
        let digit = if explicit { deeper.to_string() } else { String::new() };
        let header =
            if self.one_in(2) { format!("{style}{chomp}{digit}") } else { format!("{style}{digit}{chomp}") };
        self.put(&header);
        self.trailing(4);
        for line in lines {
            self.put("\n");
            if !line.is_empty() {
                self.spaces(indent);
                self.put(line);
            }
        }
        self.put("\n");
        self.block = Some(parent.unwrap_or(0));
    }

    /// A scalar over several lines, plain or in quotes.
    fn folded(&mut self, lines: &[String], parent: Option<usize>) {
        let quote = ["", "'", "\""][self.pick(3)];
        let plain = |line: &str| line.bytes().all(|b| b.is_ascii_lowercase() || b == b' ');
        let empty = |line: &str| line.trim_matches(['\u{a0}', ' ', '\t']).is_empty();
        if quote.is_empty() && (!lines.iter().all(|line| plain(line)) || empty(&lines[0])) {
            return self.put("plain");
        }
        self.put(quote);
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                if quote == "\"" && self.one_in(4) {
                    self.put("\\");
                } else {
                    self.some_spaces(0, 2);
                }
                self.put("\n");
                let least = parent.map_or(1, |column| column + 1);
                let more = self.pick(4);
                self.spaces(least + more);
            }
            let end = if quote.is_empty() { line.trim() } else { line.trim_start_matches('\t') };
            self.put(end);
        }
        if quote.is_empty() {
            let end = self.out.trim_end_matches([' ', '\n']).len();
            self.out.truncate(end);
        }
        self.put(quote);
    }

    fn flow(&mut self, node: &Node, column: usize) {
        match node {
            Node::Seq(items) => {
                self.put("[");
                for (at, item) in items.iter().enumerate() {
                    self.flow_space(column);
                    match item {
                        Node::Null => self.put("~"),
                        _ => self.flow(item, column),
                    }
                    self.flow_comma(column, at + 1 == items.len());
                }
                self.put("]");
            }
            Node::Map(members) => {
                self.put("{");
                for (at, (key, value)) in members.iter().enumerate() {
                    self.flow_space(column);
                    self.put(key);
                    self.put(":");
                    self.some_spaces(1, 2);
                    self.flow(value, column);
                    self.flow_comma(column, at + 1 == members.len());
                }
                self.put("}");
            }
            Node::Scalar(text) => self.put(text),
            Node::Lines(lines) => self.folded(lines, Some(column)),
            Node::Null => {}
        }
    }

    fn flow_comma(&mut self, column: usize, last: bool) {
        self.flow_space(column);
        if !last || self.one_in(3) {
            self.put(",");
            self.flow_space(column);
        }
    }

    fn flow_space(&mut self, column: usize) {
        match self.pick(8) {
            0 => {
                self.trailing(2);
                self.put("\n");
                self.block = None;
                self.lines_between(column);
                self.some_spaces(column, column + 5);
            }
            1..4 => self.some_spaces(1, 2),
            _ => {}
        }
    }
}
