//! Tokens of `sqlparser` with offsets as places. The parser's lines and columns are replaced before it reads the
//! tokens, so that every span of its tree is a range of bytes.
//!
//! The tokenizer of `sqlparser` takes as long as its parser. Nearly all queries consist of plain, unambiguous tokens
//! only, which this module reads several times faster. Texts with other tokens are left to `sqlparser` as a whole.

use std::ops::Range;
use std::sync::LazyLock;

use sqlparser::dialect::Dialect;
use sqlparser::keywords::{ALL_KEYWORDS, ALL_KEYWORDS_INDEX, Keyword};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

/// Returns the tokens of a text, or `None` if it has a character that the tokenizer doesn't know.
pub(super) fn of(sql: &str, dialect: &dyn Dialect) -> Option<Vec<TokenWithSpan>> {
    fast_tokens(sql).or_else(|| tokenizer_tokens(sql, dialect))
}

/// Returns the range of a span, which is empty if the parser has no place.
pub(super) fn span_range(span: Span) -> Range<u32> {
    let offset = |location: Location| u32::try_from(location.column.saturating_sub(1)).unwrap_or(0);
    let (start, end) = (offset(span.start), offset(span.end));
    start..end.max(start)
}

fn span(range: Range<usize>) -> Span {
    let location = |offset: usize| Location::new(1, offset as u64 + 1);
    Span::new(location(range.start), location(range.end))
}

/// Returns the tokens of `sqlparser`'s tokenizer.
fn tokenizer_tokens(sql: &str, dialect: &dyn Dialect) -> Option<Vec<TokenWithSpan>> {
    // Literals retain their escapes, so that their printed form is the original.
    let mut tokens = Tokenizer::new(dialect, sql).with_unescape(false).tokenize_with_location().ok()?;
    let mut cursor = Cursor { rest: sql.chars(), line: 1, column: 1, offset: 0 };
    for token in &mut tokens {
        let start = cursor.offset;
        cursor.advance_to(token.span.end);
        token.span = span(start..cursor.offset);
    }
    Some(tokens)
}

/// Follows the tokenizer through the text, and counts lines and columns like the tokenizer.
struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    line: u64,
    column: u64,
    offset: usize,
}

impl Cursor<'_> {
    fn advance_to(&mut self, end: Location) {
        while (self.line, self.column) < (end.line, end.column) {
            let Some(ch) = self.rest.next() else { return };
            if ch == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
            self.offset += ch.len_utf8();
        }
    }
}

/// Returns the tokens of a text, or `None` if one of them is not plain. White space is left out, because the parser
/// skips it, except after a colon; a colon is only plain before a word.
fn fast_tokens(sql: &str) -> Option<Vec<TokenWithSpan>> {
    let mut tokens = Vec::with_capacity(sql.len() / 5);
    let mut at = 0;
    while at < sql.len() {
        let (token, length) = piece(sql.get(at..)?)?;
        if !matches!(token, Token::Whitespace(_)) {
            tokens.push(TokenWithSpan { token, span: span(at..at + length) });
        }
        at += length;
    }
    Some(tokens)
}

/// Returns the first token of a text, and its length.
fn piece(text: &str) -> Option<(Token, usize)> {
    let (first, rest) = text.as_bytes().split_first()?;
    let next = rest.first().copied().unwrap_or(b' ');
    let token = match first {
        b' ' => Token::Whitespace(Whitespace::Space),
        b'\t' => Token::Whitespace(Whitespace::Tab),
        b'\n' => Token::Whitespace(Whitespace::Newline),
        b'(' => Token::LParen,
        b')' => Token::RParen,
        b',' => Token::Comma,
        b';' => Token::SemiColon,
        b'+' => Token::Plus,
        b'*' => Token::Mul,
        b'A'..=b'Z' | b'a'..=b'z' | b'_' => return word(text),
        b'0'..=b'9' => return number(text),
        b'\'' => return quoted(text, '\'').map(|(text, length)| (Token::SingleQuotedString(text), length)),
        b'`' => {
            return quoted(text, '`').map(|(text, length)| (Token::make_word(&text, Some('`')), length));
        }
        b'-' if next == b'-' => return Some(comment(text)),
        b'/' if next == b'*' => return block_comment(text),
        b'!' | b'<' | b'=' | b'>' => return comparison(text),
        // These characters may begin longer tokens, but not before these characters.
        b'.' if !next.is_ascii_digit() && next != b'_' => Token::Period,
        b':' if is_part(next) => Token::Colon,
        b'-' if is_apart(next) => Token::Minus,
        b'/' if is_apart(next) => Token::Div,
        _ => return None,
    };
    Some((token, 1))
}

