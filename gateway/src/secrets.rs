//! Values of secrets for backends whose drivers get them from dcp: `local`, and others without secrets of their own.
//!
//! A backend collects the references of an application, [`Providers::resolve`] reads their values, and the backend hands
//! them to the driver alone. The operator of dcp declares the providers: an author of manifests who could choose an
//! address would get dcp's own token. The domain of an application decides where its secrets are, whatever its manifest
//! says. On Kubernetes, pods refer to the secrets of their namespace, and dcp never has a value.
//!
//! A new provider implements [`Provider`].

mod aws;
mod environment;
mod folder;
mod known;
mod template;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use crate::SecretKey;
use crate::error::{Error, Result};

pub use aws::{Aws, AwsSettings};
pub use environment::Environment;
pub use folder::Folder;
pub use known::{Known, Redactor};
pub use template::Template;
pub use vault::{Authentication, SERVICE_ACCOUNT_TOKEN, Vault, VaultSettings};

/// Maximum size of a secret.
pub const MAX_SECRET_BYTES: usize = 1 << 20;
/// Maximum number of secrets of an application.
const MAX_SECRETS: usize = 200;
/// Maximum number of concurrent requests for an application.
const MAX_CONCURRENT: usize = 8;
/// Maximum time for all secrets of an application.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The value of a secret. Debugging output does not have it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value. Only a driver may get it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// A place that has values of secrets.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// Returns a value of a domain; none if the place does not have it. An error has no value in it.
    async fn get(&self, domain: &str, secret: &SecretKey) -> Result<Option<SecretValue>>;

    /// Describes where a value of a domain has to be, for messages.
    fn location(&self, domain: &str, secret: &SecretKey) -> String;

    /// Returns true if a value is read from this machine, so that [`get`](Self::get) never waits.
    fn is_on_this_machine(&self) -> bool {
        false
    }
}

/// The values of the secrets of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<SecretKey, SecretValue>);

impl Values {
    pub fn get(&self, secret: &SecretKey) -> Option<&str> {
        self.0.get(secret).map(SecretValue::expose)
    }

    /// Returns what recognizes the values in logs.
    pub fn known(&self) -> Known {
        Known::new(self.0.values().map(SecretValue::expose))
    }
}

/// The references of an application, each with the field of the manifest that has it.
pub type References = BTreeMap<SecretKey, String>;

/// The providers of a process.
#[derive(Debug, Clone)]
pub struct Providers {
    /// The providers for applications that name none, in their order.
    machine: Vec<Arc<dyn Provider>>,
    declared: BTreeMap<String, Declared>,
    /// The declared provider for applications that name none.
    default: Option<String>,
}

/// A declared provider.
#[derive(Debug, Clone)]
pub struct Declared {
    pub provider: Arc<dyn Provider>,
    /// The domains that may use it; without it, all.
    pub domains: Option<BTreeSet<String>>,
}

impl Default for Providers {
    fn default() -> Self {
        Self::of_machine(None)
    }
}

impl Providers {
    /// Returns the providers of a machine with one user: variables of this process, and a folder.
    pub fn of_machine(folder: Option<PathBuf>) -> Self {
        let environment: Arc<dyn Provider> = Arc::new(Environment::default());
        let folder = folder.map(|folder| Arc::new(Folder::shared(folder)) as Arc<dyn Provider>);
        let machine = [environment].into_iter().chain(folder).collect();
        Self { machine, declared: BTreeMap::new(), default: None }
    }

    /// Adds the declared providers. `default` names the one of applications that name none.
    #[must_use]
    pub fn with_declared(self, declared: BTreeMap<String, Declared>, default: Option<String>) -> Self {
        Self { declared, default, ..self }
    }

