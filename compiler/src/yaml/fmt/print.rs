//! Prints lexemes.

use super::comment;
use super::level::{Levels, STEP, Shape};
use super::lex::{Kind, Lexeme};
use super::text;

/// Returns the text of all lexemes. `size` is its approximate length.
pub(super) fn print(lexemes: &[Lexeme<'_>], size: usize) -> String {
    let mut printer = Printer {
        out: String::with_capacity(size + size / 8),
        levels: Levels::default(),
        flow: Vec::new(),
        line: 0,
        before: None,
        slot: Slot::Filled,
        fresh: false,
        comments: Vec::new(),
    };
    for lexeme in lexemes {
        printer.lexeme(lexeme);
    }
    printer.out
}

struct Printer<'s, 'l> {
    out: String,
    levels: Levels,
    /// The indentation of the first line of each open flow collection.
    flow: Vec<usize>,
    /// The indentation of the current line, for flow collections.
    line: usize,
    /// The kind of the previous lexeme.
    before: Option<Kind<'s>>,
    slot: Slot,
    /// Set if a block collection begins here.
    fresh: bool,
    /// Comments on their own lines. Their indentation depends on the next lexeme.
    comments: Vec<&'l Lexeme<'s>>,
}

/// The next position in a block collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// A key without `?`.
    Key,
    /// The content of a `:`, `-` or `?`.
    Open,
    Filled,
}

impl<'s, 'l> Printer<'s, 'l> {
    fn lexeme(&mut self, lexeme: &'l Lexeme<'s>) {
        match lexeme.kind {
            Kind::MapStart => self.begin(Shape::Map, lexeme.column),
            Kind::SeqStart => self.begin(Shape::Seq, lexeme.column),
            Kind::BlockEnd => {
                self.close_slot();
                self.levels.end();
            }
            Kind::Key if self.flow.is_empty() => {
                self.close_slot();
                self.levels.end_loose();
                self.slot = Slot::Key;
            }
            Kind::Key => {}
            Kind::Comment if lexeme.breaks == 0 && self.before.is_some() => {
                self.out.push_str("  ");
                comment::write(&mut self.out, lexeme.text, false);
                self.before = Some(Kind::Comment);
            }
            Kind::Comment => self.comments.push(lexeme),
            _ => self.visible(lexeme),
        }
    }

    fn begin(&mut self, shape: Shape, column: usize) {
        self.levels.begin(shape, column);
        self.slot = Slot::Filled;
        self.fresh = true;
    }

    /// Closes an open position that has no content.
    fn close_slot(&mut self) {
        if self.slot == Slot::Open && !self.comments.is_empty() {
            self.levels.nothing();
        }
        self.slot = Slot::Filled;
    }

    fn visible(&mut self, lexeme: &Lexeme<'s>) {
        if self.flow.is_empty() {
            self.block_structure(lexeme);
        }
        let indent = self.indent(lexeme);
        self.write_comments(if lexeme.kind == Kind::Close { indent + STEP } else { indent });
        self.separate(lexeme, indent);
        self.write(lexeme);
        self.after(lexeme.kind);
        self.before = Some(lexeme.kind);
        self.fresh = false;
    }

    fn block_structure(&mut self, lexeme: &Lexeme<'s>) {
        match lexeme.kind {
            Kind::Entry => match self.levels.top() {
                Some(level) if level.shape != Shape::Map => self.close_slot(),
                level => self.begin(Shape::LooseSeq, level.map_or(0, |level| level.source)),
            },
            Kind::ExplicitKey | Kind::Value => {
                self.close_slot();
                self.levels.end_loose();
            }
            _ => {}
        }
    }

    /// Returns the indentation of a lexeme that is the first of its line.
    fn indent(&self, lexeme: &Lexeme<'s>) -> usize {
        if let Some(&line) = self.flow.last() {
            return match lexeme.kind {
                Kind::Close => line,
                _ if self.before == Some(Kind::Value) => line + 2 * STEP,
                _ => line + STEP,
            };
        }
        match lexeme.kind {
            Kind::ExplicitKey | Kind::Value | Kind::Entry => self.levels.indent(),
            Kind::Directive | Kind::DocumentStart | Kind::DocumentEnd | Kind::End => 0,
            _ if self.slot == Slot::Key => self.levels.indent(),
            // Without indentation, this text would begin or end a document.
            _ if lexeme.text.starts_with("---") || lexeme.text.starts_with("...") => {
                self.levels.inner().max(STEP)
            }
            _ => self.levels.inner(),
        }
    }

