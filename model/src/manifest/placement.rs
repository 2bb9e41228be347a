//! Where a workload runs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KubernetesName, LabelKey, LabelValue};

/// Where a workload may run. Without any of it, wherever the platform likes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The backends that may be used, the first that can being taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("uniqueItems" = true))]
    pub backends: Vec<Backend>,
    /// The regions that may be used, in order of preference.
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

/// What can run Spark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Backend {
    /// Spark on Kubernetes, by one of its operators.
    Kubernetes,
    /// EMR on EKS.
    Emr,
    /// Databricks jobs.
    Databricks,
    /// The Spark on the machine of the Runner.
    Local,
}

impl Backend {
    /// As manifests have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Emr => "emr",
            Self::Databricks => "databricks",
            Self::Local => "local",
        }
    }
}

/// Which clusters may be used, by name or by tags.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clusters {
    /// Only these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<KubernetesName>,
    /// Only those that have all of these tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"data": "prod"}], "propertyNames" = {"format": "label-key"}))]
    pub tags: BTreeMap<LabelKey, LabelValue>,
}

impl Clusters {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a run on EMR on EKS needs beside what the cluster's own definition says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emr {
    /// The release, such as `emr-7.6.0-latest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9._-]{1,64}$"))]
    pub release_label: Option<String>,
    /// The role that the job runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^arn:aws[a-z-]*:iam::\d{12}:role/.{1,512}$"),
        example = "arn:aws:iam::123456789012:role/orders"
    )]
    pub execution_role_arn: Option<String>,
}

/// What a run on Databricks needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Databricks {
    /// The host name of the workspace, where the cluster's own definition names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9.-]{1,253}$"), example = "example.cloud.databricks.com")]
    pub instance: Option<String>,
    /// The cluster to make for the run, as Databricks' `new_cluster` has it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub new_cluster: BTreeMap<String, Value>,
    /// A cluster that is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub existing_cluster_id: Option<String>,
    /// Libraries, as Databricks' `libraries` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<BTreeMap<String, Value>>,
}
