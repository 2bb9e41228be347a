//! The file of clusters, `clusters.yaml`: the clusters on which dcp runs applications.
//!
//! The JSON Schema and the decoder are derived from these types. The rules beyond the schema are in the compiler.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::manifest::{Domain, Format, KubernetesName, LabelKey, LabelValue, Scalar};

pub use text::{
    ApiServer, Cidr, EventLogFolder, FilePath, HostPath, LogFolder, Namespace, NamespaceTemplate,
    QueueTemplate,
};

/// Returns the formats of fields that only this file has.
pub fn formats() -> impl Iterator<Item = &'static Format> {
    text::FORMATS.iter()
}

/// The clusters on which dcp runs applications.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clusters {
    /// The clusters by name. Manifests refer to the names in `placement.clusters.names`.
    #[schemars(extend("minProperties" = 1, "propertyNames" = {"format": "kubernetes-name"}))]
    pub clusters: BTreeMap<KubernetesName, Cluster>,
}

/// A cluster: its properties for placement, the access to it, and the rights of applications on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    pub kind: Kind,
    /// The region, for `placement.regions` of manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["eu-central-1"]))]
    pub region: Option<KubernetesName>,
    /// The tags, for `placement.clusters.tags` of manifests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"data": "prod"}], "propertyNames" = {"format": "label-key"}))]
    pub tags: BTreeMap<LabelKey, LabelValue>,
    /// The share of applications that the cluster gets, relative to the weights of the others. A cluster with the
    /// weight 0 is drained: it gets no new applications, and those that run there end by themselves.
    #[serde(default = "Cluster::default_weight")]
    #[schemars(range(max = 1000))]
    pub weight: u32,
    #[serde(default, skip_serializing_if = "Capacity::is_unlimited")]
    pub capacity: Capacity,
    /// The domains whose applications may run on the cluster. If omitted, all domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub domains: Vec<Domain>,
    pub credentials: Credentials,
    #[serde(default)]
    pub operator: Operator,
    /// The namespaces of domains. If omitted, each domain has the namespace of its name.
    #[serde(default)]
    pub namespaces: Namespaces,
    /// The namespace of dcp's own records. Users of domains need no rights in it.
    #[serde(default = "Cluster::default_records")]
    pub records: Namespace,
    /// The service account of drivers whose manifests name none. It needs the rights to manage executor pods.
    #[serde(default = "Cluster::default_service_account")]
    pub service_account: KubernetesName,
    /// Other service accounts that manifests may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("uniqueItems" = true))]
    pub service_accounts: Vec<KubernetesName>,
    /// Spark settings, `spark.…`, of all applications on the cluster. The settings of a manifest take precedence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"spark.kubernetes.driver.master": "https://10.96.0.1:443"}]))]
    pub settings: BTreeMap<String, Scalar>,
    /// The folder in which each application has a folder for its event log. Without it, applications on the cluster
    /// are not sized by what earlier runs used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_logs: Option<EventLogFolder>,
    /// The folder in which the logs of drivers are stored, so that they outlive the pods. Without it, a log is there as
    /// long as its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogFolder>,
    /// The queue of the pods of drivers and executors. Labels of a manifest's pods take precedence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    #[serde(default)]
    pub allow: Allow,
    /// The treatment of applications of this control plane that its database does not know any more.
    #[serde(default)]
    pub orphans: Orphans,
    #[serde(default, skip_serializing_if = "Connect::is_default")]
    pub connect: Connect,
}

/// The kind of cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A Kubernetes cluster.
    Kubernetes,
}

/// The creator of drivers on a cluster. A change applies to new applications.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Operator {
    /// dcp creates the pods of drivers.
    #[default]
    Native,
    /// The Kubeflow Spark operator, by resources of `sparkoperator.k8s.io/v1beta2`.
    Kubeflow,
    /// The Apache Spark Kubernetes operator, by resources of `spark.apache.org/v1`.
    Apache,
}

/// The treatment of applications that the database of their control plane does not know any more, such as after it was
/// restored from a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Orphans {
    /// dcp ends them after an hour, and removes them.
    #[default]
    End,
    /// `dcp clusters` counts them.
    Report,
}

/// Limits of the work on a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Maximum number of applications that dcp runs on the cluster at the same time. If omitted, there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub applications: Option<u32>,
}

/// The credentials of dcp on a cluster, by reference: exactly one of `kubeconfig`, `inCluster` and `server`. Relative
/// paths begin at the folder of this file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "CredentialFields", into = "CredentialFields")]
pub enum Credentials {
    Kubeconfig { path: FilePath, context: Option<String> },
    InCluster,
    Server { url: ApiServer, token_file: FilePath, certificate_authority: Option<FilePath> },
}

/// The fields of [`Credentials`] in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "exactlyOneOf" = ["kubeconfig", "inCluster", "server"],
    "dependentRequired" = {
        "context": ["kubeconfig"],
        "server": ["tokenFile"],
        "tokenFile": ["server"],
        "certificateAuthority": ["server"],
    }
))]
struct CredentialFields {
    /// The path of a kubeconfig file.
    #[serde(skip_serializing_if = "Option::is_none")]
    kubeconfig: Option<FilePath>,
    /// The context of the kubeconfig file. If omitted, its current context.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    context: Option<String>,
    /// Uses the service account of dcp's own pod, which runs on this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "only_true")]
    in_cluster: Option<bool>,
    /// The URL of the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ApiServer>,
    /// The path of a file with a bearer token for `server`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<FilePath>,
    /// The path of a file with the certificates, in PEM, that verify `server`. If omitted, those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority: Option<FilePath>,
}