    fn write_comments(&mut self, target: usize) {
        let comments = std::mem::take(&mut self.comments);
        let is_run = |comment: &&Lexeme<'_>, next: &&Lexeme<'_>| {
            next.breaks == 1 && comment::is_spaced(comment.text) == comment::is_spaced(next.text)
        };
        for run in comments.chunk_by(is_run) {
            let shifted = run.iter().any(|comment| comment::is_bare(comment.text));
            for lexeme in run {
                let indent = self.levels.of_comment(lexeme.column, target);
                self.break_line(lexeme, indent);
                comment::write(&mut self.out, lexeme.text, shifted);
                self.before = Some(Kind::Comment);
            }
        }
        self.levels.forget_ended();
    }

    /// Writes the white space before a lexeme.
    fn separate(&mut self, lexeme: &Lexeme<'s>, indent: usize) {
        let Some(before) = self.before else {
            return self.break_line(lexeme, indent);
        };
        if lexeme.kind == Kind::End {
            self.out.push('\n');
        } else if self.begins_line(lexeme, before) {
            self.break_line(lexeme, indent);
        } else if lexeme.kind == Kind::Close && before == Kind::Comma && !self.out.ends_with(" ,") {
            // A comma at the start of its line stays, so that the lexeme before it stays on its line.
            self.out.pop();
        } else if is_spaced(before, lexeme.kind) {
            self.out.push(' ');
        }
    }

    fn begins_line(&self, lexeme: &Lexeme<'s>, before: Kind<'s>) -> bool {
        let document = matches!(lexeme.kind, Kind::Directive | Kind::DocumentStart | Kind::DocumentEnd);
        // The content of a `-` begins on the same line.
        let joined = before == Kind::Entry && (self.fresh || self.slot == Slot::Open);
        let apart = self.fresh && matches!(before, Kind::Property | Kind::DocumentStart);
        let is_empty = before == Kind::Open && lexeme.kind == Kind::Close;
        document || apart || before == Kind::Comment || (lexeme.breaks > 0 && !joined && !is_empty)
    }

    fn break_line(&mut self, lexeme: &Lexeme<'s>, indent: usize) {
        if let Some(before) = self.before {
            let is_tight = match before {
                Kind::Block(block) => block.keeps(),
                _ => before == Kind::Open || lexeme.kind == Kind::Close,
            };
            self.out.push_str(if lexeme.breaks > 1 && !is_tight { "\n\n" } else { "\n" });
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.line = indent;
    }

    fn write(&mut self, lexeme: &Lexeme<'s>) {
        let below = match self.flow.last() {
            Some(line) => line + 2 * STEP,
            None => self.levels.inner().max(STEP),
        };
        match &lexeme.kind {
            Kind::Block(block) => block.write(&mut self.out, below, self.levels.top().is_none()),
            Kind::Scalar => text::write(&mut self.out, lexeme.text, below),
            _ => self.out.push_str(lexeme.text),
        }
    }

    fn after(&mut self, kind: Kind<'s>) {
        match kind {
            Kind::Open => self.flow.push(self.line),
            Kind::Close => drop(self.flow.pop()),
            _ => {}
        }
        if !self.flow.is_empty() {
            return;
        }
        match kind {
            Kind::Entry | Kind::ExplicitKey | Kind::Value => self.slot = Slot::Open,
            Kind::Property => {}
            _ => self.slot = Slot::Filled,
        }
        if kind == Kind::Entry {
            self.line = self.levels.inner();
        }
    }
}

/// Returns whether there is a space between two lexemes of a line.
fn is_spaced(before: Kind<'_>, kind: Kind<'_>) -> bool {
    match (before, kind) {
        // Without a space, the next lexeme would become part of this one.
        (Kind::Property | Kind::ExplicitKey, _)
        | (Kind::Alias | Kind::Entry | Kind::Comma | Kind::Value, Kind::Value) => true,
        (Kind::Open, _) | (_, Kind::Value | Kind::Comma | Kind::Close) => false,
        _ => true,
    }
}
