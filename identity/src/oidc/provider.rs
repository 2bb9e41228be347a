//! Fetches the keys of a provider: its discovery document, and the set of keys that it names.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::issuer::Issuer;
use super::keys::KeySet;
use crate::http::{ClientError, Http, check_transport, discovery_url, quoted};

pub(super) struct Provider {
    http: Http,
    issuer: String,
}

impl Provider {
    pub(super) fn new(issuer: &Issuer, timeout: Duration) -> Result<Self, ClientError> {
        let http = Http::new(timeout, issuer.certificate_authority.as_deref())?;
        Ok(Self { http, issuer: issuer.url.clone() })
    }

    /// Fetches the keys. Messages name the URL and the cause.
    pub(super) async fn keys(&self) -> Result<KeySet, String> {
        let discovery = discovery_url(&self.issuer);
        let document = self.http.get(&discovery).await.map_err(|why| format!("`{discovery}` {why}"))?;
        let keys = keys_url(&document, &self.issuer).map_err(|why| format!("`{discovery}` {why}"))?;
        let document = self.http.get(keys.as_str()).await.map_err(|why| format!("`{keys}` {why}"))?;
        KeySet::read(&document).map_err(|why| format!("`{keys}` {why}"))
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Returns the URL of the keys in a discovery document, which has to be the issuer's own.
fn keys_url(document: &[u8], issuer: &str) -> Result<Url, String> {
    let discovery: Discovery = serde_json::from_slice(document).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!(
            "is no discovery document with `issuer` and `jwks_uri` (line {line}, column {column}); check the issuer"
        )
    })?;
    if discovery.issuer != issuer {
        return Err(format!(
            "is of the issuer {}, and not of `{issuer}`; both have to be equal to the letter",
            quoted(&discovery.issuer)
        ));
    }
    let url =
        Url::parse(&discovery.jwks_uri).map_err(|error| format!("has no usable `jwks_uri`: {error}"))?;
    check_transport(&url).map_err(|why| format!("has a `jwks_uri` that {why}"))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_document_of_another_issuer_is_rejected() {
        let url = |issuer: &str, keys: &str| {
            let document = serde_json::json!({"issuer": issuer, "jwks_uri": keys}).to_string();
            keys_url(document.as_bytes(), "https://a.example")
        };
        let found = url("https://a.example", "https://keys.example/a").map(String::from);
        assert_eq!(found.as_deref(), Ok("https://keys.example/a"));
        for issuer in ["https://a.example/", "https://A.example", "https://b.example", "http://a.example", ""]
        {
            assert!(url(issuer, "https://keys.example/a").is_err(), "{issuer}");
        }
        for keys in ["http://keys.example/a", "file:///etc/passwd", "/a", "", "data:,a"] {
            assert!(url("https://a.example", keys).is_err(), "{keys}");
        }
        for document in
            ["", "[]", "{}", r#"{"issuer": "https://a.example"}"#, r#"{"issuer": 1, "jwks_uri": 1}"#]
        {
            assert!(keys_url(document.as_bytes(), "https://a.example").is_err(), "{document}");
        }
    }
}