/// The namespaces of domains on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// The namespace of domains that `domains` does not list. If omitted, other domains are not allowed on the
    /// cluster.
    #[serde(rename = "default", skip_serializing_if = "Option::is_none")]
    pub of_others: Option<NamespaceTemplate>,
    /// The namespaces of single domains.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"sales": "shop"}], "propertyNames" = {"format": "domain"}))]
    pub domains: BTreeMap<Domain, Namespace>,
}

/// Access to the drivers of Spark Connect pools on a cluster. Drivers that dcp starts afterwards have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connect {
    #[serde(default)]
    pub from: ConnectFrom,
}

/// The proxies that may connect to drivers of Spark Connect pools: pods with the label `app.kubernetes.io/component:
/// dcp-connect`, and programs outside the cluster in `cidrs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectFrom {
    /// The namespace of the pods. If omitted, they may be in any namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// The IP addresses of proxies outside the cluster, as its network shows them to pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("uniqueItems" = true))]
    pub cidrs: Vec<Cidr>,
}

/// A queue in which pods wait for capacity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    pub kind: QueueKind,
    /// The name of the queue; `{domain}` in it is replaced by the domain of an application.
    pub name: QueueTemplate,
}

/// The program that has the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum QueueKind {
    /// Kueue: a `LocalQueue` in the namespace of the domain. Pods get the label `kueue.x-k8s.io/queue-name`.
    Kueue,
    /// `YuniKorn`: pods get the labels `queue` and `applicationId`, and the scheduler `yunikorn`.
    Yunikorn,
}

/// Access to nodes that manifests may use. By default, none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Paths of the nodes that volumes may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("uniqueItems" = true))]
    pub host_paths: Vec<HostPath>,
    /// Allows pods in the network of their node, and ports of the node.
    #[serde(default)]
    pub host_network: bool,
    /// Allows privileged containers, which have all rights of their node.
    #[serde(default)]
    pub privileged: bool,
    /// Allows pods to choose their node by its name.
    #[serde(default)]
    pub node_names: bool,
}

impl Cluster {
    fn default_weight() -> u32 {
        1
    }

    fn default_records() -> Namespace {
        Namespace::parse("dcp").expect("`dcp` is a namespace")
    }

    fn default_service_account() -> KubernetesName {
        KubernetesName::parse("spark").expect("`spark` is a Kubernetes name")
    }

    /// Returns the domains whose applications may run on the cluster, or `None` if all may: those in `domains` that
    /// have a namespace.
    pub fn allowed_domains(&self) -> Option<BTreeSet<&Domain>> {
        let has_namespace = |domain: &&Domain| self.namespaces.of(domain).is_some();
        match (self.domains.is_empty(), &self.namespaces.of_others) {
            (true, Some(_)) => None,
            (true, None) => Some(self.namespaces.domains.keys().collect()),
            (false, _) => Some(self.domains.iter().filter(has_namespace).collect()),
        }
    }
}

impl Namespaces {
    /// Returns the namespace of a domain, if it has one.
    pub fn of(&self, domain: &Domain) -> Option<String> {
        let listed = self.domains.get(domain).map(|namespace| namespace.as_str().to_owned());
        listed.or_else(|| Some(self.of_others.as_ref()?.of(domain.as_str())))
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        let of_others = NamespaceTemplate::parse("{domain}").expect("the placeholder is a template");
        Self { of_others: Some(of_others), domains: BTreeMap::new() }
    }
}

impl Connect {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Capacity {
    fn is_unlimited(&self) -> bool {
        self.applications.is_none()
    }
}

impl TryFrom<CredentialFields> for Credentials {
    type Error = &'static str;

    fn try_from(fields: CredentialFields) -> Result<Self, Self::Error> {
        match fields {
            CredentialFields {
                kubeconfig: Some(path),
                context,
                in_cluster: None,
                server: None,
                token_file: None,
                certificate_authority: None,
            } => Ok(Self::Kubeconfig { path, context }),
            CredentialFields {
                kubeconfig: None,
                context: None,
                in_cluster: Some(true),
                server: None,
                token_file: None,
                certificate_authority: None,
            } => Ok(Self::InCluster),
            CredentialFields {
                kubeconfig: None,
                context: None,
                in_cluster: None,
                server: Some(url),
                token_file: Some(token_file),
                certificate_authority,
            } => Ok(Self::Server { url, token_file, certificate_authority }),
            _ => Err(
                "`credentials` needs exactly one of `kubeconfig`, `inCluster: true`, and `server` with `tokenFile`",
            ),
        }
    }
}

impl From<Credentials> for CredentialFields {
    fn from(credentials: Credentials) -> Self {
        let none = Self::default();
        match credentials {
            Credentials::Kubeconfig { path, context } => Self { kubeconfig: Some(path), context, ..none },
            Credentials::InCluster => Self { in_cluster: Some(true), ..none },
            Credentials::Server { url, token_file, certificate_authority } => {
                Self { server: Some(url), token_file: Some(token_file), certificate_authority, ..none }
            }
        }
    }
}

/// Returns the schema of a switch that can only be on, because a switch that is off would choose nothing.
fn only_true(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": true })
}

#[cfg(test)]
mod tests;
