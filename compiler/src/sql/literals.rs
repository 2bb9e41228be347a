//! The values of string literals.

/// Returns the value of a literal. `raw` is the text between its quotes.
pub(super) fn unescaped(raw: &str, quote: char) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(ch) = chars.next() {
        match ch {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('0') => out.push('\0'),
                // In patterns, these stay escaped.
                Some(wildcard @ ('%' | '_')) => out.extend(['\\', wildcard]),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            // Two quotes stand for one.
            _ if ch == quote && chars.peek() == Some(&quote) => {
                chars.next();
                out.push(ch);
            }
            _ => out.push(ch),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escapes_and_doubled_quotes_are_resolved() {
        let cases = [
            ("a\\'b", "a'b"),
            ("a''b", "a'b"),
            ("a\\\\b\\n", "a\\b\n"),
            ("a\\%\"\"", "a\\%\"\""),
            ("\\", "\\"),
        ];
        for (raw, expected) in cases {
            assert_eq!(unescaped(raw, '\''), expected, "{raw}");
        }
    }
}
