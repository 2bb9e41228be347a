//! The file of drivers, `drivers.yaml`: Spark Connect servers that are no drivers of pools, for the proxy.

mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clusters::{Credentials, FilePath, Namespace};
use crate::manifest::{
    Domain, Duration, EngineVersion, Format, KubernetesName, LabelKey, LabelValue, Memory, Name,
};

pub use text::HostPort;

/// Returns the formats of fields that only this file has.
pub fn formats() -> impl Iterator<Item = &'static Format> {
    text::FORMATS.iter()
}

/// The Spark Connect servers: those at fixed addresses, and those on clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriversFile {
    /// The drivers at fixed addresses, by name. A name belongs to one server for ever: a session never moves to another one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "kubernetes-name"}))]
    pub drivers: BTreeMap<KubernetesName, Driver>,
    /// The namespaces of clusters whose Spark Connect servers are drivers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "kubernetes-name"}))]
    pub clusters: BTreeMap<KubernetesName, ClusterDrivers>,
}

/// A Spark Connect server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Driver {
    /// The address at which the server listens.
    pub address: HostPort,
    /// The only domain whose callers may use the server: they run programs as its account.
    pub domain: Domain,
    /// The pool that clients choose with `;dcp-pool=NAME`. If omitted, the name of the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// The version of Spark.
    pub engine: EngineVersion,
    /// The number of cores of the server with its executors, for clients that ask for a minimum with `;dcp-cores=8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub cores: Option<u32>,
    /// The memory of the server with its executors, for clients that ask for a minimum with `;dcp-memory=16g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(default)]
    pub share: DriverShare,
    /// Maximum number of sessions.
    #[serde(default = "default_sessions")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_sessions: u32,
    /// Time after which an unused session ends: the server's `spark.connect.session.manager.defaultSessionTimeout`.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: Duration,
    /// The path of a file with the server's `spark.connect.authenticate.token`. Only its owner may be able to read it. It is read
    /// again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<FilePath>,
}

/// The Spark Connect servers in a namespace of a Kubernetes cluster: pods that are ready and have a port of the name
/// `spark-connect`, and those of `SparkConnect` resources of the Kubeflow operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterDrivers {
    /// The access to the cluster. If omitted, the current context of the user's kubeconfig, or else the service account of dcp's
    /// own pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    pub namespace: Namespace,
    /// The labels of the pods. If omitted, all pods of the namespace are considered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"team": "data"}], "propertyNames" = {"format": "label-key"}))]
    pub selector: BTreeMap<LabelKey, LabelValue>,
    /// The only domain whose callers may use the servers: they run programs as their accounts.
    pub domain: Domain,
    /// The pool that clients choose with `;dcp-pool=NAME`. If omitted, the name of the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// The version of Spark. If omitted, that of the pod's label `spark-version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineVersion>,
    /// The number of cores of each server with its executors, for clients that ask for a minimum with `;dcp-cores=8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub cores: Option<u32>,
    /// The memory of each server with its executors, for clients that ask for a minimum with `;dcp-memory=16g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(default)]
    pub share: DriverShare,
    /// Maximum number of sessions of a server.
    #[serde(default = "default_sessions")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_sessions: u32,
    /// Time after which an unused session ends: the servers' `spark.connect.session.manager.defaultSessionTimeout`.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: Duration,
    /// The path of a file with the servers' `spark.connect.authenticate.token`. Only its owner may be able to read it. It is read
    /// again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<FilePath>,
}

fn default_sessions() -> u32 {
    100
}

fn default_idle_timeout() -> Duration {
    Duration::from_secs(3600)
}

/// The callers who may share a driver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DriverShare {
    /// The callers of the domain.
    #[default]
    Domain,
    /// One user: the first one.
    Private,
}