fn is_part(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Returns whether a character can't continue an operator.
fn is_apart(byte: u8) -> bool {
    is_part(byte) || matches!(byte, b' ' | b'\n' | b'(')
}

fn word(text: &str) -> Option<(Token, usize)> {
    let length = text.bytes().take_while(|byte| is_part(*byte)).count();
    // The word may be the prefix of a literal. Letters of other alphabets, which could continue it, begin no piece.
    if text[length..].starts_with('\'') {
        return None;
    }
    let value = text[..length].to_owned();
    let keyword = keyword(&value);
    Some((Token::Word(Word { value, quote_style: None, keyword }), length))
}

fn keyword(word: &str) -> Keyword {
    /// Keywords by first letter and length, which few of them share.
    static KEYWORDS: LazyLock<Vec<Vec<(&str, Keyword)>>> = LazyLock::new(|| {
        let mut slots = vec![Vec::new(); 32 * 32];
        for (word, keyword) in ALL_KEYWORDS.iter().zip(ALL_KEYWORDS_INDEX) {
            slots[slot(word)].push((*word, *keyword));
        }
        slots
    });
    let same = KEYWORDS[slot(word)].iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    same.map_or(Keyword::NoKeyword, |(_, keyword)| *keyword)
}

fn slot(word: &str) -> usize {
    // The low bits of a letter are the same in both cases.
    let letter = word.bytes().next().unwrap_or_default() % 32;
    usize::from(letter) * 32 + word.len().min(31)
}

fn number(text: &str) -> Option<(Token, usize)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let length = match text[whole..].strip_prefix('.').map(digits) {
        None => whole,
        Some(0) => return None,
        Some(fraction) => whole + 1 + fraction,
    };
    // Exponents, suffixes, and names that begin with a digit.
    let more = text.as_bytes().get(length).is_some_and(|byte| is_part(*byte));
    (!more).then(|| (Token::Number(text[..length].to_owned(), false), length))
}

/// Returns the text between quotes, if it has no escapes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let inside = text.strip_prefix(quote)?;
    let end = inside.find([quote, '\\'])?;
    let after = inside[end..].strip_prefix(quote)?;
    (!after.starts_with(quote)).then(|| (inside[..end].to_owned(), end + 2))
}

fn comment(text: &str) -> (Token, usize) {
    let line = text.split('\n').next().unwrap_or(text);
    let comment = Whitespace::SingleLineComment { comment: line[2..].to_owned(), prefix: "--".to_owned() };
    (Token::Whitespace(comment), line.len())
}

/// Reads a block comment without nested comments.
fn block_comment(text: &str) -> Option<(Token, usize)> {
    let inside = &text[2..];
    let end = inside.find("*/")?;
    // The star is included, because in `/*/` it belongs to the comment that begins.
    let nested = inside[..=end].contains("/*");
    let comment = Whitespace::MultiLineComment(inside[..end].to_owned());
    (!nested).then_some((Token::Whitespace(comment), end + 4))
}

