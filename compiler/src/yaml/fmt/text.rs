//! Scalars of more than one line.

const BLANKS: [char; 2] = [' ', '\t'];

/// Writes a scalar that is plain or in quotes, with all lines but its first `to` columns from the left.
///
/// Where the lines of such a scalar begin and end, white space means nothing; the lines themselves are folded, so
/// each has to stay what it is.
pub(super) fn write(out: &mut String, text: &str, to: usize) {
    let escapes = text.starts_with('"');
    let mut lines = text.split('\n');
    out.push_str(end(lines.next().unwrap_or_default(), escapes));
    for line in lines {
        out.push('\n');
        let line = end(line.trim_start_matches(BLANKS), escapes);
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', to));
            out.push_str(line);
        }
    }
}

/// A line without the white space at its end, unless that is escaped.
fn end(line: &str, escapes: bool) -> &str {
    let trimmed = line.trim_end_matches(BLANKS);
    let slashes = trimmed.len() - trimmed.trim_end_matches('\\').len();
    match escapes && slashes % 2 == 1 && trimmed.len() < line.len() {
        true => line.get(..=trimmed.len()).unwrap_or(line),
        false => trimmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_unless_it_is_escaped() {
        for (line, escapes, expected) in [
            ("a \t", true, "a"),
            ("a\\  ", true, "a\\ "),
            ("a\\\t ", true, "a\\\t"),
            ("a\\\\  ", true, "a\\\\"),
            ("a\\  ", false, "a\\"),
            ("a\\", true, "a\\"),
        ] {
            assert_eq!(end(line, escapes), expected, "{line:?}");
        }
    }
}
