//! Fetches the keys of a provider: its discovery document, and the set of keys that it names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, redirect};
use serde::Deserialize;
use url::Url;

use super::issuer::{Issuer, check_transport};
use super::keys::KeySet;
use crate::cause::cause;

/// Maximum size of a document. Sets of keys have some kilobytes.
const MAX_DOCUMENT_BYTES: usize = 256 << 10;
const MAX_CERTIFICATES_BYTES: u64 = 1 << 20;

pub(super) struct Provider {
    client: Client,
    issuer: String,
}

/// The reasons why no connection to a provider can be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the certificate authority `{}` can't be read: {source}", .path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the certificate authority `{}` has no certificate; it has to be a PEM file", .0.display())]
    NoCertificate(PathBuf),
    #[error("the certificate authority or the TLS of this system can't be used: {0}")]
    Tls(String),
}

impl Provider {
    pub(super) fn new(issuer: &Issuer, timeout: Duration) -> Result<Self, ClientError> {
        // The process has one cryptography provider. If one is installed already, that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder().redirect(redirect::Policy::none()).timeout(timeout);
        if let Some(path) = &issuer.certificate_authority {
            builder = builder.tls_certs_only(certificates(path)?);
        }
        let client = builder.build().map_err(|error| ClientError::Tls(cause(&error)))?;
        Ok(Self { client, issuer: issuer.url.clone() })
    }

    /// Fetches the keys. Messages name the URL and the cause.
    pub(super) async fn keys(&self) -> Result<KeySet, String> {
        let discovery = discovery_url(&self.issuer);
        let document = self.get(&discovery).await.map_err(|why| format!("`{discovery}` {why}"))?;
        let keys = keys_url(&document, &self.issuer).map_err(|why| format!("`{discovery}` {why}"))?;
        let document = self.get(keys.as_str()).await.map_err(|why| format!("`{keys}` {why}"))?;
        KeySet::read(&document).map_err(|why| format!("`{keys}` {why}"))
    }

    /// Fetches a document of limited size.
    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let unreachable = |error: reqwest::Error| match error.is_timeout() {
            true => "does not respond in time".to_owned(),
            false => format!("can't be fetched: {}", cause(&error)),
        };
        let mut response = self.client.get(url).send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(format!("responds with a redirect ({}), which is not followed", status.as_u16()));
        }
        if status != StatusCode::OK {
            return Err(format!("responds with the status {}", status.as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(format!("is larger than {} KiB", MAX_DOCUMENT_BYTES >> 10));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let unreadable = |source| ClientError::Unreadable { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_CERTIFICATES_BYTES {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    let pem = std::fs::read(path).map_err(unreadable)?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|_| ClientError::NoCertificate(path.to_owned()))?;
    match certificates.is_empty() {
        true => Err(ClientError::NoCertificate(path.to_owned())),
        false => Ok(certificates),
    }
}

/// Returns the URL of the discovery document (`OpenID` Connect Discovery, section 4).
fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
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
        let found: String = discovery.issuer.chars().take(200).collect();
        return Err(format!(
            "is of the issuer `{}`, and not of `{issuer}`; both have to be equal to the letter",
            found.escape_debug()
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
    fn discovery_document_is_below_the_issuer() {
        for (issuer, url) in [
            ("https://a.example", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/b", "https://a.example/b/.well-known/openid-configuration"),
            ("https://a.example/b/", "https://a.example/b/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery_url(issuer), url);
        }
    }

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
