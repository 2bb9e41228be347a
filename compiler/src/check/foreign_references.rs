//! Reports references in the notation of other tools, and misspelt references. dcp does not replace them.

use super::Subject;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;

/// First words of references, and the similar ones of dcp.
const SIMILAR_NAMESPACES: &[(&str, &str)] = &[
    ("vars", "var"),
    ("variable", "var"),
    ("variables", "var"),
    ("params", "param"),
    ("parameter", "param"),
    ("parameters", "param"),
    ("secrets", "secret"),
];

/// First words of references of Terraform, Databricks bundles and other tools, which correspond to dcp's variables.
const OTHER_TOOLS: &[&str] = &["env", "environment", "bundle", "workspace", "target", "local", "locals"];

/// A reference that is not replaced.
#[derive(Debug, PartialEq, Eq)]
struct ForeignReference {
    written: String,
    suggestion: String,
}

pub(super) fn check(subject: &mut Subject<'_>) {
    let mut found: Vec<(Span, ForeignReference)> = Vec::new();
    if let Some(spec) = subject.root.find(["spec"]) {
        spec.walk(&mut |node| {
            let text = node.as_str().filter(|text| text.as_bytes().contains(&b'$'));
            found.extend(
                text.and_then(foreign_reference).map(|foreign_reference| (node.span(), foreign_reference)),
            );
        });
    }
    for (at, ForeignReference { written, suggestion }) in found {
        let message = format!("nothing replaces `{written}`");
        let help = "references are `${var.name}`, whose value the target in `dcp.yaml` sets, `${param.name}` and \
                    `${secret.name/key}`; write `$${…}` for text that is to stay as it is";
        let diagnostic = Diagnostic::new(Code::FOREIGN_REFERENCE, message);
        subject.report(diagnostic.at(at, format!("did you mean `{suggestion}`?")).help(help));
    }
}

/// Returns the first reference in a text that is similar to one of dcp's.
fn foreign_reference(text: &str) -> Option<ForeignReference> {
    text.match_indices("${")
        .filter(|(at, _)| !text[..*at].ends_with('$'))
        .find_map(|(at, _)| parse(&text[at..]))
}

/// Checks the reference at the start of `from`, which begins with `${`.
fn parse(from: &str) -> Option<ForeignReference> {
    // Longer words are not similar to dcp's, and longer names are not shown.
    const WORD: usize = 16;
    const NAME: usize = 60;
    let word = from[2..].bytes().take(WORD).take_while(u8::is_ascii_alphabetic).count();
    let (word, rest) = from[2..].split_at(word);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let rest = rest.strip_prefix('.')?;
    let name = &rest[..rest.bytes().take(NAME).take_while(is_name).count()];
    if name.is_empty() || !rest[name.len()..].starts_with('}') {
        return None;
    }
    let own = suggestion(word)?;
    let key = if own == "secret" && !name.contains('/') { "/key" } else { "" };
    Some(ForeignReference {
        written: format!("${{{word}.{name}}}"),
        suggestion: format!("${{{own}.{name}{key}}}"),
    })
}

fn suggestion(word: &str) -> Option<&'static str> {
    const OWN: [&str; 3] = ["var", "param", "secret"];
    if OWN.contains(&word) {
        return None;
    }
    let listed =
        SIMILAR_NAMESPACES.iter().find(|(other, _)| word.eq_ignore_ascii_case(other)).map(|(_, own)| *own);
    let others = || OTHER_TOOLS.iter().any(|other| word.eq_ignore_ascii_case(other)).then_some("var");
    let lower = word.to_ascii_lowercase();
    // Words of three letters are too short for an edit.
    let near = |own: &&str| lower == *own || (own.len() > 3 && strsim::osa_distance(&lower, own) == 1);
    listed.or_else(others).or_else(|| OWN.into_iter().find(near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_other_tools_and_misspelt_ones_are_recognized() {
        for (text, suggestion) in [
            ("${vars.lake}/x", "${var.lake}"),
            ("s3://${Var.lake}", "${var.lake}"),
            ("${secrets.db/password}", "${secret.db/password}"),
            ("${secrets.db}", "${secret.db/key}"),
            ("${secert.db/password}", "${secret.db/password}"),
            ("${params.day}", "${param.day}"),
            ("${env.HOME}", "${var.HOME}"),
            ("${var.a} ${bundle.target}", "${var.target}"),
        ] {
            assert_eq!(
                foreign_reference(text).map(|it| it.suggestion).as_deref(),
                Some(suggestion),
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_not_reported() {
        for text in [
            "${var.a} ${param.b} ${secret.c/d}",
            "$${vars.a}",
            "${HOME} ${env:HOME} ${spark.app.name} ${hiveconf:x}",
            "${vars}",
            "${vars.}",
            "${vars.a",
            "${bar.a} ${car.b}",
            "vars.a",
        ] {
            assert_eq!(foreign_reference(text), None, "{text}");
        }
        let long = "${".repeat(100_000) + &"${vars.".repeat(100_000);
        assert_eq!(foreign_reference(&long), None);
    }
}
