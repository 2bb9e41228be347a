//! The project file as types.

use std::collections::BTreeMap;

use dcp_model::manifest::{DagFolder, Domain, FileRef, Identifier, LabelKey, LabelValue, Name, Scalar};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine;
use crate::yaml::NodeRef;

/// A project: where its manifests are, and what differs between its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectFile {
    /// The name of the project.
    pub project: Name,
    /// The folders and files with manifests, relative to this file.
    #[serde(default = "ProjectFile::default_manifests")]
    #[schemars(length(min = 1))]
    pub manifests: Vec<FileRef>,
    /// Values for `${var.name}` in manifests, where a target has none of its own.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub variables: BTreeMap<Identifier, Scalar>,
    /// Engine versions beside those that the platform has, or other images for them.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "engine-version"}))]
    pub engines: BTreeMap<String, engine::Entry>,
    /// Where Airflow reads its DAG files: a folder relative to this file, or one of an object store. Without it,
    /// `.dcp/dags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dags: Option<DagFolder>,
    /// The places that manifests are applied to, such as `dev`, `staging` and `prod`.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "name"}))]
    pub targets: BTreeMap<String, Target>,
}

impl ProjectFile {
    pub(super) fn default_manifests() -> Vec<FileRef> {
        vec![FileRef::parse("manifests").expect("`manifests` is a relative path")]
    }
}

/// A place that manifests are applied to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("dependentRequired" = {"runner": ["server"]}))]
pub struct Target {
    /// Whether this is the target where none is named. One target at most is the default.
    #[serde(default)]
    pub default: bool,
    /// The control plane that this target is applied to. Without it, the one embedded in `dcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["https://dcp.example.com:7420"]), regex(pattern = r"^https?://[^\s/@]+(/\S*)?$"))]
    pub server: Option<String>,
    /// The Runner of this target, where it has another address than `server`. Both are given the same token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["https://dcp.example.com:7421"]), regex(pattern = r"^https?://[^\s/@]+(/\S*)?$"))]
    pub runner: Option<String>,
    /// Where Airflow reads its DAG files, if elsewhere than the project's `dags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dags: Option<DagFolder>,
    /// Values for `${var.name}` in manifests.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub variables: BTreeMap<Identifier, Scalar>,
    /// Changes to manifests, merged in one after the other.
    #[serde(default)]
    pub overlays: Vec<Overlay>,
}

/// A change to the manifests that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overlay {
    /// Which manifests are changed; without it, all.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// What is merged into them: maps are merged, `null` removes a field, everything else replaces what was there.
    #[schemars(extend("minProperties" = 1, "examples" = [{"spec": {"resources": {"executors": {"memory": "8g"}}}}]))]
    pub set: BTreeMap<String, Value>,
}

/// Which manifests are meant: those to which all of this applies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Those of one of these domains.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// Those with one of these names.
    #[serde(default)]
    pub names: Vec<Name>,
    /// Those that have all of these labels.
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
