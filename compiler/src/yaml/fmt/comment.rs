//! The text of comments.

/// What other tools look for at the beginning of a comment, and would not find behind a space.
const FOR_TOOLS: &[&str] = &["yaml", "yaml-language-server", "cloud-config", "region", "endregion"];

/// What a comment says, from behind its `#`.
pub(super) fn content(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Writes a comment, with a space behind its `#`.
///
/// A run of comments without that space often is what was YAML once. It is `shifted` if there is such a comment in
/// it: then all of them get a space, whatever follows the `#`, so that they keep their indentation.
pub(super) fn write(out: &mut String, comment: &str, shifted: bool) {
    let text = text(comment);
    out.push('#');
    if is_bare(comment) || (shifted && !content(text).is_empty() && !is_verbatim(text)) {
        out.push(' ');
    }
    out.push_str(text);
}

/// Whether there should be a space between the `#` and its text.
pub(super) fn is_bare(comment: &str) -> bool {
    let text = text(comment);
    text.starts_with(char::is_alphanumeric) && !is_verbatim(text)
}

/// Whether there is exactly one space, as there is in most comments.
pub(super) fn is_spaced(comment: &str) -> bool {
    let text = text(comment);
    text.starts_with(' ') && !text.starts_with("  ")
}

fn text(comment: &str) -> &str {
    comment.strip_prefix('#').unwrap_or(comment).trim_end_matches([' ', '\t'])
}

fn is_verbatim(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(text.len());
    text.starts_with(['#', '!']) || FOR_TOOLS.contains(&&text[..end])
}
