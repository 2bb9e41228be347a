//! Lines, in bounded memory, of whatever somebody may have put where a log should be.

use std::io::{self, BufRead, ErrorKind};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads the next line into `line`, and no more of it than `most`; the rest is passed over.
pub(super) fn next(from: &mut impl BufRead, line: &mut Vec<u8>, most: usize) -> io::Result<Line> {
    line.clear();
    let mut seen = false;
    let mut too_long = false;
    loop {
        let part = match from.fill_buf() {
            Ok(part) => part,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = part.iter().position(|byte| *byte == b'\n');
        let text = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
        seen |= !part.is_empty();
        too_long |= line.len().saturating_add(text.len()) > most;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(text);
        }
        let done = end.is_some() || part.is_empty();
        let used = end.map_or(part.len(), |at| at + 1);
        from.consume(used);
        if done {
            return Ok(match (seen, too_long) {
                (false, _) => Line::End,
                (true, true) => Line::TooLong,
                (true, false) => Line::Whole,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_line_is_whole_or_too_long(
            lines in prop::collection::vec("[a-c]{0,12}", 0..8),
            most in 0usize..12,
            buffer in 1usize..6,
            ended in any::<bool>(),
        ) {
            let mut text = lines.join("\n");
            if ended && !lines.is_empty() {
                text.push('\n');
            }
            let mut from = BufReader::with_capacity(buffer, text.as_bytes());
            let mut line = Vec::new();
            let mut found = Vec::new();
            loop {
                match next(&mut from, &mut line, most).expect("memory can be read") {
                    Line::End => break,
                    Line::TooLong => found.push(None),
                    Line::Whole => found.push(Some(String::from_utf8(line.clone()).expect("it was text"))),
                }
                prop_assert!(line.len() <= most);
            }
            let expected: Vec<_> =
                text.lines().map(|line| (line.len() <= most).then(|| line.to_owned())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
