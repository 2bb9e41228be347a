//! Texts of the file of providers: addresses, and names of secrets.

use crate::diag::Code;
use crate::manifest::{FormatError, text_types};

text_types! {
    /// The URL of a server of secrets: `https://`, or `http://` on this machine.
    SecretServer: "secret-server", check_server, ["https://vault.example.com:8200"];
    /// The name of a secret at a provider, in which `{domain}`, `{name}` and `{key}` are replaced. The domain is a part of
    /// its own, between slashes.
    SecretPath: "secret-path", check_path, ["dcp/{domain}/{name}"];
    /// The path of an engine or a login method: letters, digits, `-`, `_` and `.`, between slashes.
    EnginePath: "engine-path", check_engine, ["secret"];
    /// The beginning of the names of variables: upper-case letters, digits and `_`.
    VariablePrefix: "variable-prefix", check_prefix, ["SALES_SECRET_"];
}

const DOMAIN: &str = "{domain}";
const NAME: &str = "{name}";
const KEY: &str = "{key}";
const MAX_LENGTH: usize = 512;

impl SecretPath {
    /// Returns true if the path has the name of the domain.
    pub fn has_domain(&self) -> bool {
        self.as_str().contains(DOMAIN)
    }
}

fn reject(code: Code, message: String, help: impl Into<String>) -> Result<(), FormatError> {
    Err(FormatError::new(code, message).help(help))
}

fn check_server(text: &str) -> Result<(), FormatError> {
    let (rest, is_plain) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => {
            let help = "for example `https://vault.example.com:8200`";
            return reject(Code::BAD_URI, format!("`{text}` is no URL with `https://`"), help);
        }
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return reject(Code::BAD_URI, "the URL has a user or a password".to_owned(), "use `login`");
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().is_ok()),
        _ => (host, true),
    };
    if is_plain && !matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        let help = "use `https://`: the token and the secrets are sent to this server";
        return reject(Code::BAD_URI, format!("`{text}` is not encrypted"), help);
    }
    let plain = |c: char| c.is_ascii_graphic() && !"?#\\{}".contains(c);
    match text.len() <= MAX_LENGTH && !name.is_empty() && port && rest.chars().all(plain) {
        true => Ok(()),
        false => {
            reject(Code::BAD_URI, format!("`{text}` is no URL of a server"), "write `https://HOST:PORT`")
        }
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn check_path(text: &str) -> Result<(), FormatError> {
    let help = format!("for example `dcp/{DOMAIN}/{NAME}`");
    let parts: Vec<&str> = text.split('/').collect();
    let plain = |part: &str| {
        let rest = [DOMAIN, NAME, KEY].iter().fold(part.to_owned(), |rest, it| rest.replacen(it, "", 1));
        !part.is_empty() && !part.starts_with('.') && is_word(&rest)
    };
    if text.len() > MAX_LENGTH || !parts.iter().all(|part| plain(part)) {
        let message = format!(
            "`{text}` is no path of letters, digits, `-`, `_`, `.` and the placeholders `{DOMAIN}`, `{NAME}`, `{KEY}`"
        );
        return reject(Code::BAD_URI, message, help);
    }
    if text.matches(NAME).count() != 1 || text.matches(KEY).count() > 1 {
        let message = format!("`{text}` does not have `{NAME}` once, and `{KEY}` at most once");
        return reject(Code::BAD_URI, message, help);
    }
    let domains = text.matches(DOMAIN).count();
    if domains > 1 || (domains == 1 && !parts.contains(&DOMAIN)) {
        let message = format!("`{text}` has `{DOMAIN}` beside other letters");
        let help = "write it between slashes: of `{domain}-{name}`, the domain `a` with the secret `b-c` would read a \
                    secret of the domain `a-b`";
        return reject(Code::BAD_URI, message, help);
    }
    Ok(())
}

fn check_engine(text: &str) -> Result<(), FormatError> {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && is_word(part);
    match text.len() <= MAX_LENGTH && text.split('/').all(plain) {
        true => Ok(()),
        false => reject(
            Code::BAD_URI,
            format!("`{text}` is no path of an engine"),
            "use letters, digits, `-`, `_` and `.` between slashes, for example `secret`",
        ),
    }
}

fn check_prefix(text: &str) -> Result<(), FormatError> {
    let bytes = text.as_bytes();
    let is_letter = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'_';
    let valid = (1..=64).contains(&bytes.len())
        && is_letter(&bytes[0])
        && bytes.iter().all(|byte| is_letter(byte) || byte.is_ascii_digit());
    match valid {
        true => Ok(()),
        false => reject(
            Code::MALFORMED,
            format!("`{text}` is no beginning of the name of a variable"),
            "use upper-case letters, digits and `_`, at most 64, with no digit at the beginning",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats, with valid and invalid texts.
    const TEXTS: &[(&str, &[&str], &[&str])] = &[
        (
            "secret-server",
            &[
                "https://vault.example.com:8200",
                "https://10.0.0.1/x",
                "http://127.0.0.1:1",
                "http://[::1]:8200",
            ],
            &[
                "",
                "vault",
                "http://vault",
                "http://localhost.x",
                "https://",
                "https://u:p@v",
                "https://v?x",
                "https://v:x",
            ],
        ),
        (
            "secret-path",
            &["{domain}/{name}", "dcp/{domain}/x-{name}.{key}", "dcp/{name}"],
            &[
                "",
                "a",
                "{domain}-{name}",
                "{domain}/{domain}/{name}",
                "/{name}",
                "a//{name}",
                "../{name}",
                "{name}/{x}",
                "{name}?",
            ],
        ),
        ("engine-path", &["secret", "kv/data-1"], &["", "/", "a/", "../a", "a b", "a?b", "{domain}"]),
        ("variable-prefix", &["A", "SALES_1_"], &["", "a", "1A", "A-B"]),
    ];

    #[test]
    fn formats_accept_valid_and_reject_invalid_texts() {
        for (format, good, bad) in TEXTS {
            let format = FORMATS.iter().find(|known| known.name == *format).expect("a known format");
            for text in *good {
                assert_eq!((format.check)(text), Ok(()), "{format:?} {text:?}");
            }
            for text in *bad {
                assert!((format.check)(text).is_err(), "{format:?} accepts {text:?}");
            }
        }
        assert_eq!(TEXTS.len(), FORMATS.len());
    }
}
