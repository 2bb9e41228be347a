//! What the pods of driver and executors look like on Kubernetes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::one_of::exactly_one;
use super::text::ScalarOr;
use super::{Duration, EnvName, Image, KubernetesName, LabelKey, LabelValue, Memory};

/// The pods of driver and executors. Backends without pods ignore it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// The driver's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Box<Pod>>,
    /// The pods of the executors.
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
    /// It is, at every start.
    Always,
    /// It is not.
    IfNotPresent,
    /// No image is ever pulled: it must be there.
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
    /// Labels, beside those of the workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Annotations, beside those of the workload. Spark replaces `{{APP_ID}}` and `{{EXECUTOR_ID}}` in them, and in no
    /// annotation of `template`.
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
    /// The taints of nodes that do not keep the pod away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// The priority class, by which Kubernetes decides who waits and who gives way.
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
    /// The secret or config map.
    pub name: KubernetesName,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// All keys of a secret or a config map: exactly one of these.
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
    /// The secret.
    pub name: KubernetesName,
    /// The folder in which its keys are files.
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
    /// Anything; no variable is set.
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
    /// The config map.
    pub name: KubernetesName,
    /// The folder in which its keys are files.
    #[schemars(regex(pattern = r"^/[^\x00]*$"))]
    pub path: String,
}

/// A volume and where it is mounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["source", "onDemandClaim"]))]
pub struct Volume {
    /// Its name. Spark keeps its scratch data on volumes whose names begin with `spark-local-dir-`.
    pub name: KubernetesName,
    /// Where it is mounted.
    #[schemars(regex(pattern = r"^/[^\x00]*$"))]
    pub path: String,
    /// Whether it can't be written to.
    #[serde(default)]
    pub read_only: bool,
    /// What it is, as Kubernetes has it: `emptyDir: {}`, `persistentVolumeClaim: {claimName: …}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1, "examples" = [{"emptyDir": {}}]))]
    pub source: BTreeMap<String, Value>,
    /// A new volume for each pod, by a claim that Spark makes and removes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand_claim: Option<OnDemandClaim>,
}

/// A claim of a persistent volume that Spark makes for each pod, as by its setting `claimName=OnDemand`. Only that pod can
/// use it (`ReadWriteOncePod`). Spark removes claims with the driver at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnDemandClaim {
    /// The storage class. Spark makes no claim without one.
    pub storage_class: KubernetesName,
    /// The size of the volume.
    pub size_limit: Memory,
}

/// A taint of nodes that does not keep the pod away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// The taint's key. Without one, every taint is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<LabelKey>,
    /// What must be so for a taint to be meant.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The taint's value, for `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<LabelValue>,
    /// The effect that does not take place. Without one, none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TolerationEffect>,
    /// How long the pod stays on a node that gets the taint `NoExecute`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// Which taints a toleration means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Those with this key and this value.
    #[default]
    Equal,
    /// Those with this key, whatever their value.
    Exists,
}

/// What a taint does to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationEffect {
    /// New pods are kept away.
    NoSchedule,
    /// New pods are kept away, where there is another node for them.
    PreferNoSchedule,
    /// New pods are kept away, and running ones removed.
    NoExecute,
}
