//! Checks of a cluster: its API server, the permissions of dcp, namespaces, and service accounts of drivers.
//!
//! [`probe`] asks the cluster and changes nothing. [`findings`] judges the responses, and is pure.

mod findings;
mod manifest;
mod probe;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::{Kubernetes, Settings};
use crate::error::Result;

/// The result of the checks of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The version of Kubernetes; none if the cluster does not respond.
    pub version: Option<String>,
    pub findings: Vec<Finding>,
}

/// The result of a check, with a remedy if it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub state: State,
    pub subject: &'static str,
    pub text: String,
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Passed,
    Failed,
    /// Only some jobs need it, or it can't be checked.
    Warning,
}

/// The domains whose namespaces are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains {
    /// The domains of the cluster's declaration.
    pub listed: BTreeSet<String>,
    /// Other domains, named by the caller.
    pub named: BTreeSet<String>,
}

/// The namespaces that dcp uses on a cluster, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Namespaces {
    records: String,
    of_domains: BTreeSet<String>,
    /// Other domains may have further namespaces, so that dcp watches all.
    are_open: bool,
}

impl Namespaces {
    fn new(settings: &Settings, domains: &Domains) -> Self {
        let of_named =
            domains.listed.iter().chain(&domains.named).filter_map(|domain| settings.namespace(domain).ok());
        let all = settings.namespaces.all();
        let are_open = all.is_none();
        let listed = all.unwrap_or_else(|| settings.namespaces.of_domains.values().cloned().collect());
        let of_domains = of_named.chain(listed).collect();
        Self { records: settings.records.clone(), of_domains, are_open }
    }
}

impl Kubernetes {
    /// Checks the cluster for the applications of some domains, and of those that the settings name. It changes
    /// nothing.
    pub async fn doctor(&self, domains: &Domains) -> Report {
        let cluster = &*self.0;
        let namespaces = Namespaces::new(&cluster.settings, domains);
        let version = match probe::version(&cluster.client).await {
            Ok(version) => version,
            Err(error) => return findings::unreachable(&error),
        };
        match probe::facts(&cluster.client, &cluster.settings, &namespaces).await {
            Ok(facts) => {
                let grant = findings::command(&cluster.settings.name, &domains.named);
                findings::report(&cluster.settings, &namespaces, &version, &facts, &grant)
            }
            Err(error) => findings::unreachable(&error),
        }
    }

    /// Returns the namespace of a domain.
    pub fn namespace(&self, domain: &str) -> Result<String> {
        self.0.settings.namespace(domain)
    }

    /// Returns the objects, in YAML, that give dcp and drivers their permissions on the cluster. Without a response of
    /// the cluster, dcp is the service account `dcp` in the namespace of its records.
    pub async fn preparation(&self, domains: &Domains) -> String {
        let cluster = &*self.0;
        let user = probe::user(&cluster.client).await;
        manifest::render(&cluster.settings, &Namespaces::new(&cluster.settings, domains), user.as_deref())
    }
}
