//! The backends, regions and clusters on which a workload may run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KubernetesName, LabelKey, LabelValue};

/// Constraints on the backend, region and cluster of the workload. If omitted, the platform chooses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The allowed backends. The first one that the Runner supports is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("uniqueItems" = true))]
    pub backends: Vec<Backend>,
    /// The allowed regions, in order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["eu-central-1"]]))]
    pub regions: Vec<KubernetesName>,
    #[serde(default, skip_serializing_if = "Clusters::is_empty")]
    pub clusters: Clusters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emr: Option<Emr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databricks: Option<Databricks>,
}

/// A backend: a system that runs Spark applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Backend {
    /// Spark on one of several Kubernetes clusters.
    Kubernetes,
    /// EMR on EKS.
    Emr,
    /// Databricks jobs.
    Databricks,
    /// The Spark installation on the machine of the Runner.
    Local,
}

impl Backend {
    /// Returns the name of the backend in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Emr => "emr",
            Self::Databricks => "databricks",
            Self::Local => "local",
        }
    }
}

/// The allowed clusters, by name or by tags.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clusters {
    /// Allows only clusters with one of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<KubernetesName>,
    /// Allows only clusters that have all of these tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"data": "prod"}], "propertyNames" = {"format": "label-key"}))]
    pub tags: BTreeMap<LabelKey, LabelValue>,
}

impl Clusters {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Settings of runs on EMR on EKS, in addition to the definition of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emr {
    /// The EMR release, such as `emr-7.6.0-latest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9._-]{1,64}$"))]
    pub release_label: Option<String>,
    /// The ARN of the IAM role of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^arn:aws[a-z-]*:iam::\d{12}:role/.{1,512}$"),
        example = "arn:aws:iam::123456789012:role/orders"
    )]
    pub execution_role_arn: Option<String>,
}

/// Settings of runs on Databricks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Databricks {
    /// The host name of the workspace, if the definition of the cluster doesn't contain it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9.-]{1,253}$"), example = "example.cloud.databricks.com")]
    pub instance: Option<String>,
    /// The cluster to create for the run, in the format of Databricks' `new_cluster`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub new_cluster: BTreeMap<String, Value>,
    /// The id of an existing cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub existing_cluster_id: Option<String>,
    /// Libraries, in the format of Databricks' `libraries`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<BTreeMap<String, Value>>,
}
