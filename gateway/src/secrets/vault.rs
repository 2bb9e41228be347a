//! Secrets in a server with the HTTP interface of Vault's key-value engine, version 2.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{MAX_SECRET_BYTES, Provider, SecretValue, Template};
use crate::SecretKey;
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of a response: a secret has several keys.
const MAX_RESPONSE_BYTES: usize = 4 * MAX_SECRET_BYTES;
/// Maximum size of a file with a token.
const MAX_TOKEN_BYTES: u64 = 16 << 10;
/// The token of a pod's service account.
pub const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct VaultSettings {
    pub address: String,
    /// The namespace of Vault Enterprise.
    pub namespace: Option<String>,
    /// The path of the key-value engine.
    pub mount: String,
    pub path: Template,
    pub authentication: Authentication,
    /// A file with the certificates that verify the server, in PEM. Without it, those of the system.
    pub certificate_authority: Option<PathBuf>,
}

/// The way to a token. Files are read again for each login, so that other programs can renew them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// A file with a token.
    TokenFile(PathBuf),
    /// A login by the token of a service account.
    Kubernetes { mount: String, role: String, token_file: PathBuf },
    /// A login by a role's id and a file with its secret id.
    AppRole { mount: String, role_id: String, secret_id_file: PathBuf },
}

/// A server.
pub struct Vault {
    client: Client,
    settings: VaultSettings,
    token: Mutex<Option<Token>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vault").field(&self.settings.address).finish()
    }
}

/// A token of a login.
struct Token {
    text: HeaderValue,
    /// The time for another login.
    until: Instant,
}

/// The response to a login.
#[derive(Deserialize)]
struct Login {
    auth: Granted,
}

#[derive(Deserialize)]
struct Granted {
    client_token: String,
    /// Seconds; 0 is without end.
    #[serde(default)]
    lease_duration: u64,
}

/// The response to a read: the keys of the newest version.
#[derive(Deserialize)]
struct Read {
    data: Version,
}

#[derive(Deserialize)]
struct Version {
    data: Option<Map<String, Value>>,
}

impl Vault {
    /// Creates a provider. It sends no request.
    pub fn new(settings: VaultSettings) -> Result<Self> {
        let invalid = |reason: String| Error::Invalid(format!("`{}`: {reason}", settings.address));
        let is_loopback = check_address(&settings.address)?;
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-vault-request"), HeaderValue::from_static("true"));
        if let Some(namespace) = &settings.namespace {
            let value = HeaderValue::from_str(namespace);
            let value = value.map_err(|_| invalid(format!("{namespace:?} is no namespace")))?;
            headers.insert(HeaderName::from_static("x-vault-namespace"), value);
        }
        // The process has one cryptography provider. If one is installed already, that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .default_headers(headers)
            // A redirect would carry the token to another server.
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!is_loopback)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT);
        if is_loopback {
            client = client.no_proxy();
        }
        if let Some(path) = &settings.certificate_authority {
            let pem =
                std::fs::read(path).map_err(|error| invalid(format!("`{}`: {error}", path.display())))?;
            let certificates = Certificate::from_pem_bundle(&pem);
            let certificates =
                certificates.map_err(|error| invalid(format!("`{}`: {error}", path.display())))?;
            client = client.tls_certs_only(certificates);
        }
        let client = client.build().map_err(|error| invalid(describe(&error)))?;
        Ok(Self { client, settings, token: Mutex::new(None) })
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.settings.address.trim_end_matches('/'))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    fn unavailable(&self, what: &str) -> Error {
        Error::Unavailable(format!("the server of secrets `{}`: {what}", self.settings.address))
    }

    /// Returns the token for requests. `is_rejected` forces another login.
    async fn token(&self, is_rejected: bool) -> Result<HeaderValue> {
        let mut token = self.token.lock().await;
        if let Some(known) = token.as_ref().filter(|known| !is_rejected && known.until > Instant::now()) {
            return Ok(known.text.clone());
        }
        let (mount, body) = match &self.settings.authentication {
            Authentication::TokenFile(path) => return sensitive(&read_token(path)?),
            Authentication::Kubernetes { mount, role, token_file } => {
                (mount, json!({"role": role, "jwt": read_token(token_file)?}))
            }
            Authentication::AppRole { mount, role_id, secret_id_file } => {
                (mount, json!({"role_id": role_id, "secret_id": read_token(secret_id_file)?}))
            }
        };
        let request = self.request(Method::POST, &format!("auth/{mount}/login"));
        let (status, body) = self.send(request.body(body.to_string())).await?;
        if !status.is_success() {
            let what = format!("the login at `auth/{mount}` failed with {status}: {}", errors(&body));
            return Err(self.unavailable(&what));
        }
        let login: Login = serde_json::from_slice(&body)
            .map_err(|_| self.unavailable("its response to a login is malformed"))?;
        let Granted { client_token, lease_duration } = login.auth;
        let text = sensitive(&client_token)?;
        // Half of the lease, so that a token never ends during a request.
        let lease = if lease_duration == 0 { 3600 } else { lease_duration.min(86_400) };
        let until = Instant::now() + Duration::from_secs(lease) / 2;
        *token = Some(Token { text: text.clone(), until });
        Ok(text)
    }

    async fn read(&self, path: &str, token: HeaderValue) -> Result<(StatusCode, Vec<u8>)> {
        let path = format!("{}/data/{path}", self.settings.mount);
        self.send(self.request(Method::GET, &path).header("x-vault-token", token)).await
    }

    /// Sends a request, and reads the bounded response.
    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>)> {
        let failed = |error: reqwest::Error| self.unavailable(&describe(&error));
        let mut response = request.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(failed)? {
            if body.len() + part.len() > MAX_RESPONSE_BYTES {
                return Err(self.unavailable("its response is too long"));
            }
            body.extend_from_slice(&part);
        }
        Ok((response.status(), body))
    }
}

