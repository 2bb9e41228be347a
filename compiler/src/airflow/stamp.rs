//! Adds the revision to the documentation of a DAG file. It is unknown when the DAG is compiled.

use super::Literal;

/// The last line of the documentation of a DAG that was compiled and not applied.
pub const NOT_APPLIED: &str = "- revision: not applied";

/// Maximum length of the displayed hash of a commit.
const SHORT_COMMIT: usize = 12;
const MAX_COMMIT: usize = 64;

/// Returns the text of a DAG file, in which the revision and the commit replace [`NOT_APPLIED`].
///
/// The replaced text is a whole line of the file. Line breaks in strings are escaped, and only the documentation has
/// one line in the file for each of its lines. The last matching line is therefore the last line of the
/// documentation, whatever a description contains.
pub fn stamped(content: &str, revision: u64, commit: Option<&str>) -> String {
    let line = |text: &str| format!("\n        {}\n", Literal::string(&format!("{text}\n")).as_str());
    let commit =
        commit.and_then(displayed_commit).map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let (old, new) = (line(NOT_APPLIED), line(&format!("- revision: {revision}{commit}")));
    match content.rfind(&old) {
        Some(at) => [&content[..at], &new, &content[at + old.len()..]].concat(),
        None => content.to_owned(),
    }
}

/// Returns a commit for display, if it contains only safe characters.
fn displayed_commit(commit: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !(1..=MAX_COMMIT).contains(&commit.len()) || !commit.bytes().all(plain) {
        return None;
    }
    let (hash, rest) = commit.split_at(commit.find('-').unwrap_or(commit.len()));
    let hex = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(format!("{}{rest}", if hex { &hash[..hash.len().min(SHORT_COMMIT)] } else { hash }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_shown_as_names() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let dirty = format!("{hash}-dirty");
        for (commit, expected) in [
            (hash, Some("0123456789ab")),
            (dirty.as_str(), Some("0123456789ab-dirty")),
            ("abc", Some("abc")),
            ("v1.2_release-candidate", Some("v1.2_release-candidate")),
            ("", None),
            ("a b", None),
            ("\"); import os #", None),
            ("a\nb", None),
            ("ä", None),
            (&"z".repeat(65), None),
        ] {
            assert_eq!(displayed_commit(commit).as_deref(), expected, "{commit}");
        }
    }
}
