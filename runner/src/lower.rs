//! Builds the application for a backend from a job, its values and an attempt. All decisions were made before, by
//! [`crate::machine`] and by sizing.

mod conf;
mod logging;
mod pods;

use std::collections::BTreeMap;

use dcp_gateway::SparkApplication;
use dcp_gateway::application::{
    ApplicationTimeoutConfig, ApplicationTolerations, CONNECT, ConfigMapSpec, DeploymentMode, InstanceConfig,
    MODULES, Metadata, PACKAGES, Placement, PodSpec, RestartConfig, RestartPolicy, RuntimeVersions, SECRETS,
    Spec,
};
use dcp_model::manifest::{
    Clusters, FileFormat, FileRef, Job, KafkaFormat, Location, Python, Scalar, Sink, Source, StateStore,
    Stream,
};
use dcp_model::primitive::CoreEtlJob;
use dcp_model::reference;
use serde_json::json;

use crate::execution::Execution;
use crate::parameters::Value;
use crate::streaming::Streaming;

use conf::dynamic_bounds;
pub use conf::initial_executors;

/// Folder in which the driver finds dcp's own program for SQL and streams, and its task.
pub(crate) const JOB_FOLDER: &str = "/opt/dcp/job";
const PROGRAM_FILE: &str = "main.py";
const JOB_FILE: &str = "job.json";

/// Programs that run inside of Spark.
const SQL: &str = include_str!("../../runtime/sql.py");
const STREAM: &str = include_str!("../../runtime/stream.py");
/// The module that [`STREAM`] imports for sinks that are written batch by batch.
const BATCH_SINKS: (&str, &str) = ("batch_sinks.py", include_str!("../../runtime/batch_sinks.py"));

/// The module that [`STREAM`] imports for continuous jobs.
const PROGRESS: (&str, &str) = ("progress.py", include_str!("../../runtime/progress.py"));

/// The inputs of an application.
#[derive(Debug)]
pub struct Input<'a> {
    pub job: &'a CoreEtlJob,
    pub execution: &'a Execution,
    pub values: &'a BTreeMap<String, Value>,
    /// Settings of a continuous stream.
    pub streaming: Option<&'a Streaming>,
    /// Location for the result of SQL, if it is requested.
    pub results: Option<&'a str>,
}

/// The reason why no backend can run a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// Returns the application of the current attempt.
pub fn lower(input: &Input<'_>) -> Result<SparkApplication, Unsupported> {
    let Input { job, execution, .. } = input;
    let name = execution.name();
    let metadata = &job.metadata;
    let labels = labels(job, execution);
    let annotations: BTreeMap<String, String> =
        metadata.annotations.iter().map(|(key, value)| (key.as_str().to_owned(), value.clone())).collect();
    let program = program(input)?;
    let conf = conf(input, program.conf, &annotations);
    let maps = program.job.map(|data| ConfigMapSpec { name: format!("{name}-job"), data });
    let mut driver = pods::template(job.pods.driver.as_deref(), &labels, &annotations);
    if let Some(map) = &maps {
        pods::mount(&mut driver, job.pods.driver.as_deref(), &map.name, JOB_FOLDER);
    }
    let executor = pods::template(job.pods.executors.as_deref(), &labels, &annotations);
    let spec = Spec {
        runtime_versions: RuntimeVersions {
            spark_version: job.engine.version.clone(),
            scala_version: Some(job.engine.scala.clone()),
            jdk_version: Some(job.engine.java.to_string()),
        },
        main_class: program.class,
        jars: program.jar,
        py_files: program.py_files,
        files: comma_separated(&job.dependencies.files),
        driver_args: program.args,
        spark_conf: conf,
        deployment_mode: Some(DeploymentMode::ClusterMode),
        application_tolerations: tolerations(job, input.streaming),
        driver_spec: PodSpec { pod_template_spec: driver },
        executor_spec: PodSpec { pod_template_spec: executor },
        config_map_specs: maps.into_iter().collect(),
    };
    let namespace = metadata.domain.as_str().to_owned();
    let placement = placement(job);
    Ok(SparkApplication { metadata: Metadata { name, namespace, labels, annotations }, spec, placement })
}

/// Returns the labels of the application and its pods: those of the workload, and dcp's own.
fn labels(job: &CoreEtlJob, execution: &Execution) -> BTreeMap<String, String> {
    let metadata = &job.metadata;
    let labels = [
        ("dcp/execution", execution.id.as_str().to_owned()),
        ("dcp/attempt", execution.attempt().to_string()),
        ("dcp/domain", metadata.domain.as_str().to_owned()),
        ("dcp/workload", metadata.name.as_str().to_owned()),
    ];
    let own = metadata.labels.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned()));
    own.chain(labels.map(|(key, value)| (key.to_owned(), value))).collect()
}

