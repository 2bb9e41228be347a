//! Messages for YAML errors, without the terms of the parser.

use std::borrow::Cow;

use granit_parser::ErrorKind as Kind;

use super::MAX_DEPTH;

/// A message and a remedy.
pub(super) type MessageAndHelp = (Cow<'static, str>, &'static str);

const QUOTES: &str = "put the text in quotes, if it is one";
const LEVEL: &str = "indent it as the other lines of its level";
const NOT_NEEDED: &str = "manifests need none of these: remove it";

/// Describes an error of the parser.
#[expect(clippy::too_many_lines, reason = "one table: an arm for each error")]
pub(super) fn describe(kind: &Kind) -> MessageAndHelp {
    if let Some(words) = brackets(kind) {
        return words;
    }
    let (message, help) = match kind {
        Kind::RecursionLimitExceeded => {
            let message = format!("this is nested more than {MAX_DEPTH} levels deep");
            return (
                message.into(),
                "a manifest needs about ten levels: is the file what it is meant to be?",
            );
        }
        Kind::UnexpectedCharacter { character } => {
            let message = format!("`{}` can't begin a value", character.escape_default());
            return (message.into(), QUOTES);
        }
        Kind::UnexpectedEof
        | Kind::UnexpectedEofBlockSequence
        | Kind::UnexpectedEofBlockMapping
        | Kind::ExpectedNodeContent => ("a value is missing", "write one, or remove what it belongs to"),
        Kind::ExpectedBlockMappingKey => ("a line `key: value` is expected here", LEVEL),
        Kind::ExpectedBlockSequenceEntry => ("a list item, `- value`, is expected here", LEVEL),
        Kind::InvalidIndentation | Kind::InvalidFlowScalarIndent | Kind::InvalidBlockScalarIndent => {
            ("this line has the wrong indentation", LEVEL)
        }
        Kind::SimpleKeyExpected | Kind::InvalidSimpleKey => {
            ("a key has no `:` after it", "write `key: value`, with the key on one line")
        }
        Kind::MappingKeyNotAllowed
        | Kind::MappingValueNotAllowed
        | Kind::InvalidColonPlacement
        | Kind::FlowMappingValueAdjacentCollection
        | Kind::InvalidMappingValueWhitespace => (
            "a `:` is not expected here",
            "a text with `: ` in it needs quotes; or is the indentation of this line off, or a bracket above not closed?",
        ),
        Kind::BlockEntryInFlowCollection
        | Kind::BlockSequenceEntryNotAllowed
        | Kind::InvalidBlockEntryWhitespace
        | Kind::PlainScalarStartsWithDashFlowIndicator => (
            "a `-` is not expected here",
            "each list item begins on a line of its own; a text that begins with `-` needs quotes",
        ),
        Kind::UnknownAnchor => {
            ("no `&` before this defines the name", "a text that begins with `*` needs quotes")
        }
        Kind::MissingAnchorOrAliasName => {
            ("`&` and `*` need a name after them", "a text that begins with one of them needs quotes")
        }
        Kind::CommentNotSeparated => {
            ("a comment begins without a space before it", "write a space before `#`")
        }
        Kind::CommentInterceptedScalar => {
            ("a comment stands within a text of several lines", "move it above the text")
        }
        Kind::InvalidDocumentEnd | Kind::ExpectedDocumentStart | Kind::MissingDocumentEndBeforeDirective => {
            ("text is not expected here", "manifests of one file are separated by a line `---`")
        }
        Kind::ExpectedWhitespace | Kind::UnexpectedEndOfPlainScalar => ("a space is missing", QUOTES),
        Kind::BomInsideDocument => ("an invisible character (BOM) is not expected here", "remove it"),
        kind if is_text(kind) => return text(kind),
        kind if is_tag(kind) => ("a tag (`!…`) can't be read", "a text that begins with `!` needs quotes"),
        kind if is_directive(kind) => ("a directive (`%…`) can't be read", NOT_NEEDED),
        _ => ("this is not valid YAML", "compare it with the lines above"),
    };
    (message.into(), help)
}

fn brackets(kind: &Kind) -> Option<MessageAndHelp> {
    let message = match kind {
        Kind::UnclosedFlowCollection { open } => format!("`{open}` is not closed"),
        Kind::MismatchedFlowCollectionEnd { open, close } => format!("`{open}` is closed by `{close}`"),
        Kind::UnexpectedEofFlowSequence => "`[` is not closed".to_owned(),
        Kind::UnexpectedEofFlowMapping | Kind::UnexpectedEofImplicitFlowMapping => {
            "`{` is not closed".to_owned()
        }
        Kind::MisplacedFlowCollectionEnd => "this bracket closes nothing".to_owned(),
        Kind::ExpectedFlowMappingSeparator => "`,` or `}` is expected here".to_owned(),
        Kind::ExpectedFlowSequenceSeparator => "`,` or `]` is expected here".to_owned(),
        _ => return None,
    };
    Some((
        message.into(),
        "a list `[…]` or map `{…}` ends with its bracket; a text with brackets needs quotes",
    ))
}

