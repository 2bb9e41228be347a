//! Comparison of two sources by content.

use granit_parser::Parser;

use super::{comment, lex};

/// Returns whether two sources have the same documents and the same comments. Styles of scalars, tags, anchors and
/// directives are compared too.
pub(super) fn same(a: &str, b: &str) -> bool {
    events(a).eq(events(b)) && comments(a) == comments(b)
}

fn events(source: &str) -> impl Iterator<Item = Option<granit_parser::Event<'_>>> {
    let options = granit_parser::options! { emit_comments: false, emit_anchor_events: true };
    Parser::new_from_str_with_options(source, options).map(|event| event.ok().map(|(event, _)| event))
}

fn comments(source: &str) -> Option<Vec<String>> {
    let comments = lex::comments(source)?;
    Some(comments.iter().map(|text| comment::content(text).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_in_white_space_are_ignored() {
        for other in ["a:   [1,2] #c", "a:\n  - 1 #c\n"] {
            assert_eq!(same("# c\na: [1, 2]\n", other), other.contains('['), "{other}");
        }
    }

    #[test]
    fn other_differences_are_found() {
        let source = "# c\na: &x [1, 'b']\nd: *x\n";
        for (from, to) in
            [("# c", ""), ("1", "2"), ("'b'", "b"), ("'b'", "\"b\""), ("&x", "&x !!seq"), ("a:", "---\na:")]
        {
            let other = source.replace(from, to);
            assert!(!same(source, &other), "{other}");
        }
        assert!(!same("--- a\n", "--- a\n---\n"));
        assert!(!same("# a\n# b\nc: d", "# b\n# a\nc: d"));
    }
}
