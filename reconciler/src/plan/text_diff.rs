//! Texts of several lines, side by side.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

/// The number of context lines around a change.
const CONTEXT: usize = 2;

/// Returns removed and added lines, each after `-`, `+` or a space, with `…` in place of lines that are left out.
pub(super) fn lines(old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut text = String::new();
    for (index, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            text.push_str("…\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let line = change.value().trim_end_matches(['\r', '\n']);
            writeln!(text, "{sign} {line}").expect("writing to a String does not fail");
        }
    }
    text
}

/// Returns the index of the first new line that differs, or of the last line if lines were only removed.
pub(super) fn first_changed_line(old: &str, new: &str) -> usize {
    let same = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    same.min(new.lines().count().saturating_sub(1))
}

/// Returns the number of removed or added lines, whichever is greater.
pub(super) fn changed_line_count(diff: &str) -> usize {
    let with = |sign: char| diff.lines().filter(|line| line.starts_with(sign)).count();
    with('-').max(with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_context_lines() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n";
        let new = "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl";
        let text = lines(old, new);
        assert_eq!(text, "  a\n- b\n+ B\n  c\n  d\n…\n  j\n  k\n+ l\n");
        assert_eq!(changed_line_count(&text), 2);
        assert_eq!(changed_line_count(&lines("a", "b\nc")), 2);
        assert_eq!(lines(old, old), "");
        assert_eq!(
            (
                first_changed_line(old, new),
                first_changed_line("a\nb", "a"),
                first_changed_line("a", "a\nb"),
                first_changed_line("", "")
            ),
            (1, 0, 1, 0)
        );
    }
}
