//! Encodes data as Python source text.
//!
//! This is the only way from a manifest to a DAG file: the templates take [`Literal`]s, which only this module can
//! create.

use std::fmt::Write as _;

use dcp_model::dag::Value;
use serde::Serialize;

/// The default of `ruff format`.
const LINE_WIDTH: usize = 88;
const INDENT: usize = 4;

/// Python source text that evaluates to a constant and has no side effects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Literal(String);

impl Literal {
    /// Returns a string on one line.
    pub fn string(text: &str) -> Self {
        Self(quoted(text))
    }

    /// Returns the value of the keyword argument `name`, which is indented by `indent`. A value that is too long for
    /// its line is split into one line per entry.
    pub fn argument(name: &'static str, indent: usize, value: &Value) -> Self {
        Self(format_value(value, Position::of_argument(name, indent)))
    }

    /// Returns a string as the value of the keyword argument `name`. If it is too long for its line, it is split into
    /// one line of source for each of its lines.
    pub fn text(name: &'static str, indent: usize, text: &str) -> Self {
        let single_line = quoted(text);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        if Position::of_argument(name, indent).fits(&single_line) || lines.len() < 2 {
            return Self(single_line);
        }
        Self(multi_line('(', lines.into_iter().map(quoted), "", ')', indent))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The column at which the text of a value begins, and the indentation of its further lines.
#[derive(Clone, Copy)]
struct Position {
    column: usize,
    indent: usize,
}

impl Position {
    fn of_argument(name: &str, indent: usize) -> Self {
        Self { column: indent + name.len() + "=".len(), indent }
    }

    /// Returns whether the text and the comma after it fit on the line.
    fn fits(self, text: &str) -> bool {
        self.column + width(text) + ",".len() <= LINE_WIDTH
    }
}

/// Returns the width of `text` in columns. Of the characters that [`is_unescaped`] accepts, those from U+3000 on are two
/// columns wide.
fn width(text: &str) -> usize {
    text.chars().map(|c| if c < '\u{3000}' { 1 } else { 2 }).sum()
}

fn format_value(value: &Value, place: Position) -> String {
    let single_line = single_line(value);
    if place.fits(&single_line) {
        return single_line;
    }
    let inner = place.indent + INDENT;
    match value {
        Value::List(items) if !items.is_empty() => {
            let entries =
                items.iter().map(|item| format_value(item, Position { column: inner, indent: inner }));
            multi_line('[', entries, ",", ']', place.indent)
        }
        Value::Dict(items) if !items.is_empty() => {
            let entries = items.iter().map(|(key, value)| {
                let key = format!("{}: ", quoted(key));
                let column = inner + width(&key);
                key + &format_value(value, Position { column, indent: inner })
            });
            multi_line('{', entries, ",", '}', place.indent)
        }
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Str(_) | Value::List(_) | Value::Dict(_) => {
            single_line
        }
    }
}

/// Returns one line per entry. The trailing comma makes `ruff format` preserve the layout.
fn multi_line(
    open: char,
    entries: impl Iterator<Item = String>,
    after: &str,
    close: char,
    indent: usize,
) -> String {
    let mut out = format!("{open}\n");
    for entry in entries {
        let _ = writeln!(out, "{:inner$}{entry}{after}", "", inner = indent + INDENT);
    }
    let _ = write!(out, "{:indent$}{close}", "");
    out
}

fn single_line(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Str(text) => quoted(text),
        Value::List(items) => format!("[{}]", joined(items.iter().map(single_line))),
        Value::Dict(items) => {
            let entries = items.iter().map(|(key, value)| format!("{}: {}", quoted(key), single_line(value)));
            format!("{{{}}}", joined(entries))
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// Returns a string literal. In Python, only the quote, a backslash, a line break (LF or CR) and NUL have a meaning
/// in such a literal. All of them are escaped, so the text can't end the literal.
///
/// The quote is the one that `ruff format` selects: double, unless single quotes need fewer escapes.
fn quoted(text: &str) -> String {
    let count = |quote| text.matches(quote).count();
    let quote = if count('"') > count('\'') { '\'' } else { '"' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', quote]),
            c if is_unescaped(c) => out.push(c),
            c => escape(&mut out, u32::from(c)),
        }
    }
    out.push(quote);
    out
}

fn escape(out: &mut String, code: u32) {
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Returns whether a character is not escaped: printable ASCII, and the letters of a few scripts, so that
/// descriptions are readable. To Python, all characters except those that [`quoted`] lists are inert in a literal
/// (files are UTF-8, and only names are normalized). The list protects the reader: each of these letters is visible
/// and runs from left to right, so the source looks like its meaning.
fn is_unescaped(c: char) -> bool {
    let letters_among = matches!(c, '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{482}' | '\u{48a}'..='\u{52f}');
    matches!(
        c,
        ' '..='~'
            // Comma and full stop, Hiragana and Katakana, Chinese characters, Hangul syllables.
            | '\u{3001}'..='\u{3002}'
            | '\u{3041}'..='\u{3096}'
            | '\u{30a1}'..='\u{30fc}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7a3}'
    ) || (letters_among && c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, literal: &str) {
        assert_eq!(Literal::string(text).as_str(), literal);
    }

    #[test]
    fn readable_text_is_not_escaped() {
        check("orders daily, 100%", r#""orders daily, 100%""#);
        check("Aufträge je Straße", "\"Aufträge je Straße\"");
        check("注文、毎日。", "\"注文、毎日。\"");
    }

    #[test]
    fn quotes_backslashes_and_line_breaks_are_escaped() {
        check(r#"a"b'"#, r#""a\"b'""#);
        check(r#"a"b"#, r#"'a"b'"#);
        check(r"ends in \", r#""ends in \\""#);
        check("a\nb\rc\td\0", r#""a\nb\rc\td\x00""#);
    }

    #[test]
    fn invisible_characters_are_escaped() {
        check(
            "\u{7f}\u{a0}\u{85}\u{2028}\u{202e}\u{200b}\u{feff}",
            r#""\x7f\xa0\x85\u2028\u202e\u200b\ufeff""#,
        );
        check("\u{5d0}\u{3164}\u{1f600}\u{10ffff}", r#""\u05d0\u3164\U0001f600\U0010ffff""#);
    }

    #[test]
    fn collections_are_split_only_if_they_do_not_fit() {
        let short = Value::List(vec![Value::Int(-1), Value::None, Value::Bool(true)]);
        assert_eq!(Literal::argument("tags", 4, &short).as_str(), "[-1, None, True]");

        let long = Value::Dict(vec![("list".into(), short), ("text".into(), Value::from(&*"x".repeat(70)))]);
        let expected = format!(
            "{{\n        \"list\": [-1, None, True],\n        \"text\": \"{}\",\n    }}",
            "x".repeat(70)
        );
        assert_eq!(Literal::argument("parameters", 4, &long).as_str(), expected);
    }

    #[test]
    fn long_text_is_split_at_its_line_breaks() {
        let text = format!("# Title\n\n{}\n", "x".repeat(80));
        let expected =
            format!("(\n        \"# Title\\n\"\n        \"\\n\"\n        \"{}\\n\"\n    )", "x".repeat(80));
        assert_eq!(Literal::text("doc_md", 4, &text).as_str(), expected);
        assert_eq!(Literal::text("doc_md", 4, "short\n").as_str(), r#""short\n""#);
    }
}
