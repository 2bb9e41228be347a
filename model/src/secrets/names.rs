//! Names of secrets, and values that are not secrets.

use super::{Kind, shapes};

/// The strength of the indication that a name gives about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// The value is a secret unless it is a reference, a mask, a type or similar.
    Strong,
    /// The name has other uses too, so the value must look like a secret.
    Weak,
    /// The value must look as random as a signature.
    Signature,
}

/// Endings of names, without separators and in lower case.
const STRONG: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secretkey",
    "secretaccesskey",
    "accesskey",
    "apikey",
    "accountkey",
    "authkey",
    "encryptionkey",
    "privatekey",
    "sharedkey",
    "signingkey",
    "storagekey",
    "subscriptionkey",
    "accesstoken",
    "apitoken",
    "authtoken",
    "bearertoken",
    "oauthtoken",
    "refreshtoken",
    "sastoken",
    "securitytoken",
    "sessiontoken",
    "keypass",
    "sshpass",
    "storepass",
];

/// Endings that must be separate words: `db_pwd` and `dbPwd`, but not `compass`.
const SEPARATE_WORDS: &[(&str, Strength)] = &[
    ("pwd", Strength::Weak),
    ("pass", Strength::Weak),
    ("token", Strength::Weak),
    ("credential", Strength::Signature),
    ("credentials", Strength::Signature),
    ("sig", Strength::Signature),
    ("signature", Strength::Signature),
];

/// Words before `token` in names that are not related to a login.
const OTHER_TOKENS: &[&str] =
    &["next", "page", "continuation", "continue", "bos", "eos", "pad", "unk", "mask", "stop", "sep", "cls"];

/// The last three letters of all names in [`STRONG`] and [`SEPARATE_WORDS`]. They exclude nearly all names quickly.
const TAILS: &[[u8; 3]] = &[
    *b"ord", *b"swd", *b"ase", *b"ret", *b"key", *b"ken", *b"ass", *b"pwd", *b"ial", *b"als", *b"sig",
    *b"ure",
];

/// Returns the last three letters or digits of a name, in lower case.
fn tail(name: &[u8]) -> Option<[u8; 3]> {
    let mut letters = name.iter().rev().filter(|byte| byte.is_ascii_alphanumeric());
    let mut next = || letters.next().map(u8::to_ascii_lowercase);
    let (third, second, first) = (next()?, next()?, next()?);
    Some([first, second, third])
}

/// Returns the strength of a name, or `None` for most names.
pub(super) fn strength(name: &str) -> Option<Strength> {
    let bytes = name.as_bytes();
    // Settings of Azure have the name of the account at the end.
    if bytes.len() > 16 && (name.contains("fs.azure.account.key.") || name.contains("fs.azure.sas.")) {
        return Some(Strength::Strong);
    }
    let tail = tail(bytes).filter(|tail| TAILS.contains(tail))?;
    let ends = |ending: &&str| ending.as_bytes().ends_with(&tail) && ends_with(bytes, ending.as_bytes());
    if STRONG.iter().any(ends) {
        return Some(Strength::Strong);
    }
    let (word, strength) = SEPARATE_WORDS.iter().find(|(word, _)| is_last_word(bytes, word.as_bytes()))?;
    let before = &bytes[..bytes.len() - word.len()];
    let other = *word == "token" && OTHER_TOKENS.iter().any(|other| ends_with(before, other.as_bytes()));
    (!other).then_some(*strength)
}

/// Returns whether a name ends with these letters. Case and separators are ignored.
fn ends_with(name: &[u8], ending: &[u8]) -> bool {
    let mut letters = name.iter().rev().filter(|byte| byte.is_ascii_alphanumeric());
    ending.iter().rev().all(|byte| letters.next().is_some_and(|letter| letter.eq_ignore_ascii_case(byte)))
}

/// Returns whether `word` is the last word of a name in snake case, camel case or kebab case.
fn is_last_word(name: &[u8], word: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(word.len()) else { return false };
    let (before, last) = name.split_at(start);
    let begins = match (before.last(), last.first()) {
        (None, _) => true,
        (Some(before), Some(first)) => {
            !before.is_ascii_alphanumeric() || (before.is_ascii_lowercase() && first.is_ascii_uppercase())
        }
        (Some(_), None) => false,
    };
    last.eq_ignore_ascii_case(word) && begins
}

/// Returns the kind of secret if the value of a named field of a manifest is one.
pub fn by_name(name: &str, value: &str) -> Option<Kind> {
    // The field `secret` of a manifest contains the name of a secret.
    let strength = strength(name.trim_start_matches('-')).filter(|_| name != "secret")?;
    let sentence = value.contains(' ');
    let secret = !sentence && is_literal(name, value) && looks_like_secret(strength, value);
    secret.then_some(Kind::Named)
}

