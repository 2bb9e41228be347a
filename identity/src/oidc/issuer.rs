//! The settings of an issuer, and their checks.

use std::path::PathBuf;

use url::Url;

use super::algorithm::Algorithm;
use crate::http::check_transport;

/// A provider whose access tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The prefix of the names of its callers and groups, as in `corp:ada`.
    pub name: String,
    /// The URL of the issuer, equal to the letter to `iss` in its tokens and to `issuer` in its discovery document.
    pub url: String,
    /// The audiences of this server; a token has to name one of them.
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    /// The claim with the name of the caller.
    pub user_claim: String,
    /// The claim with the groups of the caller. Without it, callers have no groups.
    pub groups_claim: Option<String>,
    /// A PEM file with the only certificates that sign the provider's certificate. Without it, the system's are used.
    pub certificate_authority: Option<PathBuf>,
}

/// A problem of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field of [`Issuer`].
    pub field: &'static str,
    pub message: String,
}

/// The prefixes of names that Kubernetes gives, and of names in client certificates.
const RESERVED_NAMES: [&str; 2] = ["system", "certificate"];
const MAX_NAME_BYTES: usize = 63;

impl Issuer {
    /// Returns the settings of an issuer with the default algorithms and claims.
    pub fn new(name: &str, url: &str, audience: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            audiences: vec![audience.to_owned()],
            algorithms: Algorithm::ALL.to_vec(),
            user_claim: "sub".to_owned(),
            groups_claim: None,
            certificate_authority: None,
        }
    }

    /// Returns all problems of the settings.
    pub fn problems(&self) -> Vec<Problem> {
        let checks = [
            ("name", name_problem(&self.name)),
            ("url", url_problem(&self.url)),
            ("audiences", audiences_problem(&self.audiences)),
            ("algorithms", self.algorithms.is_empty().then(|| "is empty; name at least one".to_owned())),
            ("user_claim", claim_problem(&self.user_claim)),
            ("groups_claim", self.groups_claim.as_deref().and_then(claim_problem)),
        ];
        let found =
            checks.into_iter().filter_map(|(field, message)| Some(Problem { field, message: message? }));
        found.collect()
    }

    /// Returns the names of the accepted algorithms.
    pub(super) fn algorithm_names(&self) -> String {
        let names: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        names.join(", ")
    }
}

fn name_problem(name: &str) -> Option<String> {
    if RESERVED_NAMES.contains(&name) {
        let rule = "as that is the prefix of other callers' names; use another one";
        return Some(format!("can't be `{name}`, {rule}"));
    }
    // A colon would make the names of two issuers ambiguous.
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_valid) {
        return None;
    }
    Some(format!(
        "is `{}`; use at most {MAX_NAME_BYTES} lower-case letters, digits and `-`",
        name.escape_debug()
    ))
}

fn url_problem(text: &str) -> Option<String> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return Some(format!("is no URL: {error}; use the `issuer` of the provider")),
    };
    if let Err(why) = check_transport(&url) {
        return Some(why);
    }
    let has_more = !url.username().is_empty() || url.password().is_some();
    if has_more || url.query().is_some() || url.fragment().is_some() {
        return Some("has a user, a query or a fragment; use the `issuer` of the provider".to_owned());
    }
    None
}

fn audiences_problem(audiences: &[String]) -> Option<String> {
    if audiences.is_empty() || audiences.iter().any(String::is_empty) {
        return Some("is empty; name the audience of this server at the provider, such as `dcp`".to_owned());
    }
    None
}

fn claim_problem(claim: &str) -> Option<String> {
    claim.is_empty().then(|| "is empty; name a claim of the tokens, such as `sub`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(issuer: &Issuer) -> Vec<&'static str> {
        issuer.problems().into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn urls_need_https_except_for_this_machine() {
        for url in
            ["https://login.example/a", "http://localhost:1/", "http://127.0.0.1:8080", "http://[::1]:1"]
        {
            assert_eq!(fields(&Issuer::new("corp", url, "dcp")), [""; 0], "{url}");
        }
        for url in [
            "http://login.example",
            "http://localhost.example",
            "http://10.0.0.1",
            "http://[::2]",
            "file:///etc/passwd",
            "ftp://localhost/",
            "login.example",
            "https://ada@login.example",
            "https://:p@login.example",
            "https://login.example?a=b",
            "https://login.example#a",
            "",
        ] {
            assert_eq!(fields(&Issuer::new("corp", url, "dcp")), ["url"], "{url}");
        }
    }

    #[test]
    fn names_cannot_imitate_those_of_other_verifiers() {
        for name in ["", "system", "certificate", "a:b", "corp:", "Corp", "a b", "a\n", &"a".repeat(64)] {
            assert_eq!(fields(&Issuer::new(name, "https://a.example", "dcp")), ["name"], "{name}");
        }
        assert_eq!(fields(&Issuer::new("corp-2", "https://a.example", "dcp")), [""; 0]);
    }

    #[test]
    fn all_problems_are_reported() {
        let issuer = Issuer {
            audiences: vec![String::new()],
            algorithms: Vec::new(),
            user_claim: String::new(),
            groups_claim: Some(String::new()),
            ..Issuer::new("", "", "")
        };
        let all = ["name", "url", "audiences", "algorithms", "user_claim", "groups_claim"];
        assert_eq!(fields(&issuer), all);
        assert_eq!(fields(&Issuer { audiences: Vec::new(), ..issuer }), all);
    }
}
