//! Texts of the policy file: names of callers, scopes and domains.

use super::ALL_TARGETS;
use crate::diag::Code;
use crate::manifest::{Domain, FormatError, Name, text_types};

text_types! {
    /// The name of a user or a group. Names from a provider begin with the provider's name and `:`.
    CallerName: "caller-name", check_caller, ["ci", "company:ada@example.com", "system:serviceaccount:airflow:worker"];
    /// The name of a scope, `project/*` for all scopes of a project, or `*` for all scopes.
    ScopeSelector: "scope-selector", check_scope, ["shop/prod", "shop/*", "*"];
    /// The URL of an issuer: `https://…`, or `http://…` for a provider on this machine.
    IssuerUrl: "issuer-url", check_issuer, ["https://login.example.com/realms/data"];
    /// The name of a domain, or `*` for all domains.
    DomainSelector: "domain-selector", check_domain, ["sales", "*"];
}

/// The selector of all names.
pub(super) const ALL: &str = "*";
const MAX_CALLER_BYTES: usize = 256;
const MAX_URL: usize = 2048;

fn reject(code: Code, message: String, help: &str) -> Result<(), FormatError> {
    Err(FormatError::new(code, message).help(help))
}

fn check_caller(text: &str) -> Result<(), FormatError> {
    if text.is_empty() || text.len() > MAX_CALLER_BYTES {
        let message = format!("the name of a caller has between 1 and {MAX_CALLER_BYTES} bytes");
        return reject(Code::BAD_CALLER, message, "`dcp whoami` shows the own name and the own groups");
    }
    if text.contains(['*', '?']) {
        let message = format!("`{}` is a pattern", text.escape_debug());
        return reject(Code::BAD_CALLER, message, "name each user, or name a group");
    }
    if text.trim() != text || text.contains(char::is_control) {
        let message = format!("`{}` is no name of a caller", text.escape_debug());
        return reject(Code::BAD_CALLER, message, "remove spaces at its ends, and control characters");
    }
    Ok(())
}

fn check_scope(text: &str) -> Result<(), FormatError> {
    let (project, target) = match text.strip_suffix(ALL_TARGETS) {
        Some(project) => (project, None),
        None => text.split_once('/').map_or((text, None), |(project, target)| (project, Some(target))),
    };
    let is_valid = [Some(project), target].into_iter().flatten().all(|name| Name::parse(name).is_ok());
    match is_valid || text == ALL {
        true => Ok(()),
        false => reject(
            Code::BAD_SELECTOR,
            format!("`{}` is no scope", text.escape_debug()),
            "write `project`, `project/target`, `project/*`, or `\"*\"` for all scopes",
        ),
    }
}

fn check_issuer(text: &str) -> Result<(), FormatError> {
    const LOOPBACK: [&str; 3] = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
    let local = LOOPBACK.iter().find_map(|start| text.strip_prefix(start));
    let is_local = local.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']));
    let is_remote =
        text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let is_plain =
        text.len() <= MAX_URL && text.chars().all(|c| c.is_ascii_graphic() && !"?#@\\".contains(c));
    match is_plain && (is_local || is_remote) {
        true => Ok(()),
        false => reject(
            Code::BAD_URI,
            format!("`{}` is no URL of an issuer", text.escape_debug()),
            "write it as `iss` in its tokens, with `https://`; `http://` is for providers on this machine",
        ),
    }
}

fn check_domain(text: &str) -> Result<(), FormatError> {
    match text == ALL || Domain::parse(text).is_ok() {
        true => Ok(()),
        false => reject(
            Code::BAD_SELECTOR,
            format!("`{}` is no domain", text.escape_debug()),
            "write the name of a domain as manifests have it, or `\"*\"` for all domains",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_accept_valid_and_reject_invalid_texts() {
        let texts: &[(&str, &[&str], &[&str])] = &[
            ("caller-name", &["ci", "company:ada@example.com", "a b"], &["", " a", "a\n", "a*", "?"]),
            (
                "scope-selector",
                &["*", "shop", "shop/prod", "shop/*"],
                &["", "*/prod", "shop/", "shop/*/a", "Shop", "shop/pr*", "/*", "a/b/c", "**"],
            ),
            (
                "issuer-url",
                &["https://a.example", "https://a.example/b/", "http://localhost:8080/a", "http://[::1]:1"],
                &[
                    "",
                    "a.example",
                    "https://",
                    "https:///a",
                    "http://a.example",
                    "http://localhost.evil",
                    "https://a?b",
                    "https://u@a",
                ],
            ),
            ("domain-selector", &["*", "sales"], &["", "sales/*", "Sales", "sa*"]),
        ];
        for (format, good, bad) in texts {
            let format = FORMATS.iter().find(|known| known.name == *format).expect("a known format");
            for text in *good {
                assert_eq!((format.check)(text), Ok(()), "{format:?} {text:?}");
            }
            for text in *bad {
                assert!((format.check)(text).is_err(), "{format:?} accepts {text:?}");
            }
        }
        assert_eq!(texts.len(), FORMATS.len());
    }
}
