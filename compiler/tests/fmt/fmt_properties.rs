//! Checks that formatting preserves the content and the comments of a file, and that formatting twice changes
//! nothing.

use dcp_compiler::source::FileId;
use dcp_compiler::yaml::fmt::{Formatted, format, try_format};
use dcp_compiler::yaml::{Parsed, parse};
use proptest::prelude::*;

use crate::document;

const FILE: FileId = FileId(0);

fn values(parsed: &Parsed<'_>) -> Vec<serde_json::Value> {
    parsed.documents.iter().map(|document| document.root().to_json()).collect()
}

/// Returns the numbers of the comments of a generated document, in order.
fn comments(text: &str) -> Vec<&str> {
    let number = |after: &'_ str| after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    text.split("cmt").skip(1).map(|after| &after[..number(after)]).collect()
}

/// Checks the properties of a text, if it can be parsed.
fn check(source: &str) -> Result<(), TestCaseError> {
    let Ok(outcome) = try_format(FILE, source) else { return Ok(()) };
    let Formatted::Text(text) = outcome else { return Err(TestCaseError::fail("the source is kept")) };
    prop_assert_eq!(values(&parse(FILE, source)), values(&parse(FILE, &text)));
    prop_assert_eq!(comments(source), comments(&text));
    let again =
        try_format(FILE, &text).map_err(|_| TestCaseError::fail(format!("can't be read again:\n{text}")))?;
    prop_assert_eq!(again, Formatted::Text(text.clone()), "it is not at rest");
    prop_assert!(text.is_empty() || text.ends_with('\n'));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn formatting_preserves_the_content_of_documents(source in document::stream()) {
        let outcome = format(FILE, &source);
        prop_assert!(outcome.is_ok(), "{:?}\n{}", outcome, source);
        check(&source)?;
    }

    #[test]
    fn formatting_preserves_the_content_of_damaged_documents(
        source in document::stream(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[ \n\t:#,?&*!|>'\"{}\\[\\]a-]{0,2}", 0..3_usize), 1..4),
    ) {
        let mut chars: Vec<char> = source.chars().collect();
        for (index, new, removed) in changes {
            if !chars.is_empty() {
                let at = index.index(chars.len());
                let end = (at + removed).min(chars.len());
                chars.splice(at..end, new.chars());
            }
        }
        let source: String = chars.into_iter().collect();
        check(&source).map_err(|error| TestCaseError::fail(format!("{error}\n{source}")))?;
    }

    #[test]
    fn formatting_preserves_the_content_of_yaml_like_text(
        source in "([ \n]{0,3}(- |: |:|\\? |#|# |&a |\\*a|!!str |\\||>|>-|\\|\\+|'|\"|\\{|\\}|\\[|\\]|, |,|a|b|0|\n---|\n\\.\\.\\.|\n|\n|\n  )){0,14}"
    ) {
        check(&source)?;
    }

    #[test]
    fn any_text_is_formatted_without_panic(source in any::<String>()) {
        check(&source)?;
    }
}
