//! Spark's lexical rules, as far as they are needed to be certain that a text is invalid.

use std::ops::Range;

/// A piece of the text other than white space and comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) at: Range<u32>,
    /// The number of open brackets around it.
    pub(super) depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    Quoted,
    Open,
    Close,
    Symbol,
}

/// An unterminated piece, and its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unterminated {
    String(Range<u32>),
    Name(Range<u32>),
    Comment(Range<u32>),
    /// The end depends on Spark's rules for nested comments.
    Uncertain,
}

impl Piece<'_> {
    /// Returns whether the piece is this word, regardless of case.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_any(&self, words: &[&str]) -> bool {
        self.kind == Kind::Word && words.iter().any(|word| self.text.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }
}

/// Returns the pieces of a text, without white space and comments.
pub(super) fn scan(sql: &str) -> Result<Vec<Piece<'_>>, Unterminated> {
    let mut scanner = Scanner { sql, at: 0, depth: 0, pieces: Vec::new() };
    while let Some(ch) = scanner.peek() {
        scanner.step(ch)?;
    }
    Ok(scanner.pieces)
}

/// Returns the word or the character at an offset.
pub(super) fn word_at(sql: &str, offset: usize) -> Range<u32> {
    let mut start = offset.min(sql.len());
    while !sql.is_char_boundary(start) {
        start -= 1;
    }
    let rest = sql.get(start..).unwrap_or_default();
    let word = rest.find(|ch| !is_word(ch)).unwrap_or(rest.len());
    let length = match word {
        0 => rest.chars().next().map_or(0, char::len_utf8),
        length => length,
    };
    range(start, start + length)
}

fn is_word(ch: char) -> bool {
    ch == '_' || ch.is_alphanumeric()
}

fn range(start: usize, end: usize) -> Range<u32> {
    let offset = |it| u32::try_from(it).unwrap_or(u32::MAX);
    offset(start)..offset(end)
}

struct Scanner<'a> {
    sql: &'a str,
    at: usize,
    depth: usize,
    pieces: Vec<Piece<'a>>,
}

/// Operators of more than one character, the longest first.
const LONG_OPERATORS: &[&str] =
    &["<=>", ">>>", "<=", ">=", "<>", "!=", "==", "||", "->", "=>", "::", "|>", "<<", ">>", ":="];

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn step(&mut self, ch: char) -> Result<(), Unterminated> {
        let rest = self.rest();
        match ch {
            _ if ch.is_whitespace() => self.at += ch.len_utf8(),
            '-' if rest.starts_with("--") => self.line_comment(),
            '/' if rest.starts_with("/*") => self.comment()?,
            'r' | 'R' if rest.get(1..).is_some_and(|it| it.starts_with(['\'', '"'])) => {
                self.string(1, false)?;
            }
            '\'' | '"' => self.string(0, true)?,
            '`' => self.name()?,
            '(' | '[' => {
                self.push(Kind::Open, 1);
                self.depth += 1;
            }
            ')' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                self.push(Kind::Close, 1);
            }
            _ if is_word(ch) => self.word(ch),
            _ => {
                let long = LONG_OPERATORS.iter().find(|it| rest.starts_with(**it));
                self.push(Kind::Symbol, long.map_or(ch.len_utf8(), |it| it.len()));
            }
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let end = self.at + length;
        self.pieces.push(Piece {
            kind,
            text: self.sql.get(self.at..end).unwrap_or_default(),
            at: range(self.at, end),
            depth: self.depth,
        });
        self.at = end;
    }

    fn word(&mut self, first: char) {
        let rest = self.rest();
        let length = rest.find(|ch| !is_word(ch)).unwrap_or(rest.len());
        let kind = if first.is_ascii_digit() { Kind::Number } else { Kind::Word };
        self.push(kind, length);
    }

    /// Skips a line comment. A backslash at the end of the line continues it.
    fn line_comment(&mut self) {
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(['\r', '\n']) else {
                self.at = self.sql.len();
                return;
            };
            self.at += end + 1;
            if !rest.get(..end).is_some_and(|line| line.ends_with('\\')) {
                return;
            }
        }
    }

    fn comment(&mut self) -> Result<(), Unterminated> {
        let start = self.at;
        let mut open = 0_usize;
        loop {
            let rest = self.rest();
            let Some(next) = rest.find(['/', '*']) else {
                let flat = self.sql.get(start + 2..).unwrap_or_default();
                return Err(if flat.contains("*/") {
                    Unterminated::Uncertain
                } else {
                    Unterminated::Comment(range(start, start + 2))
                });
            };
            let sign = rest.get(next..next + 2).unwrap_or_default();
            self.at += next + if matches!(sign, "/*" | "*/") { 2 } else { 1 };
            match sign {
                "/*" => open += 1,
                "*/" => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn string(&mut self, prefix: usize, escapes: bool) -> Result<(), Unterminated> {
        let body = self.rest().get(prefix..).unwrap_or_default();
        let mut chars = body.char_indices();
        let quote = chars.next().map(|(_, ch)| ch);
        let mut skip = false;
        for (index, ch) in chars {
            if skip {
                skip = false;
            } else if ch == '\\' && escapes {
                skip = true;
            } else if Some(ch) == quote {
                self.push(Kind::Quoted, prefix + index + 1);
                return Ok(());
            }
        }
        let start = self.at + prefix;
        Err(Unterminated::String(range(start, start + 1)))
    }

    fn name(&mut self) -> Result<(), Unterminated> {
        let end = self.rest().get(1..).and_then(|it| it.find('`'));
        let Some(end) = end else {
            return Err(Unterminated::Name(range(self.at, self.at + 1)));
        };
        self.push(Kind::Quoted, end + 2);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_out_spaces_and_comments() {
        let sql = "a/*x/*y*/*/ -- z\r\n'it\\'s' r'\\' `b``c` <=> ä(1)";
        let pieces = scan(sql).unwrap();
        let texts: Vec<&str> = pieces.iter().map(|it| it.text).collect();
        assert_eq!(texts, ["a", "'it\\'s'", "r'\\'", "`b`", "`c`", "<=>", "ä", "(", "1", ")"]);
        for piece in pieces {
            assert_eq!(&sql[piece.at.start as usize..piece.at.end as usize], piece.text);
        }
    }

    #[test]
    fn unterminated_pieces_have_the_place_of_their_start() {
        let cases = [
            ("a 'b", Unterminated::String(2..3)),
            ("a 'b\\'", Unterminated::String(2..3)),
            ("'ä' \"b'", Unterminated::String(5..6)),
            ("a `b", Unterminated::Name(2..3)),
            ("a /* b", Unterminated::Comment(2..4)),
            ("a /* b /* c */", Unterminated::Uncertain),
        ];
        for (sql, expected) in cases {
            assert_eq!(scan(sql), Err(expected), "{sql}");
        }
    }

    #[test]
    fn a_word_at_any_offset_lies_within_the_text() {
        for (offset, expected) in [(0, 0..2), (1, 0..2), (2, 2..3), (3, 3..6), (99, 6..6)] {
            assert_eq!(word_at("ä abc", offset), expected, "{offset}");
        }
    }
}
