//! The endpoints of a provider for logins.

use serde::Deserialize;
use url::Url;

use super::grant::Error;
use crate::http::{check_transport, discovery_url, quoted};

/// The method of PKCE that dcp uses.
const CHALLENGE_METHOD: &str = "S256";

/// The endpoints that a discovery document names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    pub token: Url,
    /// The page for browsers; none if the provider has no such flow, or no PKCE.
    pub authorization: Option<Url>,
    /// The endpoint of the device flow (RFC 8628).
    pub device: Option<Url>,
    /// The endpoint that revokes tokens (RFC 7009).
    pub revocation: Option<Url>,
    /// True if responses to browsers name the issuer (RFC 9207).
    pub names_issuer: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    token_endpoint: String,
    authorization_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Checks the URL of an issuer that a server names.
pub fn check_issuer(issuer: &str) -> Result<(), Error> {
    let unusable = |why: String| Error::Unusable(format!("the issuer {} {why}", quoted(issuer)));
    // The parser drops or encodes other characters, and messages have the text as it is.
    if !issuer.chars().all(|c| c.is_ascii_graphic() && !"?#@\\".contains(c)) {
        return Err(unusable("has characters that no issuer has".to_owned()));
    }
    let url = Url::parse(issuer).map_err(|error| unusable(format!("is no URL: {error}")))?;
    check_transport(&url).map_err(unusable)
}

/// Returns the URL of an endpoint that was stored.
pub(super) fn endpoint(text: &str) -> Result<Url, Error> {
    let unusable = |why: String| Error::Unusable(format!("the endpoint {} {why}", quoted(text)));
    let url = Url::parse(text).map_err(|error| unusable(format!("is no URL: {error}")))?;
    check_transport(&url).map_err(unusable)?;
    Ok(url)
}

impl Endpoints {
    /// Reads the discovery document of an issuer.
    pub(super) fn read(issuer: &str, document: &[u8]) -> Result<Self, Error> {
        let unusable = |why: String| Error::Unusable(format!("`{}` {why}", discovery_url(issuer)));
        let document: Document = serde_json::from_slice(document).map_err(|_| {
            unusable(
                "is no discovery document with `issuer` and `token_endpoint`; check the issuer".to_owned(),
            )
        })?;
        if document.issuer != issuer {
            return Err(unusable(format!("is of another issuer, {}", quoted(&document.issuer))));
        }
        let endpoint = |name: &str, text: &str| {
            let url =
                Url::parse(text).map_err(|error| unusable(format!("has no usable `{name}`: {error}")))?;
            check_transport(&url).map_err(|why| unusable(format!("has a `{name}` that {why}")))?;
            Ok(url)
        };
        let optional =
            |name: &str, text: &Option<String>| text.as_ref().map(|text| endpoint(name, text)).transpose();
        let methods = document.code_challenge_methods_supported;
        let has_pkce = methods.is_none_or(|methods| methods.iter().any(|method| method == CHALLENGE_METHOD));
        Ok(Self {
            token: endpoint("token_endpoint", &document.token_endpoint)?,
            authorization: optional("authorization_endpoint", &document.authorization_endpoint)?
                .filter(|_| has_pkce),
            device: optional("device_authorization_endpoint", &document.device_authorization_endpoint)?,
            revocation: optional("revocation_endpoint", &document.revocation_endpoint)?,
            names_issuer: document.authorization_response_iss_parameter_supported,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://a.example";

    fn read(changes: &Value) -> Result<Endpoints, Error> {
        let mut document = json!({"issuer": ISSUER, "token_endpoint": "https://a.example/token"});
        let changes = changes.as_object().expect("it is an object").clone();
        document.as_object_mut().expect("it is an object").extend(changes);
        Endpoints::read(ISSUER, document.to_string().as_bytes())
    }

    #[test]
    fn endpoints_need_https_except_on_this_machine() {
        let names = [
            "token_endpoint",
            "authorization_endpoint",
            "device_authorization_endpoint",
            "revocation_endpoint",
        ];
        for name in names {
            for url in ["https://b.example/x", "http://127.0.0.1:1/x", "http://localhost/x"] {
                assert!(read(&json!({name: url})).is_ok(), "{name} {url}");
            }
            for url in
                ["http://b.example/x", "file:///etc/passwd", "javascript:alert(1)", "/x", "", "data:,x"]
            {
                let why = read(&json!({name: url})).expect_err("the URL is rejected").to_string();
                assert!(why.contains(name), "{why}");
            }
        }
    }

    #[test]
    fn documents_of_other_issuers_are_rejected() {
        for issuer in ["https://a.example/", "https://b.example", ""] {
            assert!(read(&json!({"issuer": issuer})).is_err(), "{issuer}");
        }
        for document in ["", "[]", "{}", "null"] {
            assert!(Endpoints::read(ISSUER, document.as_bytes()).is_err(), "{document}");
        }
        for issuer in [
            "http://a.example",
            "a",
            "",
            "ftp://localhost",
            "https://a.example/\u{1b}[31m",
            "https://a.example/\n",
            "https://a.example/\u{202e}",
            "https://ada@a.example",
            "https://a.example?b",
        ] {
            let why = check_issuer(issuer).expect_err("the issuer is rejected").to_string();
            assert!(!why.contains(char::is_control), "{why}");
        }
        assert_eq!(check_issuer("http://127.0.0.1:1"), Ok(()));
    }

    #[test]
    fn browser_flow_needs_pkce() {
        let page = "https://a.example/page";
        let with = |methods: Value| {
            let document =
                json!({"authorization_endpoint": page, "code_challenge_methods_supported": methods});
            read(&document).expect("the document is usable").authorization.is_some()
        };
        assert!(with(json!(["plain", "S256"])) && with(json!(null)));
        assert!(!with(json!(["plain"])) && !with(json!([])));
    }
}