fn comparison(text: &str) -> Option<(Token, usize)> {
    let length = text.bytes().take_while(|byte| !is_apart(*byte) && !matches!(byte, b'\'' | b':')).count();
    let token = match &text[..length] {
        "=" => Token::Eq,
        "<" => Token::Lt,
        ">" => Token::Gt,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "<>" | "!=" => Token::Neq,
        _ => return None,
    };
    Some((token, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Token, fast_tokens, tokenizer_tokens};
    use crate::sql::dialect::Spark;

    /// Pieces of queries, and similar texts.
    const PIECES: &[&str] = &[
        " ", " ", " ", " ", "\n", "\t", "\r", "\r\n", "\u{a0}", "select", "FROM", "Window", "x", "X", "n",
        "N", "r", "b", "e", "u&", "q", "nq", "ä", "aß", "_a", "a1", "l", "L", "0", "0x1f", "1", "12", "1.5",
        ".5", "1.", "1e5", "1E-3", "e5", "10L", "2_0", "'a b'", "'it''s'", "'ö'", "'a\\'b'", "''", "'", "\"",
        "\"x\"", "`a b`", "`a``b`", "`a\\b`", "`", "$", "${x}", "$$", "@", "#", "?", "?1", "{", "}", "[",
        "]", "(", ")", ",", ";", ".", "..", "._", ":", "::", ":=", ":x", "+", "-", "--", "-- a 'b'", "->",
        "*", "/", "//", "/*", "*/", "/* a */", "/*! a */", "/*+ a */", "%", "=", "==", "=>", "<", "<=", "<>",
        "<=>", "<<", "<-", "<@", "<+", ">", ">=", ">>", ">^", "!", "!=", "!!", "!~", "|", "||", "|>", "&",
        "&&", "^", "~", "\\", "\0",
    ];

    /// Returns whether a text is plain, and compares its tokens with those of the tokenizer, except white space.
    fn compared(sql: &str) -> bool {
        let Some(plain) = fast_tokens(sql) else { return false };
        let mut all = tokenizer_tokens(sql, &Spark { versions: false }).expect("what is plain is no error");
        all.retain(|it| !matches!(it.token, Token::Whitespace(_)));
        let mut pairs = plain.windows(2);
        assert!(pairs.all(|pair| pair[0].token != Token::Colon || pair[0].span.end == pair[1].span.start));
        assert_eq!(plain, all, "{sql:?}");
        true
    }

    #[test]
    fn ordinary_queries_are_read_by_the_fast_path() {
        for sql in [
            "INSERT OVERWRITE lake.mart.`daily orders`\nSELECT o.id, count(*) AS n, 'x' -- why\nFROM lake.raw.orders o",
            "SELECT /*+ REPARTITION(a) */ a+1, b - 2.5, c/d FROM t WHERE a<=:day AND b >= -1 AND c<>'ü' AND d != '' AND e=:f;",
        ] {
            assert!(compared(sql), "{sql}");
        }
        for sql in [
            "SELECT r'a'",
            "SELECT 'it''s'",
            "SELECT /* a /* b */ */ 1",
            "SELECT /* a /*/ b */ */ 1",
            "/* a /*//",
            "SELECT a || b",
            "SELECT ä",
            "SELECT \"a\"",
        ] {
            assert!(!compared(sql), "{sql}");
        }
    }

    #[test]
    fn keywords_are_known_in_any_case() {
        for word in sqlparser::keywords::ALL_KEYWORDS {
            assert!(compared(word) && compared(&word.to_lowercase()), "{word}");
        }
    }

    #[test]
    fn fast_path_agrees_with_the_tokenizer_on_all_pairs() {
        for (a, b) in PIECES.iter().flat_map(|a| PIECES.iter().map(move |b| (a, b))) {
            for c in ["", " ", "a", "1", ".", "="] {
                compared(&format!("{a}{b}{c}"));
                compared(&format!("{c}{a}{b}"));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn fast_path_agrees_with_the_tokenizer_on_queries(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
            compared(&pieces.concat());
        }

        #[test]
        fn fast_path_agrees_with_the_tokenizer_on_any_text(text in "[ -~\n]{0,40}") {
            compared(&text);
        }
    }
}
