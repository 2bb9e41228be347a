//! Multi-line scalars.

const BLANKS: [char; 2] = [' ', '\t'];

/// Writes a plain or quoted scalar. All lines except the first are indented by `to` columns.
///
/// White space at the start and at the end of its lines has no meaning. The line breaks are preserved, because lines
/// are folded.
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

/// Returns a line without trailing white space, unless it is escaped.
fn end(line: &str, escapes: bool) -> &str {
    let trimmed = line.trim_end_matches(BLANKS);
    let slashes = trimmed.len() - trimmed.trim_end_matches('\\').len();
    if escapes && slashes % 2 == 1 && trimmed.len() < line.len() {
        return line.get(..=trimmed.len()).unwrap_or(line);
    }
    trimmed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_white_space_is_removed_unless_escaped() {
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
