//! Canonical text, which is equal for different notations of an expression.

use std::fmt::Display;

/// Returns the text of a node in lower case, without backticks, with single spaces. String literals are unchanged.
pub(super) fn canonical(node: &impl Display) -> String {
    normalise(&node.to_string())
}

fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for ch in text.chars() {
        match quote {
            Some('`') if ch == '`' => quote = None,
            Some(open @ ('\'' | '"')) => {
                out.push(ch);
                if escaped {
                    escaped = false;
                } else if ch == '\\' {
                    escaped = true;
                } else if ch == open {
                    quote = None;
                }
            }
            None if matches!(ch, '\'' | '"') => {
                out.push(ch);
                quote = Some(ch);
            }
            None if ch == '`' => quote = Some(ch),
            None if ch.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            // Spark ignores case in quoted names, too.
            _ if ch.is_ascii() => out.push(ch.to_ascii_lowercase()),
            _ => out.extend(ch.to_lowercase()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalized_and_literals_are_not() {
        let cases = [
            ("COUNT(`a`)", "count(a)"),
            ("A  =\n'It''s  A'", "a = 'It''s  A'"),
            ("X = \"Y\"", "x = \"Y\""),
            ("CAST(Ä AS INT)", "cast(ä as int)"),
        ];
        for (text, expected) in cases {
            assert_eq!(normalise(text), expected);
        }
    }
}
