//! Requests to providers: without redirects, with a timeout, and with responses of a limited size.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, redirect};
use url::form_urlencoded::Serializer;
use url::{Host, Url};

use crate::cause::cause;

/// Maximum size of a document. Sets of keys and tokens have some kilobytes.
const MAX_DOCUMENT_BYTES: usize = 256 << 10;
const MAX_CERTIFICATES_BYTES: u64 = 1 << 20;

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

/// A client of providers.
#[derive(Debug, Clone)]
pub(crate) struct Http(Client);

/// A response of any status.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// Creates a client. `timeout` is that of a request, and `certificate_authority` a PEM file with the only
    /// certificates that sign those of providers.
    pub(crate) fn new(timeout: Duration, certificate_authority: Option<&Path>) -> Result<Self, ClientError> {
        // The process has one cryptography provider. If one is installed already, that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder().redirect(redirect::Policy::none()).timeout(timeout);
        if let Some(path) = certificate_authority {
            builder = builder.tls_certs_only(certificates(path)?);
        }
        builder.build().map(Self).map_err(|error| ClientError::Tls(cause(&error)))
    }

    /// Fetches a document. Messages begin with a verb whose subject is the URL.
    pub(crate) async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        document(send(self.0.get(url)).await?).await
    }

    /// Fetches a document, for the holder of a token.
    pub(crate) async fn get_as(&self, url: &str, token: &str) -> Result<Vec<u8>, String> {
        let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {token}")) else {
            return Err(
                "can't be requested: the token for the request has characters that no token has".to_owned()
            );
        };
        bearer.set_sensitive(true);
        document(send(self.0.get(url).header(AUTHORIZATION, bearer)).await?).await
    }

    /// Sends a form, and returns the response of any status but a redirect.
    pub(crate) async fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Response, String> {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.0.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = send(request.header(ACCEPT, "application/json").body(body)).await?;
        Ok(Response { status: response.status().as_u16(), body: read(response).await? })
    }
}

async fn send(request: RequestBuilder) -> Result<reqwest::Response, String> {
    let response = request.send().await.map_err(|error| failure(&error))?;
    match response.status() {
        status if status.is_redirection() => {
            Err(format!("responds with a redirect ({}), which is not followed", status.as_u16()))
        }
        _ => Ok(response),
    }
}

async fn document(response: reqwest::Response) -> Result<Vec<u8>, String> {
    match response.status() {
        StatusCode::OK => read(response).await,
        status => Err(format!("responds with the status {}", status.as_u16())),
    }
}

/// Reads a body of limited size.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(format!("is larger than {} KiB", MAX_DOCUMENT_BYTES >> 10));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failure(error: &reqwest::Error) -> String {
    match error.is_timeout() {
        true => "does not respond in time".to_owned(),
        false => format!("can't be fetched: {}", cause(error)),
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
pub(crate) fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// Checks that documents of a URL arrive unchanged: it has `https`, or a loopback host.
pub(crate) fn check_transport(url: &Url) -> Result<(), String> {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        scheme => Err(format!("begins with `{scheme}:`; use `https:`, as `http:` is for this machine only")),
    }
}

/// Quotes the beginning of a text of a provider, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let start: String = text.chars().take(MAX_CHARS).collect();
    let more = if text.chars().nth(MAX_CHARS).is_some() { "…" } else { "" };
    format!("`{}{more}`", start.escape_debug())
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
    fn texts_of_providers_are_quoted_without_control_characters_and_shortened() {
        assert_eq!(quoted("a\u{1b}[31m\n\u{202e}b"), r"`a\u{1b}[31m\n\u{202e}b`");
        assert_eq!(quoted(&"x".repeat(201)), format!("`{}…`", "x".repeat(200)));
    }
}
