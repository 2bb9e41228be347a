//! Reads lines in bounded memory, from files of untrusted content.

use std::io::{self, BufRead, ErrorKind};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole,
    TooLong,
    /// The input ends without a line break, at least for now.
    Incomplete,
    End,
}

/// Reads at most `most` bytes of the next line into `line`, and skips the rest. Returns the number of bytes that were
/// read and skipped.
pub(crate) fn next(from: &mut impl BufRead, line: &mut Vec<u8>, most: usize) -> io::Result<(Line, u64)> {
    line.clear();
    let mut read = 0;
    let mut too_long = false;
    loop {
        let part = match from.fill_buf() {
            Ok(part) => part,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = part.iter().position(|byte| *byte == b'\n');
        let text = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
        too_long |= line.len().saturating_add(text.len()) > most;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(text);
        }
        let done = end.is_some() || part.is_empty();
        let used = end.map_or(part.len(), |at| at + 1);
        from.consume(used);
        read += u64::try_from(used).unwrap_or(u64::MAX);
        if done {
            let line = match (read, end, too_long) {
                (0, _, _) => Line::End,
                (_, _, true) => Line::TooLong,
                (_, None, false) => Line::Incomplete,
                (_, Some(_), false) => Line::Whole,
            };
            return Ok((line, read));
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
            let mut all = 0;
            loop {
                let (kind, read) = next(&mut from, &mut line, most).expect("memory can be read");
                all += read;
                match kind {
                    Line::End => break,
                    Line::TooLong => found.push(None),
                    Line::Whole | Line::Incomplete => {
                        prop_assert!(kind == Line::Whole || all == text.len() as u64 && !text.ends_with('\n'));
                        found.push(Some(String::from_utf8(line.clone()).expect("it was text")));
                    }
                }
                prop_assert!(line.len() <= most);
            }
            prop_assert_eq!(all, text.len() as u64);
            let expected: Vec<_> =
                text.lines().map(|line| (line.len() <= most).then(|| line.to_owned())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
