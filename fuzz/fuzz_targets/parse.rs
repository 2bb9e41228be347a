//! Any text gives a tree or diagnostics, and every place in them is a place in the text. What is read without the help of
//! the parser for all of YAML is what that one reads.
#![no_main]

use dcp_compiler::source::{FileId, Span};
use dcp_compiler::yaml::{self, NodeRef};
use libfuzzer_sys::fuzz_target;

const FILE: FileId = FileId(3);
/// Aliases may expand to far more nodes than there are; looking at so many of them is enough.
const MOST: usize = 2_000;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = yaml::parse(FILE, text);
    assert_eq!(parsed, yaml::parse_any(FILE, text), "of {text:?}");
    for diagnostic in &parsed.diagnostics {
        assert!(diagnostic.primary().is_some(), "{diagnostic:?} has no place");
        for label in &diagnostic.labels {
            check(text, label.span, &diagnostic.message);
        }
    }
    for tree in &parsed.documents {
        look(tree.root(), text, &mut 0);
    }
});

fn look(node: NodeRef<'_>, text: &str, seen: &mut usize) {
    *seen += 1;
    if *seen > MOST {
        return;
    }
    check(text, node.span(), node.type_name());
    if let Some(value) = node.as_str() {
        within(node, value, text);
    }
    for member in node.members() {
        check(text, member.key_span, member.key);
        assert!(node.get(member.key).is_some(), "{} is not found by its key", member.key);
        look(member.value, text, seen);
    }
    node.items().for_each(|item| look(item, text, seen));
}

/// The places of parts of a scalar are places in the scalar; or all of it, where they can't be told.
fn within(node: NodeRef<'_>, value: &str, text: &str) {
    let cut = |at: usize| u32::try_from(value.floor_char_boundary(at)).expect("inputs are small");
    let len = value.len();
    for range in
        [cut(0)..cut(len), cut(len / 3)..cut(len / 2), cut(len)..cut(len), cut(len / 2)..cut(len / 2 + 9)]
    {
        let place = node.within(text, range.clone());
        check(text, place, "a part of a scalar");
        let whole = node.span();
        assert!(
            whole.start <= place.start && place.end <= whole.end,
            "{range:?} of {value:?} is {place:?}, outside of {whole:?}"
        );
    }
}

#[track_caller]
fn check(text: &str, span: Span, what: &str) {
    assert_eq!(span.file, FILE, "{what}");
    assert!(
        text.get(span.range()).is_some(),
        "{span:?} of {what:?} is no place in a text of {} bytes",
        text.len()
    );
}