/// Returns whether a value looks enough like a secret for a name of this strength.
pub(super) fn looks_like_secret(strength: Strength, value: &str) -> bool {
    match strength {
        Strength::Strong => true,
        Strength::Weak => value.len() >= 3 && !value.bytes().all(|byte| byte.is_ascii_digit()),
        Strength::Signature => value.len() >= 16 && is_opaque(value),
    }
}

/// Returns whether a value looks random: it has letters and digits, or capitals inside a word.
pub(super) fn is_opaque(value: &str) -> bool {
    let bytes = value.as_bytes();
    let letters = bytes.iter().any(u8::is_ascii_alphabetic);
    let digits = bytes.iter().any(u8::is_ascii_digit);
    let inner = bytes.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    bytes.len() >= 6 && letters && (digits || inner)
}

/// Placeholders of values, and types of columns or parameters.
const PLACEHOLDERS: &[&str] = &[
    "true",
    "false",
    "none",
    "null",
    "nil",
    "undefined",
    "empty",
    "missing",
    "required",
    "optional",
    "redacted",
    "hidden",
    "masked",
    "removed",
    "secret",
    "password",
    "token",
    "str",
    "string",
    "text",
    "char",
    "varchar",
    "bytes",
    "binary",
    "int",
    "integer",
    "long",
    "bigint",
    "boolean",
    "bool",
    "stringtype",
    "changeme",
    "expired",
    "invalid",
    "env",
    "default",
    "byte",
    "short",
    "float",
    "double",
    "date",
    "timestamp",
    "variant",
];

/// Words that follow an option in prose: `use --password to set it`.
const PROSE: &[&str] = &[
    "a", "and", "are", "argument", "as", "at", "but", "can", "cannot", "flag", "for", "from", "if", "in",
    "instead", "is", "may", "must", "not", "of", "on", "option", "or", "should", "that", "the", "then", "to",
    "was", "when", "which", "will", "with",
];

pub(super) fn is_prose(value: &str) -> bool {
    PROSE.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Returns whether a value is a literal, and not a reference, a mask, a path, a type or an expression.
pub(super) fn is_literal(name: &str, value: &str) -> bool {
    // The text before a reference is a secret itself, unless it is as short as a prefix.
    let value = match value.find("${") {
        Some(at) if at < 8 => return false,
        Some(at) => &value[..at],
        None => value,
    };
    let Some(first) = value.chars().next() else { return false };
    if matches!(first, '$' | '<' | '{' | '[' | '(' | ':' | '@' | '…' | '?') {
        return false;
    }
    if value.starts_with("%s") || value.starts_with("%(") || is_path_or_uri(value) {
        return false;
    }
    // The remaining checks match short values only. Skipping long ones bounds the time.
    if value.len() > 64 {
        return true;
    }
    let masked = value.chars().all(|c| matches!(c, '*' | 'x' | 'X' | '.' | '-' | '_' | '#' | '•' | '…'));
    // A single `x` is more likely a value than a mask.
    if masked && value.len() > 1 {
        return false;
    }
    let plain: String =
        value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let own = || {
        let own: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        own.eq_ignore_ascii_case(&plain)
            || (value.contains('.') && ends_with(value.as_bytes(), own.as_bytes()))
    };
    !PLACEHOLDERS.contains(&plain.as_str()) && !is_expression(value) && !own()
}

/// Returns whether a value is a path or a URI.
fn is_path_or_uri(value: &str) -> bool {
    // AWS keys may begin with a slash.
    let path = value.starts_with('/') && !shapes::is_aws_secret(value);
    path || value.starts_with("./") || value.starts_with("~/") || value.contains("://")
}

/// Returns whether a value is code that evaluates to the secret: `os.environ["X"]`, `self.password`, `get_token()`.
fn is_expression(value: &str) -> bool {
    let code =
        ["self.", "os.environ", "os.getenv", "getenv(", "System.getenv", "sys.env", "dbutils.", "args."];
    let call = value.find('(').is_some_and(|at| {
        at > 0 && value[..at].bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
    });
    let types = ["array<", "map<", "struct<"];
    code.iter().chain(&types).any(|it| value.starts_with(it)) || call
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_cover_all_names() {
        let names = STRONG.iter().chain(SEPARATE_WORDS.iter().map(|(word, _)| word));
        let expected: std::collections::BTreeSet<_> =
            names.filter_map(|name| tail(name.as_bytes())).collect();
        assert_eq!(TAILS.iter().copied().collect::<std::collections::BTreeSet<_>>(), expected);
        for (name, tail_of) in [("db_PASS-word", Some(*b"ord")), ("a.b", None), ("x-y_z", Some(*b"xyz"))] {
            assert_eq!(tail(name.as_bytes()), tail_of, "{name}");
        }
    }
}