/// Returns whether the error is about quoted texts or block scalars.
fn is_text(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::UnclosedQuotedScalar
            | Kind::DocumentIndicatorInQuotedScalar
            | Kind::InvalidQuotedScalarIndent
            | Kind::InvalidTrailingSingleQuotedScalar
            | Kind::InvalidTrailingDoubleQuotedScalar
            | Kind::UnknownQuotedScalarEscape
            | Kind::InvalidQuotedScalarHexEscape
            | Kind::InvalidLowSurrogateHexEscape
            | Kind::InvalidLowSurrogate
            | Kind::MissingLowSurrogate
            | Kind::UnpairedLowSurrogate
            | Kind::InvalidUnicodeEscape
            | Kind::ZeroBlockScalarIndent
            | Kind::InvalidBlockScalarHeader
    )
}

fn text(kind: &Kind) -> MessageAndHelp {
    let (message, help) = match kind {
        Kind::UnclosedQuotedScalar | Kind::DocumentIndicatorInQuotedScalar => (
            "a text in quotes is not closed",
            "write the closing quote; within single quotes, `''` stands for one",
        ),
        Kind::InvalidQuotedScalarIndent => (
            "a text in quotes is not closed, or its next line is not indented",
            "write the closing quote; within single quotes, `''` stands for one",
        ),
        Kind::InvalidTrailingSingleQuotedScalar | Kind::InvalidTrailingDoubleQuotedScalar => (
            "something follows a closing quote",
            "put all of the text in quotes; within single quotes, `''` stands for one",
        ),
        Kind::ZeroBlockScalarIndent | Kind::InvalidBlockScalarHeader => {
            ("something follows `|` or `>`", "begin the text on the next line, indented")
        }
        _ => (
            "YAML has no such escape in double quotes",
            "write a backslash as `\\\\`, or use single quotes, in which it stands for itself",
        ),
    };
    (message.into(), help)
}

fn is_tag(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::ExpectedTagBang
            | Kind::UndeclaredTagHandle
            | Kind::InvalidGlobalTagCharacter
            | Kind::InvalidTagTerminator
            | Kind::MissingTagUri
            | Kind::UnclosedVerbatimTag
            | Kind::InvalidTagEscape
            | Kind::InvalidTagUtf8LeadingByte
            | Kind::InvalidTagUtf8TrailingByte
            | Kind::InvalidTagUtf8
    )
}

fn is_directive(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::DuplicateVersionDirective
            | Kind::UnsupportedYamlMajorVersion
            | Kind::DuplicateTagDirective
            | Kind::ExpectedTagDirectiveBang
            | Kind::InvalidDirectiveTerminator
            | Kind::DirectiveDisallowed
            | Kind::MissingYamlVersionSeparator
            | Kind::MissingDirectiveName
            | Kind::InvalidDirectiveName
            | Kind::DirectiveByteLimitExceeded { .. }
            | Kind::TooManyReservedDirectiveParams { .. }
            | Kind::YamlVersionTooLong
            | Kind::MissingYamlVersion
            | Kind::InvalidTagDirectiveTerminator
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::diag::Diagnostic;
    use crate::source::FileId;
    use crate::yaml::parse;

    fn message(text: &str) -> Option<String> {
        parse(FileId(1), text).diagnostics.into_iter().find(Diagnostic::is_error).map(|it| it.message)
    }

    #[test]
    fn messages_of_known_errors_have_no_parser_terms() {
        let mut wrong = Vec::new();
        for (text, expected) in [
            ("a: [1, 2\nb: 3\n", "a `:` is not expected here"),
            ("a: {b: 1\n", "is not closed"),
            ("a: [1}\n", "`[` is closed by `}`"),
            ("a: 1]\nb: ]\n", "this bracket closes nothing"),
            ("a: 'x\n", "a text in quotes is not closed"),
            ("a: 'x' y\n", "something follows a closing quote"),
            ("a: \"\\q\"\n", "YAML has no such escape in double quotes"),
            ("a: b: c\n", "a `:` is not expected here"),
            ("a: 1\n b: 2\n", "a `:` is not expected here"),
            ("a:\n  b: 1\n c: 2\n", "a line `key: value` is expected here"),
            ("a: 1\nb\n", "a key has no `:` after it"),
            ("a: - b\n", "a `-` is not expected here"),
            ("a: *x\n", "no `&` before this defines the name"),
            ("a: @x\n", "`@` can't begin a value"),
            ("a: |x\n  b\n", "something follows `|` or `>`"),
            ("a: !<x\n", "a tag (`!…`) can't be read"),
            ("%YAML x\n---\na: 1\n", "a directive (`%…`) can't be read"),
        ] {
            let found = message(text).unwrap_or_default();
            if !found.contains(expected) {
                wrong.push(format!("{text:?}: {found}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn messages_of_any_error_have_no_parser_terms(text in "([a-z]{1,2}|[:\\[\\]{}\"'|>*&!%@#,?-]|---|: |- |\n|\n  ){0,30}") {
            let message = message(&text).unwrap_or_default().to_lowercase();
            for term in ["flow", "block", "scalar", "mapping", "sequence", "node", "token", "eof", "simple key", "parsing"] {
                prop_assert!(!message.contains(term), "{text:?}: {message}");
            }
        }
    }
}
