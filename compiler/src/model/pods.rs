//! What the pods of driver and executors look like on Kubernetes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::ScalarOr;
use super::{Duration, EnvName, Image, KubernetesName, LabelKey, LabelValue, Memory};
use crate::schema::exactly_one;

/// The pods of driver and executors. Backends without pods ignore it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Box<Pod>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executors: Option<Box<Pod>>,
    /// Whether an image is pulled that is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// The secrets by which images are pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<KubernetesName>,
}

impl Pods {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether an image is pulled that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// A pod and its primary container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Another image than the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The service account. The driver's must be allowed to make pods, services and config maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<KubernetesName>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub labels: BTreeMap<LabelKey, LabelValue>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub annotations: BTreeMap<LabelKey, String>,
    /// Resources of the primary container beside CPU and memory, which `resources` has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ContainerResources>,
    /// Environment variables: values, or where they come from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "env-name"}))]
    pub env: BTreeMap<EnvName, Env>,
    /// Config maps and secrets all of whose keys become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFrom>,
    /// Secrets mounted as files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<MountedSecret>,
    /// Config maps mounted as files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_maps: Vec<MountedConfigMap>,
    /// Volumes and where they are mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The labels of nodes that may be used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub node_selector: BTreeMap<LabelKey, LabelValue>,
    /// Kubernetes' own `affinity`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub affinity: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<KubernetesName>,
    /// The name of the container that Spark runs in, where `template` has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_container: Option<KubernetesName>,
    /// Kubernetes' own pod template (`metadata` and `spec`), for all that has no field here. The fields win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template: BTreeMap<String, Value>,
}

/// Resources of the primary container beside CPU and memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerResources {
    /// Disk for scratch space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<Memory>,
    /// Devices and other extended resources, such as `nvidia.com/gpu`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"nvidia.com/gpu": 1}], "propertyNames" = {"format": "label-key"}))]
    pub extended: BTreeMap<LabelKey, u32>,
}

/// An environment variable: a value, or where it comes from.
pub type Env = ScalarOr<EnvSource>;

/// Where the value of an environment variable comes from: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum EnvSource {
    /// A key of a secret.
    Secret(KeyRef),
    /// A key of a config map.
    ConfigMap(KeyRef),
    /// A field of the pod itself, such as `status.podIP`.
    Field(#[schemars(length(min = 1, max = 200))] String),
}

/// A key of a secret or config map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRef {
    pub name: KubernetesName,
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// All keys of a secret or a config map: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum EnvFrom {
    Secret(KubernetesName),
    ConfigMap(KubernetesName),
}

/// A secret mounted as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MountedSecret {
    pub name: KubernetesName,
    #[schemars(regex(pattern = r"^/[^\x00]*$"))]
    pub path: String,
    /// What is in it, so that the variable by which programs find it is set as well.
    #[serde(rename = "type", default)]
    pub kind: SecretType,
}

/// What is in a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SecretType {
    #[default]
    Generic,
    /// A service account of Google Cloud; sets `GOOGLE_APPLICATION_CREDENTIALS`.
    GcpServiceAccount,
    /// Hadoop's delegation tokens; sets `HADOOP_TOKEN_FILE_LOCATION`.
    HadoopDelegationToken,
}

/// A config map mounted as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MountedConfigMap {
    pub name: KubernetesName,
    #[schemars(regex(pattern = r"^/[^\x00]*$"))]
    pub path: String,
}

/// A volume and where it is mounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name. Spark keeps its scratch data on volumes whose names begin with `spark-local-dir-`.
    pub name: KubernetesName,
    #[schemars(regex(pattern = r"^/[^\x00]*$"))]
    pub path: String,
    #[serde(default)]
    pub read_only: bool,
    /// What it is, as Kubernetes has it: `emptyDir: {}`, `persistentVolumeClaim: {claimName: …}`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1, "examples" = [{"emptyDir": {}}]))]
    pub source: BTreeMap<String, Value>,
}

/// A taint of nodes that does not keep the pod away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<LabelKey>,
    #[serde(default)]
    pub operator: TolerationOperator,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<LabelValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TolerationEffect>,
    /// How long the pod stays on a node that gets the taint `NoExecute`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    #[default]
    Equal,
    Exists,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}
