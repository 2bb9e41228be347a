//! The Kubernetes pods of the driver and the executors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::one_of::exactly_one;
use super::text::ScalarOr;
use super::{Duration, EnvName, Image, KubernetesName, LabelKey, LabelValue, Memory};

/// The Kubernetes pods of the driver and the executors. Backends without pods ignore these settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// The pod of the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Box<Pod>>,
    /// The pods of the executors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executors: Option<Box<Pod>>,
    /// The image pull policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Protects the pod of a running driver from evictions by a `PodDisruptionBudget`. `kubectl drain` of its node then
    /// waits until the driver has ended or was stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disruption_budget: bool,
    /// Secrets with the credentials of image registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<KubernetesName>,
}

impl Pods {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The image pull policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Images are pulled at every start.
    Always,
    /// Images are pulled if the node doesn't have them.
    IfNotPresent,
    /// Images are never pulled: the node must have them.
    Never,
}

/// A pod and its primary container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// The container image, instead of the engine's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The service account. The driver's service account needs permission to create pods, services and config maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<KubernetesName>,
    /// Labels, in addition to the labels of the workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Annotations, in addition to the annotations of the workload. Spark replaces `{{APP_ID}}` and `{{EXECUTOR_ID}}`
    /// in them, but not in the annotations of `template`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub annotations: BTreeMap<LabelKey, String>,
    /// Resources of the primary container, except CPU and memory, which are set in `resources`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ContainerResources>,
    /// Environment variables: values, or references to them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "env-name"}))]
    pub env: BTreeMap<EnvName, Env>,
    /// Config maps and secrets whose keys all become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFrom>,
    /// Secrets mounted as files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<MountedSecret>,
    /// Config maps mounted as files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_maps: Vec<MountedConfigMap>,
    /// Volumes and their mount paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Labels that a node must have to run the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub node_selector: BTreeMap<LabelKey, LabelValue>,
    /// Kubernetes `affinity`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub affinity: BTreeMap<String, Value>,
    /// Node taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// The priority class, by which Kubernetes schedules and preempts pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<KubernetesName>,
    /// The name of the container that runs Spark, if `template` has several containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_container: Option<KubernetesName>,
    /// A Kubernetes pod template (`metadata` and `spec`), for settings that have no field here. Fields of the
    /// manifest take precedence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template: BTreeMap<String, Value>,
}

/// Resources of the primary container, except CPU and memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerResources {
    /// Ephemeral storage for scratch data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<Memory>,
    /// Devices and other extended resources, such as `nvidia.com/gpu`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"nvidia.com/gpu": 1}], "propertyNames" = {"format": "label-key"}))]
    pub extended: BTreeMap<LabelKey, u32>,
}

/// An environment variable: a value, or a reference to it.
pub type Env = ScalarOr<EnvSource>;

/// The source of the value of an environment variable: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum EnvSource {
    /// A key of a secret.
    Secret(KeyRef),
    /// A key of a config map.
    ConfigMap(KeyRef),
    /// A field of the pod, such as `status.podIP`.
    Field(#[schemars(length(min = 1, max = 200))] String),
}

/// A key of a secret or config map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRef {
    /// The name of the secret or config map.
    pub name: KubernetesName,
    /// The key in the secret or config map.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// All keys of a secret or config map: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum EnvFrom {
    /// A secret.
    Secret(KubernetesName),
    /// A config map.
    ConfigMap(KubernetesName),
}

/// A secret mounted as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MountedSecret {
    /// The name of the secret.
    pub name: KubernetesName,
    /// The directory that contains one file for each key.
    #[schemars(regex(pattern = r"^/[^\x00]*$"))]
    pub path: String,
    /// The type of the secret. Some types also set the environment variable that programs read.
    #[serde(rename = "type", default)]
    pub kind: SecretType,
}

/// The type of a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SecretType {
    /// Any content. No variable is set.
    #[default]
    Generic,
    /// A service account of Google Cloud. Sets `GOOGLE_APPLICATION_CREDENTIALS`.
    GcpServiceAccount,
    /// Delegation tokens of Hadoop. Sets `HADOOP_TOKEN_FILE_LOCATION`.
    HadoopDelegationToken,
}

/// A config map mounted as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MountedConfigMap {
    /// The name of the config map.
    pub name: KubernetesName,
    /// The directory that contains one file for each key.
    #[schemars(regex(pattern = r"^/[^\x00]*$"))]
    pub path: String,
}

/// A volume and its mount path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["source", "onDemandClaim"]))]
pub struct Volume {
    /// The name of the volume. Spark stores its scratch data on volumes whose names begin with `spark-local-dir-`.
    pub name: KubernetesName,
    /// The mount path.
    #[schemars(regex(pattern = r"^/[^\x00]*$"))]
    pub path: String,
    /// Mounts the volume read-only.
    #[serde(default)]
    pub read_only: bool,
    /// The source of the volume, in the format of Kubernetes: `emptyDir: {}`,
    /// `persistentVolumeClaim: {claimName: …}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1, "examples" = [{"emptyDir": {}}]))]
    pub source: BTreeMap<String, Value>,
    /// A new volume for each pod, from a claim that Spark creates and deletes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand_claim: Option<OnDemandClaim>,
}

/// A persistent volume claim that Spark creates for each pod, as with its setting `claimName=OnDemand`. Only that pod
/// can use the volume (`ReadWriteOncePod`). Spark deletes the claims when the driver ends, at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnDemandClaim {
    /// The storage class. It is required, because Spark creates no claim without one.
    pub storage_class: KubernetesName,
    /// The size of the volume.
    pub size_limit: Memory,
}

/// A node taint that the pod tolerates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// The key of the taint. If omitted, all keys match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<LabelKey>,
    /// The condition under which a taint matches.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The taint's value, for `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<LabelValue>,
    /// The effect that is tolerated. If omitted, all effects are tolerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TolerationEffect>,
    /// Time that the pod stays on a node after the node gets a matching taint with the effect `NoExecute`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// The condition under which a taint matches a toleration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The key and the value are equal.
    #[default]
    Equal,
    /// The key is equal; the value is ignored.
    Exists,
}

/// The effect of a taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationEffect {
    /// New pods are not scheduled on the node.
    NoSchedule,
    /// New pods are scheduled on the node only if no other node is available.
    PreferNoSchedule,
    /// New pods are not scheduled on the node, and running pods are evicted.
    NoExecute,
}