/// Returns the settings of the current attempt. Later ones override earlier ones.
fn conf(
    input: &Input<'_>,
    of_program: BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let Input { job, execution, streaming, .. } = input;
    let mut conf = conf::conf(job);
    conf.extend(pods::settings("driver", job.pods.driver.as_deref(), annotations));
    conf.extend(pods::settings("executor", job.pods.executors.as_deref(), annotations));
    if streaming.is_some() {
        conf::configure_stream_event_log(&mut conf);
    }
    // A manifest can't choose the provider, and only a pool has drivers with a token.
    conf.remove(SECRETS);
    conf.remove(CONNECT);
    conf.extend(job.secrets.iter().map(|name| (SECRETS.to_owned(), name.to_string())));
    if job.connect {
        conf.insert(CONNECT.to_owned(), true.to_string());
    }
    conf.extend(of_program);
    let adjusted = execution.attempts.last().into_iter().flat_map(|attempt| &attempt.adjusted);
    conf.extend(adjusted.map(|(key, adjustment)| (key.clone(), adjustment.value.clone())));
    // The reconciler of a stream knows its load; sizing knows only earlier runs.
    if let Some(executors) = streaming.and_then(|it| it.executors) {
        conf.retain(|key, _| !key.starts_with("spark.dynamicAllocation."));
        conf.insert("spark.executor.instances".to_owned(), executors.to_string());
    }
    conf
}

/// Returns the constraints on the clusters of the chosen backend.
fn placement(job: &CoreEtlJob) -> Placement {
    let Clusters { names, tags } = &job.placement.clusters;
    Placement {
        regions: job.placement.regions.iter().map(ToString::to_string).collect(),
        clusters: names.iter().map(ToString::to_string).collect(),
        tags: tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    }
}

/// The program to run, and its arguments.
#[derive(Default)]
struct Program {
    class: Option<String>,
    jar: Option<String>,
    py_files: Option<String>,
    args: Vec<String>,
    conf: BTreeMap<String, String>,
    /// Files for the driver.
    job: Option<BTreeMap<String, String>>,
}

fn program(input: &Input<'_>) -> Result<Program, Unsupported> {
    match &input.job.job {
        Job::Sql(sql) => {
            let statements = input.job.sql_statements(sql.query.as_deref().unwrap_or_default());
            let statements = statements.ok_or_else(|| {
                Unsupported("`statements` of the job are not within its SQL: compile it again".to_owned())
            })?;
            let task = json!({
                "statements": statements,
                "parameters": input.values,
                "results": input.results.filter(|_| sql.return_result),
            });
            let mut program = bundled_program(SQL, &task);
            if input.results.is_some() && sql.return_result {
                program.conf.insert(MODULES.to_owned(), "avro".to_owned());
            }
            Ok(program)
        }
        Job::Stream(stream) => self::stream(input, stream),
        Job::Pyspark(program) => {
            let files = [&program.main].into_iter().chain(&program.py_files);
            let conf = python(&program.environment);
            let py_files = files.map(FileRef::as_str).collect::<Vec<_>>().join(",");
            let args = args(&program.args, input.values)?;
            Ok(Program { py_files: Some(py_files), args, conf, ..Program::default() })
        }
        Job::Jar(program) => Ok(Program {
            class: Some(program.class.as_str().to_owned()),
            jar: program.main.as_ref().map(|main| main.as_str().to_owned()),
            args: args(&program.args, input.values)?,
            ..Program::default()
        }),
    }
}

/// Returns one of dcp's own programs with its task.
fn bundled_program(text: &str, task: &serde_json::Value) -> Program {
    let data =
        BTreeMap::from([(PROGRAM_FILE.to_owned(), text.to_owned()), (JOB_FILE.to_owned(), task.to_string())]);
    Program {
        py_files: Some(format!("local://{JOB_FOLDER}/{PROGRAM_FILE}")),
        args: vec![format!("{JOB_FOLDER}/{JOB_FILE}")],
        job: Some(data),
        ..Program::default()
    }
}

fn stream(input: &Input<'_>, stream: &Stream) -> Result<Program, Unsupported> {
    let continuous_checkpoint = input.streaming.and_then(|it| it.checkpoint.as_deref());
    let checkpoint = continuous_checkpoint.or(stream.checkpoint.as_ref().map(Location::as_str));
    let Some(checkpoint) = checkpoint else {
        let message = "the stream has no checkpoint, and no continuous job gives it one";
        return Err(Unsupported(message.to_owned()));
    };
    let task = json!({
        "stream": stream,
        "checkpoint": checkpoint,
        // Without a trigger, the stream processes the available data and ends.
        "trigger": input.streaming.and_then(|it| it.trigger.as_ref()),
        "name": input.job.metadata.name,
    });
    let mut program = bundled_program(STREAM, &task);
    let sinks = matches!(&stream.sink, Sink::Jdbc(_) | Sink::Merge(_)).then_some(BATCH_SINKS);
    for (name, text) in sinks.into_iter().chain(input.streaming.map(|_| PROGRESS)) {
        program.job.get_or_insert_default().insert(name.to_owned(), text.to_owned());
    }
    let mut set = |key: &str, value: String| program.conf.insert(key.to_owned(), value);
    set("spark.sql.streaming.metricsEnabled", "true".to_owned());
    if let Some(partitions) = stream.state.partitions {
        set("spark.sql.shuffle.partitions", partitions.to_string());
    }
    match stream.state.store {
        Some(StateStore::Rocksdb) => {
            let class = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider";
            set("spark.sql.streaming.stateStore.providerClass", class.to_owned());
        }
        Some(StateStore::Memory) | None => {}
    }
    if let Some(batches) = stream.state.min_batches_to_retain {
        set("spark.sql.streaming.minBatchesToRetain", batches.to_string());
    }
    let modules = modules(stream);
    if !modules.is_empty() {
        set(MODULES, modules.join(","));
    }
    Ok(program)
}

