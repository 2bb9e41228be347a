//! Writes values on the line of their key: scalars and flow collections.

use crate::document::Node;
use crate::writer::Writer;

impl Writer {
    /// Writes a scalar or flow collection, and the end of its line.
    pub(crate) fn inline(&mut self, node: &Node, parent: Option<usize>) {
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

    /// Writes a plain or quoted scalar over several lines.
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
