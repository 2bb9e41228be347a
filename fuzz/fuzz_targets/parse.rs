//! Checks that the YAML parser reports only positions within the text, and that the parser for plain YAML gives the
//! same result as the complete one.
#![no_main]

use dcp_compiler::source::{FileId, Span};
use dcp_compiler::yaml::{self, NodeRef};
use libfuzzer_sys::fuzz_target;

const FILE: FileId = FileId(3);
/// Maximum number of visited nodes, because aliases can expand to far more nodes than the text has.
const MAX_VISITED: usize = 2_000;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = yaml::parse(FILE, text);
    assert_eq!(parsed, yaml::parse_full(FILE, text), "parsing {text:?}");
    for diagnostic in &parsed.diagnostics {
        assert!(diagnostic.primary().is_some(), "{diagnostic:?} has no position");
        for label in &diagnostic.labels {
            check(text, label.span, &diagnostic.message);
        }
    }
    for tree in &parsed.documents {
        visit(tree.root(), text, &mut 0);
    }
});

fn visit(node: NodeRef<'_>, text: &str, visited: &mut usize) {
    *visited += 1;
    if *visited > MAX_VISITED {
        return;
    }
    check(text, node.span(), node.type_name());
    if let Some(value) = node.as_str() {
        check_parts(node, value, text);
    }
    for member in node.members() {
        check(text, member.key_span, member.key);
        assert!(node.get(member.key).is_some(), "{} is not found by its key", member.key);
        visit(member.value, text, visited);
    }
    node.items().for_each(|item| visit(item, text, visited));
}

/// Checks that the position of each part of a scalar is within the scalar.
fn check_parts(node: NodeRef<'_>, value: &str, text: &str) {
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
        "{span:?} of {what:?} is outside of a text of {} bytes",
        text.len()
    );
}
