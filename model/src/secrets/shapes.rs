//! Secrets that are recognized by their format, regardless of their name.

use super::Kind;

/// Prefixes of tokens, with the minimum number of characters after the prefix. After a prefix that ends with `_`,
/// tokens have letters and digits only, unlike names of tables.
const PREFIXES: &[(&str, usize)] = &[
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 22),
    ("glpat-", 16),
    ("glrt-", 16),
    ("gldt-", 16),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("sk_test_", 16),
    ("sk-ant-", 20),
    ("sk-proj-", 20),
    ("AIza", 35),
    ("ya29.", 20),
    ("npm_", 36),
    ("pypi-AgE", 20),
    ("hf_", 30),
    ("SG.", 40),
    ("dop_v1_", 40),
    ("hvs.", 20),
    ("hvb.", 20),
    ("dckr_pat_", 20),
    ("shpat_", 30),
    ("ATATT3", 20),
    ("AGE-SECRET-KEY-1", 40),
];

/// Returns the kind of a word that is a token.
pub(super) fn token(word: &str) -> Option<Kind> {
    const SHORTEST: usize = 14;
    if word.len() < SHORTEST {
        return None;
    }
    match word.as_bytes()[0] {
        b'A' if is_aws_id(word) => Some(Kind::AwsKey),
        b'e' if is_signed_token(word) => Some(Kind::SignedToken),
        b'd' if is_databricks(word) => Some(Kind::Token),
        b'g' | b'x' | b's' | b'r' | b'A' | b'y' | b'n' | b'p' | b'h' | b'S' | b'd' => {
            let known = |(prefix, length): &(&str, usize)| {
                word.strip_prefix(prefix).is_some_and(|rest| rest.len() >= *length && is_random(prefix, rest))
            };
            PREFIXES.iter().any(known).then_some(Kind::Token)
        }
        _ => None,
    }
}

fn is_random(prefix: &str, rest: &str) -> bool {
    let words = prefix.ends_with('_') && !prefix.contains("pat_") && rest.contains(['_', '-', '.']);
    rest.bytes().any(|byte| byte.is_ascii_digit()) && !words
}

/// Returns whether a word is `dapi` and 32 hexadecimal digits, optionally followed by more.
fn is_databricks(word: &str) -> bool {
    word.strip_prefix("dapi")
        .is_some_and(|rest| rest.len() >= 32 && rest.bytes().take(32).all(|byte| byte.is_ascii_hexdigit()))
}

fn is_aws_id(word: &str) -> bool {
    word.len() == 20
        && (word.starts_with("AKIA") || word.starts_with("ASIA"))
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Returns whether a text has the length and the characters of an AWS secret key.
pub(super) fn is_aws_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    let all = || bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'='));
    bytes.len() == 40
        && all()
        && bytes.iter().any(u8::is_ascii_uppercase)
        && bytes.iter().any(u8::is_ascii_lowercase)
        && bytes.iter().any(u8::is_ascii_digit)
}

/// Returns whether a word is a JWT or a JWE: base64 parts, of which the first is a JSON object.
fn is_signed_token(word: &str) -> bool {
    let Some(rest) = word.strip_prefix("eyJ") else { return false };
    let mut parts = rest.split('.');
    let header = parts.next().is_some_and(|header| header.len() >= 7);
    let payload = parts.next().is_some_and(|payload| payload.len() >= 4);
    header && payload && matches!(parts.take(4).count(), 1 | 3)
}

/// Returns the range of the body of a private key whose `-----BEGIN` is at `at`. The key may be truncated, or be on
/// one line with `\n` for its line breaks.
pub(super) fn private_key(text: &str, at: usize) -> Option<std::ops::Range<usize>> {
    const MARK: &str = "-----";
    // The longest label that exists has 32 characters.
    const LABEL: usize = 64;
    let head = &text.as_bytes()[at + MARK.len()..text.len().min(at + MARK.len() + LABEL)];
    let label = head.windows(MARK.len()).position(|window| window == MARK.as_bytes())?;
    let label = text.get(at + MARK.len()..at + MARK.len() + label)?;
    if !label.contains("PRIVATE KEY") || label.contains('\n') {
        return None;
    }
    let start = at + MARK.len() + label.len() + MARK.len();
    let rest = &text[start..];
    let end = match rest.find(MARK) {
        Some(end) if rest[end + MARK.len()..].starts_with("END") => end,
        // If the key is truncated, it ends where the base64 ends.
        found => base64_length(&rest[..found.unwrap_or(rest.len())]),
    };
    let body = &rest[..end];
    let begin = body.len() - body.trim_start().len();
    let end = body.trim_end().len();
    // Masks and references are not redacted.
    let key = body.bytes().filter(u8::is_ascii_alphanumeric).count() >= 3 && !body.contains("${");
    (begin < end && key).then(|| start + begin..start + end)
}

/// Returns the length of the base64 lines at the start of a text.
fn base64_length(text: &str) -> usize {
    let base64 = |line: &str| {
        let line = line.trim();
        line.is_empty()
            || line.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'=' | b'\\' | b'"' | b'\'')
            })
    };
    text.split_inclusive('\n').take_while(|line| base64(line)).map(str::len).sum()
}
