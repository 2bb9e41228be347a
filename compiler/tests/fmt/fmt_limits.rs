//! Tests of texts that are not formatted, and of limits.

use dcp_compiler::diag::Code;
use dcp_compiler::source::FileId;
use dcp_compiler::yaml::fmt::{Formatted, format, try_format};

const FILE: FileId = FileId(0);

#[test]
fn invalid_yaml_gives_the_errors_of_the_parser() {
    for (source, code) in [
        ("a: [1", Code::SYNTAX),
        ("a:\n\tb: 1", Code::TAB_INDENTATION),
        ("a: !secret x", Code::UNSUPPORTED_YAML),
        (&*"[".repeat(65), Code::TOO_COMPLEX),
    ] {
        let diagnostics = try_format(FILE, source).unwrap_err();
        assert_eq!(
            diagnostics.iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>(),
            [code],
            "{source:?}"
        );
    }
}

#[test]
fn yaml_with_warnings_is_formatted() {
    assert_eq!(format(FILE, "a:   1\na:   yes\n").unwrap(), "a: 1\na: yes\n");
}

/// Without indentation, the first word would begin a document.
#[test]
fn formatting_that_changes_content_is_discarded() {
    let source = " ---  a: 1\r\n";
    assert_eq!(try_format(FILE, source).unwrap(), Formatted::Discarded);
    assert_eq!(format(FILE, source).unwrap(), source);
}

#[test]
fn the_deepest_nesting_is_formatted() {
    let flow = format!("{}{}\n", "[".repeat(64), "]".repeat(64));
    assert_eq!(format(FILE, &flow).unwrap(), flow);
    let items = format!("{}a\n", "-   ".repeat(64));
    assert_eq!(format(FILE, &items).unwrap(), format!("{}a\n", "- ".repeat(64)));
    let level = |at| [" ".repeat(at), "a:\n".to_owned(), " ".repeat(at), "-\n".to_owned()].concat();
    let loose = (0..32).map(level).collect::<Vec<_>>().concat();
    let text = format(FILE, &loose).unwrap();
    assert!(matches!(try_format(FILE, &text), Ok(Formatted::Text(again)) if again == text), "{text}");
}

#[test]
fn hundred_consecutive_comments_are_formatted() {
    let source = format!("a:\n{}  b: 1\n", "#  c\n".repeat(500));
    assert_eq!(format(FILE, &source).unwrap(), format!("a:\n{}  b: 1\n", "  #  c\n".repeat(500)));
}
