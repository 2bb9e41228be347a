//! The settings of one cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::operator::Operator;
use crate::ConnectKey;
use crate::error::{Error, Result};

/// The settings of a cluster, without its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's name, for messages.
    pub name: String,
    /// The identity of the control plane, a label of all that it creates.
    pub control_plane: Option<String>,
    /// The namespace of dcp's own records. Users of domains need no rights in it.
    pub records: String,
    pub namespaces: Namespaces,
    /// The service account of drivers that name none. It needs the rights to manage executor pods.
    pub service_account: String,
    /// Other service accounts that manifests may name.
    pub service_accounts: BTreeSet<String>,
    /// Settings of Spark for all applications of the cluster. The settings of an application prevail.
    pub conf: BTreeMap<String, String>,
    /// URL of the folder in which each application has a folder for its event log.
    pub event_logs: Option<String>,
    /// The queue in which pods wait for capacity.
    pub queue: Option<Queue>,
    pub allow: Allow,
    /// The operator that runs new applications. Without it, the Gateway creates their pods.
    pub operator: Option<Operator>,
    /// The key for drivers of Spark Connect pools. Without it, they are rejected.
    pub connect_key: Option<ConnectKey>,
    pub connect_from: ConnectFrom,
}

/// The proxies that may reach drivers of Spark Connect pools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectFrom {
    /// The namespace of proxies in the cluster. Without it, they may be in any namespace.
    pub namespace: Option<String>,
    /// The IP addresses of proxies outside the cluster.
    pub cidrs: Vec<String>,
}

/// The queue of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub kind: QueueKind,
    /// The name, in which `{domain}` is the domain of an application.
    pub name: String,
}

/// The program that has the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueKind {
    Kueue,
    Yunikorn,
}

/// Access to nodes that applications may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// Paths that volumes may mount; a final `*` allows all paths with this beginning.
    pub host_paths: Vec<String>,
    pub host_network: bool,
    pub privileged: bool,
    pub node_names: bool,
}

/// The namespaces of domains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// The namespace of domains without a row; `{domain}` in it is the domain's name. Without it, only domains with a
    /// row are allowed.
    pub default: Option<String>,
    pub of_domains: BTreeMap<String, String>,
}

const DOMAIN: &str = "{domain}";
/// The beginning of the namespaces of Kubernetes itself.
const KUBERNETES: &str = "kube-";

impl Namespaces {
    fn of(&self, domain: &str) -> Option<String> {
        let row = self.of_domains.get(domain).cloned();
        row.or_else(|| Some(self.default.as_ref()?.replace(DOMAIN, domain)))
    }

    /// Returns all namespaces; nothing if they depend on the names of domains that are not known.
    pub(super) fn all(&self) -> Option<BTreeSet<String>> {
        if self.default.as_ref().is_some_and(|it| it.contains(DOMAIN)) {
            return None;
        }
        Some(self.of_domains.values().chain(&self.default).cloned().collect())
    }
}

impl Settings {
    /// Returns the namespace of a domain. The namespaces of dcp's records and of Kubernetes itself belong to no domain,
    /// whatever its name is.
    pub(super) fn namespace(&self, domain: &str) -> Result<String> {
        let rejected = |reason: String| Err(Error::field("metadata.domain", reason));
        let name = &self.name;
        match self.namespaces.of(domain) {
            None => rejected(format!("the cluster `{name}` has no namespace for the domain `{domain}`")),
            Some(namespace) if namespace == self.records || namespace.starts_with(KUBERNETES) => {
                rejected(format!(
                    "the domain `{domain}` would have the namespace `{namespace}` on the cluster `{name}`, which is not for \
                 applications"
                ))
            }
            Some(namespace) => Ok(namespace),
        }
    }

    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            control_plane: None,
            records: "dcp".to_owned(),
            namespaces: Namespaces { default: Some(DOMAIN.to_owned()), of_domains: BTreeMap::new() },
            service_account: "spark".to_owned(),
            service_accounts: BTreeSet::new(),
            conf: BTreeMap::new(),
            event_logs: None,
            queue: None,
            allow: Allow::default(),
            operator: None,
            connect_key: None,
            connect_from: ConnectFrom::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_domains_prevail_over_the_default() {
        let mut settings = Settings::new("main");
        settings.namespaces.default = Some("spark-{domain}".to_owned());
        settings.namespaces.of_domains.insert("sales".to_owned(), "shop".to_owned());
        assert_eq!(settings.namespace("sales"), Ok("shop".to_owned()));
        assert_eq!(settings.namespace("hr"), Ok("spark-hr".to_owned()));
        assert_eq!(settings.namespaces.all(), None);
        settings.namespaces.default = Some("spark".to_owned());
        assert_eq!(settings.namespaces.all(), Some(["shop".to_owned(), "spark".to_owned()].into()));
        settings.namespaces.default = None;
        let error = settings.namespace("hr").expect_err("hr has no namespace");
        assert_eq!(
            error.to_string(),
            "`metadata.domain`: the cluster `main` has no namespace for the domain `hr`"
        );
    }

    #[test]
    fn no_domain_has_the_namespace_of_records_or_of_kubernetes() {
        let mut settings = Settings::new("main");
        for domain in ["dcp", "kube-system"] {
            let error = settings.namespace(domain).expect_err(domain).to_string();
            assert!(
                error.contains(&format!("would have the namespace `{domain}` on the cluster `main`")),
                "{error}"
            );
        }
        settings.namespaces.of_domains.insert("sales".to_owned(), "dcp".to_owned());
        settings.namespace("sales").expect_err("a row is no exception");
        settings.records = "records".to_owned();
        assert_eq!(settings.namespace("dcp"), Ok("dcp".to_owned()));
    }
}