/// Returns the modules of Spark that a stream needs and that Spark's own distribution lacks.
fn modules(stream: &Stream) -> Vec<&'static str> {
    let sources = || stream.sources.values();
    let reads_kafka = sources().any(|source| matches!(source, Source::Kafka(_)));
    let reads_avro = sources().any(|source| match source {
        Source::Kafka(it) => matches!(it.format, KafkaFormat::Avro),
        Source::Files(it) => matches!(it.format, FileFormat::Avro),
        Source::Table(_) | Source::Rate(_) => false,
    });
    let (writes_kafka, writes_avro) = match &stream.sink {
        Sink::Kafka(it) => (true, matches!(it.format, KafkaFormat::Avro)),
        Sink::Files(it) => (false, matches!(it.format, FileFormat::Avro)),
        Sink::Table(_) | Sink::Merge(_) | Sink::Jdbc(_) | Sink::Console(_) => (false, false),
    };
    let kafka = (reads_kafka || writes_kafka).then_some("sql-kafka-0-10");
    kafka.into_iter().chain((reads_avro || writes_avro).then_some("avro")).collect()
}

fn args(args: &[Scalar], values: &BTreeMap<String, Value>) -> Result<Vec<String>, Unsupported> {
    let lookup = |name: &str| values.get(name).map(|value| value.value.as_str());
    let mut remaining = MAX_ARGUMENT_BYTES;
    let one = |arg: &Scalar| {
        let resolved = reference::resolve(arg.as_str(), lookup, remaining).map_err(|error| match error {
            reference::Error::TooLong(_) => Unsupported(format!(
                "the arguments have more than {} MiB: pass what is long by a file",
                MAX_ARGUMENT_BYTES >> 20
            )),
            reference::Error::Unknown(_) | reference::Error::Malformed(_) => {
                let shown: String = arg.as_str().chars().take(80).collect();
                Unsupported(format!("the argument `{shown}` refers to a parameter that is not there"))
            }
        })?;
        remaining = remaining.saturating_sub(resolved.len());
        Ok(resolved)
    };
    args.iter().map(one).collect()
}

/// Maximum length of all arguments after parameters are replaced, because Linux starts no program with more.
const MAX_ARGUMENT_BYTES: usize = 2 << 20;

fn comma_separated(files: &[FileRef]) -> Option<String> {
    (!files.is_empty()).then(|| files.iter().map(FileRef::as_str).collect::<Vec<_>>().join(","))
}

fn python(python: &Python) -> BTreeMap<String, String> {
    let mut conf = BTreeMap::new();
    let mut set = |key: &str, value: String| conf.insert(key.to_owned(), value);
    if python.archive.is_some() {
        set("spark.pyspark.python", "./environment/bin/python".to_owned());
    }
    if let Some(python) = &python.python {
        set("spark.pyspark.python", python.clone());
    }
    if !python.packages.is_empty() {
        // Spark has no setting for packages; the backend provides them.
        set(PACKAGES, json!(python.packages).to_string());
    }
    conf
}

fn tolerations(job: &CoreEtlJob, streaming: Option<&Streaming>) -> ApplicationTolerations {
    let millis = |span: dcp_model::manifest::Duration| i64::try_from(span.millis()).unwrap_or(i64::MAX);
    let start = Some(job.timeouts.start.millis());
    let grace = streaming.and_then(|it| it.grace).unwrap_or(job.timeouts.stop);
    // Spark chooses no number of executors if one is given.
    let dynamic = dynamic_bounds(job).filter(|_| streaming.is_none_or(|it| it.executors.is_none()));
    ApplicationTolerations {
        // Only the Runner retries, never the operator.
        restart_config: Some(RestartConfig { restart_policy: RestartPolicy::Never }),
        application_timeout_config: Some(ApplicationTimeoutConfig {
            driver_start_timeout_millis: start,
            force_termination_grace_period_millis: Some(grace.millis()),
        }),
        instance_config: dynamic.map(|(least, most)| InstanceConfig {
            init_executors: initial_executors(job),
            min_executors: least,
            max_executors: most,
        }),
        resource_retain_policy: None,
        ttl_after_stop_millis: Some(millis(job.ttl)),
    }
}
