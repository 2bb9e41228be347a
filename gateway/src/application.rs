//! An application to run, in the format of `spark.apache.org/v1`: the fields of that CRD that dcp uses, by its
//! names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The setting that names the modules of Spark that the application needs in addition to its core, such as `avro`.
/// The images of a cluster contain them; elsewhere a backend fetches them for its version of Spark.
pub const MODULES: &str = "spark.dcp.modules";

/// The setting that lists the Python packages that a program needs, as JSON.
pub const PACKAGES: &str = "spark.dcp.python.packages";

/// The setting that names the config map with Spark's own configuration files.
pub const SPARK_CONFIG_MAP: &str = "spark.dcp.configMap";

/// The setting that names the provider of secrets. On Kubernetes, secrets are those of the domain's namespace.
pub const SECRETS: &str = "spark.dcp.secrets";

/// The setting of an application that serves Spark Connect for a pool. The backend chooses the address and sets the token.
pub const CONNECT: &str = "spark.dcp.connect";

/// The setting that protects the driver's pod from evictions.
pub const DRIVER_BUDGET: &str = "spark.dcp.driver.disruptionBudget";

/// The setting with the content of the application's `log4j2.properties`.
pub const LOG4J: &str = "spark.dcp.log4j2";

/// The setting that names the config map with Hadoop's configuration files.
pub const HADOOP_CONFIG_MAP: &str = "spark.kubernetes.hadoop.configMapName";

/// The settings that limit the memory of the primary containers. Spark has none: it limits a container to its
/// request.
pub const DRIVER_MEMORY_LIMIT: &str = "spark.dcp.driver.memoryLimit";
pub const EXECUTOR_MEMORY_LIMIT: &str = "spark.dcp.executor.memoryLimit";

/// Prefixes of the settings of volumes for which Spark creates claims, for driver pods and executor pods.
pub const DRIVER_CLAIMS: &str = "spark.kubernetes.driver.volumes.persistentVolumeClaim.";
pub const EXECUTOR_CLAIMS: &str = "spark.kubernetes.executor.volumes.persistentVolumeClaim.";

/// One application: one attempt of an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SparkApplication {
    pub metadata: Metadata,
    pub spec: Spec,
    /// Restrictions on the location. The CRD has no such field: it is for the backend.
    #[serde(default, skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
}

/// Restrictions on the location of an application; an empty field restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Placement {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Derived from the execution and the attempt.
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    pub runtime_versions: RuntimeVersions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_class: Option<String>,
    /// The jar that has the main class. Without it and without Python files, the class is one of Spark's own or
    /// comes from the jars and packages of `spark_conf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jars: Option<String>,
    /// Separated by commas. Without a jar, the first one is the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub py_files: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub driver_args: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub spark_conf: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_mode: Option<DeploymentMode>,
    #[serde(default, skip_serializing_if = "ApplicationTolerations::is_empty")]
    pub application_tolerations: ApplicationTolerations,
    #[serde(default, skip_serializing_if = "PodSpec::is_empty")]
    pub driver_spec: PodSpec,
    #[serde(default, skip_serializing_if = "PodSpec::is_empty")]
    pub executor_spec: PodSpec,
    /// Files that are mounted into the driver's pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_map_specs: Vec<ConfigMapSpec>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuntimeVersions {
    pub spark_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scala_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jdk_version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentMode {
    ClusterMode,
    ClientMode,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationTolerations {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_config: Option<RestartConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_timeout_config: Option<ApplicationTimeoutConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_config: Option<InstanceConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_retain_policy: Option<ResourceRetainPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_stop_millis: Option<i64>,
}

impl ApplicationTolerations {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Restarts by the operator are always off, as only dcp retries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestartConfig {
    pub restart_policy: RestartPolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    Never,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationTimeoutConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_start_timeout_millis: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_termination_grace_period_millis: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceConfig {
    pub init_executors: u32,
    pub min_executors: u32,
    pub max_executors: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceRetainPolicy {
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSpec {
    /// A Kubernetes pod template, in Kubernetes' own format. Its first container runs Spark.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub pod_template_spec: Value,
}

impl PodSpec {
    fn is_empty(&self) -> bool {
        self.pod_template_spec.is_null()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapSpec {
    pub name: String,
    pub data: BTreeMap<String, String>,
}
