//! Maps places in the text of a scalar to places in the source.

use std::ops::Range;

use crate::source::Span;

/// Returns the place in `source` of `range` in `text`, the value of the scalar at `scalar`.
///
/// The text of a scalar is its source without indentation and quotes, and with spaces for folded line breaks. Both
/// are therefore compared character by character, ignoring differences in white space. If there are other
/// differences, the scalar has escapes, and the result is the whole scalar.
pub(super) fn within(source: &str, scalar: Span, text: &str, range: Range<u32>) -> Span {
    aligned(source, scalar, text, range).unwrap_or(scalar)
}

fn aligned(source: &str, scalar: Span, text: &str, range: Range<u32>) -> Option<Span> {
    let raw = source.get(scalar.range())?;
    let (raw, skipped) = match raw.as_bytes().first()? {
        b'"' | b'\'' => (raw.get(1..raw.len().checked_sub(1)?)?, 1),
        _ => (raw, 0),
    };
    if let Some(found) = literal(raw, text, &range) {
        let base = scalar.start + skipped;
        return Some(Span { file: scalar.file, start: base + found.start, end: base + found.end });
    }
    let start = position(raw, text, range.start as usize)?;
    // The last character determines the end, so that white space after the range is excluded.
    let inside = text.get(range.start as usize..range.end as usize)?;
    let end = match inside.char_indices().next_back() {
        Some((last, c)) => position(raw, text, range.start as usize + last)? + c.len_utf8(),
        None => start,
    };
    let base = scalar.start + skipped;
    Some(Span { file: scalar.file, start: base + super::index(start), end: base + super::index(end) })
}

/// Returns the place in `raw` of a range within one line of `text`, if both have the same lines, as in a literal
/// block. It doesn't read the text before that line.
fn literal(raw: &str, text: &str, range: &Range<u32>) -> Option<Range<u32>> {
    let (start, end) = (range.start as usize, range.end as usize);
    let from = text.get(..start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = &text[from..].lines().next()?;
    if start == end || end - from > line.trim_end().len() || breaks(raw.trim_end()) != breaks(text.trim_end())
    {
        return None;
    }
    let number = breaks(&text[..from]);
    let raw_from = match number.checked_sub(1) {
        None => 0,
        Some(before) => raw.match_indices('\n').nth(before)?.0 + 1,
    };
    let raw_line = raw[raw_from..].lines().next()?;
    let indent = raw_line.strip_suffix(line)?;
    let at = raw_from + indent.len();
    indent
        .trim_start_matches(' ')
        .is_empty()
        .then(|| super::index(at + start - from)..super::index(at + end - from))
}

/// Returns the number of line breaks. The sums of chunks fit in a byte, so that the compiler can vectorize the loop.
fn breaks(text: &str) -> usize {
    let counted = |bytes: &[u8]| bytes.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>();
    text.as_bytes().chunks(usize::from(u8::MAX)).map(|chunk| usize::from(counted(chunk))).sum()
}

/// Returns the offset in `raw` of the byte `target` of `text`.
fn position(raw: &str, text: &str, target: usize) -> Option<usize> {
    let mut raw_chars = raw.char_indices().peekable();
    for (at, c) in text.char_indices() {
        if at > target {
            return None;
        }
        loop {
            let &(raw_at, r) = raw_chars.peek()?;
            if r == c || (c == ' ' && r == '\n') {
                if at == target {
                    return Some(raw_at);
                }
                raw_chars.next();
                break;
            }
            if !r.is_whitespace() {
                return None;
            }
            raw_chars.next();
        }
    }
    (target == text.len()).then(|| raw_chars.peek().map_or(raw.len(), |&(at, _)| at))
}

#[cfg(test)]
mod tests {
    use crate::source::FileId;
    use crate::yaml::parse;

    /// Returns the source of `needle` in the value of `q`.
    fn found(yaml: &str, needle: &str) -> String {
        let parsed = parse(FileId(0), yaml);
        let node = parsed.documents[0].root().get("q").expect("there is a q");
        let text = node.as_str().expect("it is UTF-8 text");
        let at = u32::try_from(text.find(needle).expect("the needle is there")).expect("small");
        let span = node.within(yaml, at..at + u32::try_from(needle.len()).expect("small"));
        yaml[span.range()].to_owned()
    }

    #[test]
    fn places_are_found_in_all_scalar_styles() {
        for yaml in [
            "q: |\n  SELECT ü\n    FROM t\n\n  WHERE x\n",
            "q: |2\n    SELECT ü\n    FROM t\n  WHERE x\n",
            "q: >-\n  SELECT ü\n  FROM t\n  WHERE x\n",
            "q: SELECT ü FROM t\n  WHERE x\n",
            "q: 'SELECT ü FROM t WHERE x'\n",
            "q: \"SELECT ü FROM t WHERE x\"\n",
            "q: |\r\n  SELECT ü\r\n  FROM t\r\n  WHERE x\r\n",
        ] {
            for needle in ["SELECT", "ü", "FROM", "t", "WHERE", "x"] {
                if needle != "t" {
                    assert_eq!(found(yaml, needle), needle, "{yaml:?}");
                }
            }
        }
        assert_eq!(found("q: |\n  a\n  FROM t\n  b\n", "FROM t"), "FROM t");
    }

    #[test]
    fn scalar_with_escapes_has_its_whole_place() {
        assert_eq!(found("q: \"a\\tFROM t\"\n", "FROM"), "\"a\\tFROM t\"");
    }
}
