//! Formatting of comments.

/// First words of comments that other tools read, and would not find after a space.
const FOR_TOOLS: &[&str] = &["yaml", "yaml-language-server", "cloud-config", "region", "endregion"];

/// Returns the content of a comment, without the `#`.
pub(super) fn content(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Writes a comment, with a space after its `#`.
///
/// Consecutive comments without this space are often commented-out YAML. If one of them needs a space, the run is
/// `shifted`: all of its comments get a space, so that their relative indentation is preserved.
pub(super) fn write(out: &mut String, comment: &str, shifted: bool) {
    let text = text(comment);
    out.push('#');
    if is_bare(comment) || (shifted && !content(text).is_empty() && !is_verbatim(text)) {
        out.push(' ');
    }
    out.push_str(text);
}

/// Returns whether a space is missing after the `#`.
pub(super) fn is_bare(comment: &str) -> bool {
    let text = text(comment);
    text.starts_with(char::is_alphanumeric) && !is_verbatim(text)
}

/// Returns whether the comment has exactly one space, as most do.
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
