//! Stored logins: one file for each server, which only this user can read.
//!
//! A token is sent to the server that it was stored for, and to no other one. One process at a time refreshes a login, as
//! providers accept a refresh token once; the new one is stored before its access token is used.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dcp_identity::ClientSettings;
use dcp_identity::login::{self, Grant, LoginClient};
use dcp_model::primitive::Fingerprint;
use http::Uri;
use http::uri::Scheme;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::private;

/// Time before its expiry at which an access token is no longer used.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// Maximum size of a file: two tokens, and addresses.
const MAX_BYTES: u64 = 256 << 10;
/// Maximum time to wait for another process that refreshes the login.
const LOCK_TIMEOUT: Duration = Duration::from_secs(40);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The login of a person at a server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Login {
    /// The address that the tokens are for, in its canonical form.
    pub(crate) server: String,
    pub(crate) issuer: String,
    client: String,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
    token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revocation_endpoint: Option<String>,
    access_token: String,
    /// The time at which the access token expires, if the provider names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("server", &self.server)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The step that an access token needs.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Use,
    Refresh,
    /// The login has expired, and can't be refreshed.
    LogIn,
}

impl Login {
    pub(crate) fn new(
        server: String,
        issuer: &str,
        settings: ClientSettings,
        endpoints: login::Endpoints,
        grant: Grant,
    ) -> Self {
        let ClientSettings { client, scopes, resource, audience } = settings;
        let login = Self {
            server,
            issuer: issuer.to_owned(),
            client,
            scopes,
            resource,
            audience,
            token_endpoint: endpoints.token.to_string(),
            revocation_endpoint: endpoints.revocation.map(|url| url.to_string()),
            access_token: String::new(),
            expires: None,
            refresh_token: None,
        };
        login.with(grant, Timestamp::now())
    }

    /// Returns the login with new tokens. Without a new refresh token, the old one stays valid.
    fn with(self, grant: Grant, now: Timestamp) -> Self {
        let Grant { access_token, refresh_token, lifetime } = grant;
        let expires = lifetime.and_then(|lifetime| now.checked_add(lifetime).ok());
        Self { access_token, expires, refresh_token: refresh_token.or(self.refresh_token), ..self }
    }

    pub(crate) fn client(&self) -> Result<LoginClient, login::Error> {
        LoginClient::new(ClientSettings {
            client: self.client.clone(),
            scopes: self.scopes.clone(),
            resource: self.resource.clone(),
            audience: self.audience.clone(),
        })
    }

    fn step(&self, now: Timestamp) -> Step {
        match self.expires {
            Some(expires) if expires.duration_since(now) <= MARGIN => match self.refresh_token {
                Some(_) => Step::Refresh,
                None if self.is_valid(now) => Step::Use,
                None => Step::LogIn,
            },
            _ => Step::Use,
        }
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    fn expired(&self) -> Failure {
        let Self { server, issuer, .. } = self;
        Failure::new(format!("the login for `{server}` at `{issuer}` has expired"))
            .help(format!("log in again: dcp login --server {server}"))
    }
}

/// Returns the access token for a server, if there is a login for it. A token that is about to expire is refreshed first.
pub(crate) fn token(server: &str) -> Result<Option<String>, Failure> {
    match (Store::open(), canonical(server)) {
        (Some(store), Some(server)) => store.token(&server),
        _ => Ok(None),
    }
}

/// Runs asynchronous work in a thread of its own, so that commands may already be in a runtime.
pub(crate) fn block_on<T: Send>(work: impl Future<Output = T> + Send) -> Result<T, Failure> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format!("no threads can be started: {error}")))?;
        Ok(runtime.block_on(work))
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Returns the form of an address that its logins are stored by; none for addresses that have no logins.
pub(crate) fn canonical(server: &str) -> Option<String> {
    let uri: Uri = server.parse().ok()?;
    let (scheme, authority) = (uri.scheme()?, uri.authority()?);
    let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let is_http = *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP;
    if !is_http || authority.as_str().contains('@') || uri.query().is_some() {
        return None;
    }
    let host = authority.host().to_ascii_lowercase();
    let port = authority.port_u16().unwrap_or(default_port);
    let path = uri.path().trim_end_matches('/');
    Some(format!("{scheme}://{host}:{port}{path}"))
}

/// The folder of all logins.
#[derive(Debug)]
pub(crate) struct Store(PathBuf);

/// The lock of a login, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the file holds the lock")] File);

