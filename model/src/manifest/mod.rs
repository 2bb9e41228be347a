//! The types of the manifest. The JSON Schema, the reference and the decoder are derived from them.

mod data;
mod data_type;
mod driver_job;
mod job;
mod logging;
mod names;
mod one_of;
mod placement;
mod pods;
mod pool;
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
pub use driver_job::CONNECT_SERVER;
pub use job::{Jar, Job, JobKind, Parameter, ParameterType, PySpark, Python, RunValue, Sql, TypedParameter};
pub use logging::{LogFormat, LogLevel, Logging, RootLevel};
pub use names::{
    ClassName, DagFolder, DataType, Domain, EngineVersion, EnvName, FileRef, Identifier, Image,
    KubernetesName, LabelKey, LabelValue, Location, Maven, MavenModule, Name, TableName, Topic, table_parts,
};
pub use placement::{Backend, Clusters, Databricks, Emr, Placement};
pub use pods::{
    ContainerResources, Env, EnvFrom, EnvSource, KeyRef, MountedConfigMap, MountedSecret, OnDemandClaim, Pod,
    Pods, PullPolicy, SecretType, Toleration, TolerationEffect, TolerationOperator, Volume,
};
pub use pool::{
    PoolDrivers, PoolManifest, PoolSettings, PoolSpec, Recycle, SESSION_TIMEOUT, Sessions, Share,
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
pub(crate) use text::text_types;
pub use text::{Format, FormatError, OneOrMany, RAW_SCALAR, Scalar, ScalarOr};
pub use time::{Cron, Date, TimeZone};

/// The only supported `apiVersion`.
pub const API_VERSION: &str = "dcp/v1";
/// The `kind` of a workload.
pub const CORE_ETL: &str = "CoreETL";
/// The `kind` of a pool of Spark Connect drivers.
pub const POOL: &str = "Pool";
/// All supported values of `kind`.
pub const KINDS: [&str; 2] = [CORE_ETL, POOL];

/// Returns all formats of fields of a manifest.
pub fn formats() -> impl Iterator<Item = &'static Format> {
    names::FORMATS.iter().chain(quantity::FORMATS).chain(time::FORMATS)
}

/// A Spark workload: its job, its trigger, its engine and resources, its inputs and outputs.
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
    /// The first and only version.
    #[serde(rename = "dcp/v1")]
    V1,
}

/// The kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A Spark workload.
    #[serde(rename = "CoreETL")]
    CoreEtl,
    /// A pool, which is read as a [`PoolManifest`].
    #[serde(skip)]
    Pool,
}

/// The identity and the owner of a workload. The domain and the name are its address, which must be unique.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub name: Name,
    pub domain: Domain,
    /// The owner of the workload: a team or an e-mail address.
    #[schemars(length(min = 1, max = 200))]
    pub owner: String,
    /// The purpose of the workload, in one or two sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    pub description: Option<String>,
    /// Labels of the pods of every run, and tags of the DAG in Airflow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Annotations of the pods of every run. Spark replaces `{{APP_ID}}` by the application's id, and
    /// `{{EXECUTOR_ID}}` by the executor's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "label-key"}))]
    pub annotations: BTreeMap<LabelKey, String>,
}

/// The definition of the workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    pub engine: Engine,
    pub job: Job,
    #[serde(default, skip_serializing_if = "Dependencies::is_empty")]
    pub dependencies: Dependencies,
    /// The data that the workload reads. The compiler derives the inputs of SQL itself, and compares them with this
    /// list if it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<DataRef>,
    /// The data that the workload writes. Each output becomes an asset on which other workloads can depend.
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
    /// Retention of the pods, applications and logs that a finished run leaves on the cluster.
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

/// The Airflow DAG that contains the workload's task. If omitted, the workload has its own DAG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orchestration {
    /// The group of the workload. Workloads of one domain with the same group are the tasks of one DAG, which is
    /// named after the group. All of them have the same `run`, except tasks that depend on assets of other tasks of
    /// the group: these run after them.
    pub group: Name,
}

/// The version of Spark that runs the workload. The platform's table of engines maps a version to an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    pub version: EngineVersion,
    /// A container image that replaces the platform's image for this version. It must contain the same version of
    /// Spark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

/// Dependencies of the job, in addition to Spark and its own program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependencies {
    /// Maven coordinates. Their transitive dependencies are downloaded too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Maven>,
    /// Modules that are excluded from the transitive dependencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_packages: Vec<MavenModule>,
    /// Maven repositories, in addition to Maven Central.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Location>,
    /// Jars on the class path of the driver and the executors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jars: Vec<FileRef>,
    /// Files in the working directory of the driver and the executors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
    /// Archives that are unpacked in the working directory of the driver and the executors. A suffix `#name` sets the
    /// name of the directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<FileRef>,
}

impl Dependencies {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Settings of Spark and Hadoop that have no field of their own in the manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SparkConf {
    /// Spark settings, `spark.…`. Settings that have a field in the manifest are set there. Settings that the
    /// platform controls are rejected.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conf: BTreeMap<String, Scalar>,
    /// Hadoop settings, without the prefix `spark.hadoop.`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hadoop_conf: BTreeMap<String, Scalar>,
    /// A config map with `spark-defaults.conf`, `spark-env.sh` or `log4j2.properties`, mounted as Spark's
    /// configuration directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KubernetesName>,
    /// A config map with configuration files of Hadoop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hadoop_config_map: Option<KubernetesName>,
    /// The log of the driver and of the executors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// JVM options of the driver. They follow `-XX:+ExitOnOutOfMemoryError`, by which a driver whose memory is full ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_java_options: Option<String>,
    /// JVM options of the executors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor_java_options: Option<String>,
}

impl SparkConf {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Protection of the workload against destructive changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Rejects every request to delete the workload or to reset its checkpoint.
    #[serde(default)]
    pub prevent_destroy: bool,
}