    /// Returns the providers of an application in their order. Rejects a provider that is not declared, or not for the
    /// domain.
    fn of(&self, name: Option<&str>, domain: &str) -> Result<&[Arc<dyn Provider>]> {
        const FIELD: &str = "secrets";
        let Some(name) = name.or(self.default.as_deref()) else { return Ok(&self.machine) };
        let Some(declared) = self.declared.get(name) else {
            let known: Vec<&str> = self.declared.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
            let reason = format!(
                "the target names the provider of secrets `{name}`, which this Runner does not have ({known}): its operator \
                 declares providers in the file of `--secrets`"
            );
            return Err(Error::field(FIELD, reason));
        };
        match &declared.domains {
            Some(domains) if !domains.contains(domain) => {
                let reason = format!(
                    "the provider of secrets `{name}` is not for the domain `{domain}`: see its `domains`"
                );
                Err(Error::field(FIELD, reason))
            }
            _ => Ok(std::slice::from_ref(&declared.provider)),
        }
    }

    /// Reads the values of an application. Fails with the fields of those that do not exist.
    pub async fn resolve(&self, name: Option<&str>, domain: &str, references: &References) -> Result<Values> {
        let read = self.read(name, domain, references);
        tokio::time::timeout(TIMEOUT, read).await.map_err(|_| {
            Error::Unavailable(format!("the secrets could not be read within {} s", TIMEOUT.as_secs()))
        })?
    }

    async fn read(&self, name: Option<&str>, domain: &str, references: &References) -> Result<Values> {
        if references.len() > MAX_SECRETS {
            let count = references.len();
            return Err(Error::Invalid(format!(
                "an application has at most {MAX_SECRETS} secrets, and it has {count}"
            )));
        }
        let providers = self.of(name, domain)?;
        let one = async |(secret, field): (&SecretKey, &String)| {
            let value = first(providers, domain, secret).await.map_err(|error| in_field(error, field))?;
            let value = value.ok_or_else(|| missing(providers, domain, secret, field))?;
            Ok((secret.clone(), value))
        };
        let all = stream::iter(references.iter().map(one)).buffered(MAX_CONCURRENT);
        all.collect::<Vec<Result<_>>>().await.into_iter().collect::<Result<_>>().map(Values)
    }

    /// Checks the references as far as this is possible without a request.
    pub fn check(&self, name: Option<&str>, domain: &str, references: &References) -> Result<()> {
        if references.is_empty() {
            return Ok(());
        }
        let providers = self.of(name, domain)?;
        if !providers.iter().all(|provider| provider.is_on_this_machine()) {
            return Ok(());
        }
        self.read(name, domain, references).now_or_never().map_or(Ok(()), |read| read.map(drop))
    }

    /// Returns for each reference where its value has to be, and whether it is there.
    pub async fn find(&self, name: Option<&str>, domain: &str, secrets: &[SecretKey]) -> Result<Vec<Found>> {
        let providers = self.of(name, domain)?;
        let one = async |secret: &SecretKey| Found {
            location: locations(providers, domain, secret),
            is_found: first(providers, domain, secret).await.map(|value| value.is_some()),
        };
        Ok(stream::iter(secrets.iter().map(one)).buffered(MAX_CONCURRENT).collect().await)
    }
}

/// The result of a search for a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub location: String,
    pub is_found: Result<bool>,
}

async fn first(
    providers: &[Arc<dyn Provider>],
    domain: &str,
    secret: &SecretKey,
) -> Result<Option<SecretValue>> {
    for provider in providers {
        if let Some(value) = provider.get(domain, secret).await? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn locations(providers: &[Arc<dyn Provider>], domain: &str, secret: &SecretKey) -> String {
    let all: Vec<String> = providers.iter().map(|provider| provider.location(domain, secret)).collect();
    all.join(", or ")
}

fn missing(providers: &[Arc<dyn Provider>], domain: &str, secret: &SecretKey, field: &str) -> Error {
    let place =
        if providers.iter().all(|it| it.is_on_this_machine()) { "this machine" } else { "the provider" };
    let locations = locations(providers, domain, secret);
    Error::field(field, format!("{place} does not have the secret `{secret}`: set {locations}"))
}

/// Adds the field of the manifest to an error.
fn in_field(error: Error, field: &str) -> Error {
    match error {
        Error::Invalid(reason) | Error::Conflict(reason) => Error::field(field, reason),
        other => other,
    }
}

#[cfg(test)]
mod tests;
