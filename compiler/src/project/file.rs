//! The types of the project file.

use std::collections::BTreeMap;

use dcp_model::manifest::{
    DagFolder, Domain, FileRef, Identifier, KubernetesName, LabelKey, LabelValue, Name, Scalar,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine;
use crate::yaml::NodeRef;

/// A project: the locations of its manifests, and the differences between its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectFile {
    /// The name of the project.
    pub project: Name,
    /// Folders and files with manifests, relative to this file.
    #[serde(default = "ProjectFile::default_manifests")]
    #[schemars(length(min = 1))]
    pub manifests: Vec<FileRef>,
    /// Values of `${var.name}` in manifests. Targets can override them.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub variables: BTreeMap<Identifier, Scalar>,
    /// Engine versions, in addition to the platform's versions or instead of them.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "engine-version"}))]
    pub engines: BTreeMap<String, engine::Entry>,
    /// The folder of Airflow's DAG files: a folder relative to this file, or a folder of an object store. Default:
    /// `.dcp/dags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dags: Option<DagFolder>,
    /// The environments to which manifests are applied, such as `dev`, `staging` and `prod`.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "name"}))]
    pub targets: BTreeMap<String, Target>,
}

impl ProjectFile {
    pub(super) fn default_manifests() -> Vec<FileRef> {
        vec![FileRef::parse("manifests").expect("`manifests` is a relative path")]
    }
}

/// An environment to which manifests are applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("dependentRequired" = {"runner": ["server"], "connect": ["server"]}))]
pub struct Target {
    /// Makes this the default target. At most one target can be the default.
    #[serde(default)]
    pub default: bool,
    /// The URL of the control plane of this target. Default: the local control plane of `dcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["https://dcp.example.com:7420"]), regex(pattern = r"^https?://[^\s/@]+(/\S*)?$"))]
    pub server: Option<String>,
    /// The URL of the Runner of this target, if it differs from `server`. Both receive the same token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["https://dcp.example.com:7421"]), regex(pattern = r"^https?://[^\s/@]+(/\S*)?$"))]
    pub runner: Option<String>,
    /// The URL of the proxy for Spark Connect of this target, if it differs from `server`. Both receive the same token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["https://dcp.example.com:7423"]), regex(pattern = r"^https?://[^\s/@]+(/\S*)?$"))]
    pub connect: Option<String>,
    /// The provider of secrets for jobs on other backends than `kubernetes`, from the file of providers of the Runner.
    /// Default: that of the Runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["vault"]))]
    pub secrets: Option<KubernetesName>,
    /// The folder of Airflow's DAG files, instead of the project's `dags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dags: Option<DagFolder>,
    /// Values of `${var.name}` in manifests.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub variables: BTreeMap<Identifier, Scalar>,
    /// Changes to manifests. They are merged in order.
    #[serde(default)]
    pub overlays: Vec<Overlay>,
}

/// A change to the manifests that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overlay {
    /// The manifests to change. If omitted, all.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// The changes: maps are merged, `null` removes a field, and other values replace the existing one.
    #[schemars(extend("minProperties" = 1, "examples" = [{"spec": {"resources": {"executors": {"memory": "8g"}}}}]))]
    pub set: BTreeMap<String, Value>,
}

/// Conditions on manifests. A manifest matches if all conditions hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Matches manifests of one of these domains.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// Matches manifests with one of these names.
    #[serde(default)]
    pub names: Vec<Name>,
    /// Matches manifests that have all of these labels.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub labels: BTreeMap<LabelKey, LabelValue>,
}

impl Match {
    pub(super) fn applies(&self, manifest: NodeRef<'_>) -> bool {
        let Self { domains, names, labels } = self;
        let metadata =
            |key: &str| manifest.find(["metadata", key]).and_then(NodeRef::scalar).unwrap_or_default();
        let label = |key: &str| manifest.find(["metadata", "labels", key]).and_then(NodeRef::scalar);
        (domains.is_empty() || domains.iter().any(|domain| domain.as_str() == metadata("domain")))
            && (names.is_empty() || names.iter().any(|name| name.as_str() == metadata("name")))
            && labels.iter().all(|(key, value)| label(key.as_str()) == Some(value.as_str()))
    }
}
