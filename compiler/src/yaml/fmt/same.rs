//! Whether two sources say the same.

use granit_parser::Parser;

use super::{comment, lex};

/// Whether two sources have the same documents and the same comments. How scalars are written, tags, anchors and
/// directives count as well.
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
