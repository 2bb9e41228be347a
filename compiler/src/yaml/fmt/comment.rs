//! The text of comments.

/// What other tools look for at the beginning of a comment, and would not find behind a space.
const FOR_TOOLS: &[&str] = &["yaml", "yaml-language-server", "cloud-config", "region", "endregion"];

/// What a comment says, from behind its `#`.
pub(super) fn content(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Writes a comment, pushed a column to the right if it is one of a run that [`Run`] says so of.
pub(super) fn write(out: &mut String, comment: &str, shifted: bool) {
    let comment = comment.trim_end_matches([' ', '\t']);
    let text = comment.strip_prefix('#').unwrap_or(comment);
    out.push('#');
    if is_bare(text) || (shifted && is_shiftable(text)) {
        out.push(' ');
    }
    out.push_str(text);
}

/// Whether the comments of a run are what was once YAML, with a `#` put in front of each line and no space behind
/// it. Then all of them get that space, so that their indentation remains.
pub(super) fn is_shifted<'s>(run: impl Iterator<Item = &'s str> + Clone) -> bool {
    let mut texts = run.map(|comment| comment.strip_prefix('#').unwrap_or(comment));
    let prose = |text: &str| text.starts_with(' ') && !text.starts_with("  ") && !content(text).is_empty();
    texts.clone().any(is_bare) && !texts.any(prose)
}

/// Whether there should be a space between the `#` and its text.
fn is_bare(text: &str) -> bool {
    text.starts_with(char::is_alphanumeric) && !is_for_tools(text)
}

fn is_shiftable(text: &str) -> bool {
    !content(text).is_empty() && !text.starts_with(['#', '!']) && !is_for_tools(text)
}

fn is_for_tools(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(text.len());
    FOR_TOOLS.contains(&&text[..end])
}