impl Store {
    /// Returns the folder of this user; none if the environment names no home.
    pub(crate) fn open() -> Option<Self> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?;
        Some(Self(state.join("dcp/logins")))
    }

    fn path(&self, server: &str, extension: &str) -> PathBuf {
        let name = Fingerprint::of(server);
        self.0.join(format!("{}.{extension}", &name.as_str()[..32]))
    }

    /// Locks the login for a server against other processes.
    pub(crate) fn lock(&self, server: &str) -> Result<Lock, Failure> {
        let path = self.path(server, "lock");
        let failed = |error: io::Error| Failure::at(&path, "locked", &error);
        dcp_workspace::private::create_folder(&self.0)
            .map_err(|error| Failure::at(&self.0, "made a folder", &error))?;
        let file = dcp_workspace::private::lock_file(&path).map_err(failed)?;
        let end = Instant::now() + LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let message =
                        format!("another dcp has been changing the login for `{server}` for some time");
                    return Err(Failure::new(message).help("wait until it ends, or stop it, and try again"));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Returns the login for a server.
    pub(crate) fn load(&self, server: &str) -> Result<Option<Login>, Failure> {
        let path = self.path(server, "json");
        let log_in_again =
            format!("log in again: dcp logout --server {server} && dcp login --server {server}");
        let Some(text) = private::read(&path, MAX_BYTES, &log_in_again)? else { return Ok(None) };
        let login: Option<Login> = serde_json::from_str(&text).ok();
        match login.filter(|login| login.server == server) {
            Some(login) => Ok(Some(login)),
            None => {
                let message =
                    format!("`{}` is no login for `{server}` that this dcp can read", path.display());
                Err(Failure::new(message).help(log_in_again))
            }
        }
    }

    /// Stores a login. The caller has its lock.
    pub(crate) fn save(&self, login: &Login) -> Result<(), Failure> {
        let path = self.path(&login.server, "json");
        let failed = |error: io::Error| Failure::at(&path, "written", &error);
        let text = serde_json::to_vec_pretty(login).map_err(|error| failed(error.into()))?;
        dcp_workspace::private::create_folder(&self.0).map_err(failed)?;
        // The temporary file has the mode 0600 from the start, and is complete before it gets its name.
        let mut file = tempfile::NamedTempFile::new_in(&self.0).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map(drop).map_err(|error| failed(error.error))
    }

    /// Removes the login for a server. Returns false if there is none.
    pub(crate) fn remove(&self, server: &str) -> Result<bool, Failure> {
        let path = self.path(server, "json");
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::at(&path, "removed", &error)),
        }
    }

    fn token(&self, server: &str) -> Result<Option<String>, Failure> {
        let Some(login) = self.load(server)? else { return Ok(None) };
        match login.step(Timestamp::now()) {
            Step::Use => Ok(Some(login.access_token)),
            Step::LogIn => Err(login.expired()),
            Step::Refresh => {
                let _lock = self.lock(server)?;
                // Another process may have refreshed or removed it meanwhile.
                let Some(login) = self.load(server)? else { return Ok(None) };
                match login.step(Timestamp::now()) {
                    Step::Use => Ok(Some(login.access_token)),
                    Step::LogIn => Err(login.expired()),
                    Step::Refresh => self.refresh(login).map(Some),
                }
            }
        }
    }

    /// Refreshes a login, and returns its access token. The caller has its lock.
    fn refresh(&self, login: Login) -> Result<String, Failure> {
        let refresh_token = login.refresh_token.clone().unwrap_or_default();
        let granted =
            block_on(async { login.client()?.refresh(&login.token_endpoint, &refresh_token).await })?;
        match granted {
            Ok(grant) => {
                let login = login.with(grant, Timestamp::now());
                self.save(&login)?;
                Ok(login.access_token)
            }
            // Without its refresh token, the next command does not ask the provider again.
            Err(error) if error.code() == Some("invalid_grant") => {
                self.save(&Login { refresh_token: None, ..login.clone() })?;
                match login.is_valid(Timestamp::now()) {
                    true => Ok(login.access_token),
                    false => Err(login.expired()),
                }
            }
            Err(_) if login.is_valid(Timestamp::now()) => Ok(login.access_token),
            Err(error) => {
                let Login { server, issuer, .. } = &login;
                let message =
                    format!("the login for `{server}` has expired, and `{issuer}` can't refresh it: {error}");
                Err(Failure::new(message)
                    .help(format!("try again, or log in again: dcp login --server {server}")))
            }
        }
    }
}

/// Returns the folder of logins, for commands that need it.
pub(crate) fn store() -> Result<Store, Failure> {
    Store::open().ok_or_else(|| {
        Failure::new("there is no folder for logins, as neither XDG_STATE_HOME nor HOME is set")
            .help("set HOME to the folder of this user, or give a token in DCP_TOKEN")
    })
}

#[cfg(test)]
mod tests;