#[async_trait]
impl Provider for Vault {
    async fn get(&self, domain: &str, secret: &SecretKey) -> Result<Option<SecretValue>> {
        let path = self.settings.path.path(domain, secret)?;
        let (mut status, mut body) = self.read(&path, self.token(false).await?).await?;
        // The token may have been revoked.
        if status == StatusCode::FORBIDDEN
            && !matches!(self.settings.authentication, Authentication::TokenFile(_))
        {
            (status, body) = self.read(&path, self.token(true).await?).await?;
        }
        match status {
            StatusCode::OK => {}
            // A deleted version has this status too.
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::FORBIDDEN => {
                let location = self.location(domain, secret);
                return Err(Error::Invalid(format!(
                    "dcp's token has no right to read {location}: {}",
                    errors(&body)
                )));
            }
            status => return Err(self.unavailable(&format!("it responds with {status}: {}", errors(&body)))),
        }
        let read: Read = serde_json::from_slice(&body)
            .map_err(|_| self.unavailable("its response to a read is malformed"))?;
        match read.data.data.unwrap_or_default().remove(secret.key()) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(SecretValue::new(value))),
            Some(_) => Err(Error::Invalid(format!("{} is no text", self.location(domain, secret)))),
        }
    }

    fn location(&self, domain: &str, secret: &SecretKey) -> String {
        let VaultSettings { address, mount, path, .. } = &self.settings;
        let path = path.path(domain, secret).unwrap_or_else(|error| error.to_string());
        format!("the key `{}` of `{mount}/{path}` at {address}", secret.key())
    }
}

/// Rejects an address to which dcp would send tokens and secrets in the clear. Returns true if it is on this machine.
pub(super) fn check_address(address: &str) -> Result<bool> {
    let invalid = |reason: &str| Err(Error::Invalid(format!("`{address}`: {reason}")));
    let Ok(url) = Url::parse(address) else { return invalid("it is no URL") };
    let is_loopback = match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some("localhost") => true,
        Some(host) => host.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
        return invalid("the address of a server of secrets begins with https://");
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(Error::Invalid(
            "the address of a server of secrets has no user, query or fragment".to_owned(),
        ));
    }
    Ok(is_loopback)
}

/// Returns a token as a header that no debugging output has.
fn sensitive(token: &str) -> Result<HeaderValue> {
    let value = HeaderValue::from_str(token);
    let mut value =
        value.map_err(|_| Error::Invalid("a token for the server of secrets is malformed".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_token(path: &Path) -> Result<String> {
    let shown = path.display();
    let failed =
        |reason: String| Error::Unavailable(format!("the token in `{shown}` can't be used: {reason}"));
    let mut text = String::new();
    // Kubernetes mounts tokens by links.
    let read = File::open(path).and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text));
    read.map_err(|error| failed(error.to_string()))?;
    match text.trim() {
        "" => Err(failed("the file is empty".to_owned())),
        token => Ok(token.to_owned()),
    }
}

/// Returns the messages of a response, shortened. The server names paths and rights in them, and no values.
fn errors(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let errors = body["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let text = errors.collect::<Vec<_>>().join("; ");
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

/// Describes an error without its URL, with its causes.
fn describe(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    match causes.pop() {
        _ if error.is_timeout() => "it does not respond in time".to_owned(),
        Some(last) => last,
        None if error.is_redirect() => "it redirects to another address".to_owned(),
        None => "the request failed".to_owned(),
    }
}
