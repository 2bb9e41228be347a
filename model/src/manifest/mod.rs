//! The manifest, as types. The schema, the reference and the decoder all come from here.

mod data;
mod data_type;
mod job;
mod names;
mod one_of;
mod placement;
mod pods;
mod quantity;
mod resources;
mod run;
mod stream;
mod text;
mod time;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use data::{DataRef, Output};
pub use job::{Jar, Job, JobKind, Parameter, ParameterType, PySpark, Python, RunValue, Sql, TypedParameter};
pub use names::{
    ClassName, DagFolder, DataType, Domain, EngineVersion, EnvName, FileRef, Identifier, Image,
    KubernetesName, LabelKey, LabelValue, Location, Maven, MavenModule, Name, TableName, Topic, table_parts,
};
pub use placement::{Backend, Clusters, Databricks, Emr, Placement};
pub use pods::{
    ContainerResources, Env, EnvFrom, EnvSource, KeyRef, MountedConfigMap, MountedSecret, OnDemandClaim, Pod,
    Pods, PullPolicy, SecretType, Toleration, TolerationEffect, TolerationOperator, Volume,
};
pub use quantity::{Cpu, Delay, Duration, Memory};
pub use resources::{Driver, Executors, Resources, Sizing, default_overhead};
pub use run::{
    AssetTrigger, Cause, Completes, ConcurrencyPolicy, Continuous, Health, OnUnhealthy, Reset, Retry, Run,
    RunKind, Scaling, Schedule, Service, ServiceHealth, ServiceUpgrade, Timeouts, Trigger, Upgrade,
};
pub use stream::{
    CleanSource, Columns, Console, Deduplicate, FileFormat, FileSink, FileSource, JdbcMode, JdbcSink,
    KafkaFormat, KafkaSink, KafkaSource, MergeSink, Offsets, OutputMode, Rate, Sink, Source, State,
    StateStore, Stream, TableSink, TableSource, Watermark,
};
pub use text::{AS_WRITTEN, Fault, Format, OneOrMany, Scalar, ScalarOr};
pub use time::{Cron, Date, TimeZone};

/// The apiVersion that this compiler reads.
pub const API_VERSION: &str = "dcp/v1";
/// The kind of manifest that there is.
pub const KIND: &str = "CoreETL";

/// Every format that a field of a manifest can have.
pub fn formats() -> impl Iterator<Item = &'static Format> {
    names::FORMATS.iter().chain(quantity::FORMATS).chain(time::FORMATS)
}

/// A Spark workload: what runs, when, on what, and what it reads and writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub api_version: ApiVersion,
    pub kind: Kind,
    pub metadata: Metadata,
    pub spec: Spec,
}

/// The version of the manifest's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version, and the only one.
    #[serde(rename = "dcp/v1")]
    V1,
}

/// The kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A Spark workload.
    #[serde(rename = "CoreETL")]
    CoreEtl,
}

/// Who a workload is and whom it belongs to. Domain and name are its address: nothing else may have the same two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub name: Name,
    pub domain: Domain,
    /// Who answers for the workload: a team or an address that can be written to.
    #[schemars(length(min = 1, max = 200))]
    pub owner: String,
    /// What the workload is for, in a sentence or two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    pub description: Option<String>,
    /// Labels for the pods of every run, and tags in Airflow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Annotations for the pods of every run. Spark replaces `{{APP_ID}}` by the application's id, and `{{EXECUTOR_ID}}` by
    /// that of the executor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub annotations: BTreeMap<LabelKey, String>,
}

/// The workload itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    pub engine: Engine,
    pub job: Job,
    #[serde(default, skip_serializing_if = "Dependencies::is_empty")]
    pub dependencies: Dependencies,
    /// What the workload reads. What its SQL reads is found without being told, and compared with this where it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<DataRef>,
    /// What the workload writes; each becomes an asset that others can wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    pub run: Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<Orchestration>,
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub retry: Retry,
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How long what a finished run leaves behind (pods, applications, logs on the cluster) is kept.
    #[serde(default = "Spec::default_ttl")]
    pub ttl: Duration,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default, skip_serializing_if = "SparkConf::is_empty")]
    pub spark: SparkConf,
    #[serde(default, skip_serializing_if = "Pods::is_empty")]
    pub pods: Pods,
    #[serde(default)]
    pub lifecycle: Lifecycle,
}

impl Spec {
    fn default_ttl() -> Duration {
        Duration::from_secs(24 * 3600)
    }
}

/// Where in Airflow the workload's task stands. Without this, it has a DAG to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orchestration {
    /// The workloads of a domain that name the same group are the tasks of one DAG, which is called after it. All of
    /// them have the same `run`, but for those that wait for what others of the group write: these run after them.
    pub group: Name,
}

/// Which Spark runs the workload. The platform's table says which image a version stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    pub version: EngineVersion,
    /// Another image than the platform's for this version; it must hold the same Spark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

/// What the job needs beside Spark and its own program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependencies {
    /// Maven coordinates, fetched with all they depend on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Maven>,
    /// Modules to leave out of what the packages depend on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_packages: Vec<MavenModule>,
    /// Maven repositories to search besides Maven Central.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Location>,
    /// Jars put on the class path of driver and executors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jars: Vec<FileRef>,
    /// Files put into the working folder of driver and executors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
    /// Archives unpacked in the working folder of driver and executors; `#name` at the end gives the folder's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<FileRef>,
}

impl Dependencies {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Spark's and Hadoop's own settings, for all that has no field here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SparkConf {
    /// Spark settings, `spark.…`. What has a field in the manifest is set there; what the platform owns can't be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conf: BTreeMap<String, Scalar>,
    /// Hadoop settings, without the prefix `spark.hadoop.`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hadoop_conf: BTreeMap<String, Scalar>,
    /// A config map with `spark-defaults.conf`, `spark-env.sh` or `log4j2.properties`, mounted as Spark's configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KubernetesName>,
    /// A config map with Hadoop's configuration files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hadoop_config_map: Option<KubernetesName>,
    /// Options for the driver's JVM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_java_options: Option<String>,
    /// Options for the executors' JVMs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor_java_options: Option<String>,
}

impl SparkConf {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What may happen to the workload as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Whether deleting the workload, or resetting its checkpoint, is refused always.
    #[serde(default)]
    pub prevent_destroy: bool,
}
