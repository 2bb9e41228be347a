//! Checks of Spark settings that the platform controls, or that have a field in the manifest.

use dcp_model::manifest::{Job, Manifest, Memory, Resources, Run, SESSION_TIMEOUT, Sizing, Spec, State};

use super::Subject;
use super::settings::{self, Suggestion};
use crate::diag::{Code, Diagnostic};

pub(super) fn check(subject: &mut Subject<'_>) {
    let manifest = subject.manifest;
    for (key, value) in &manifest.spec.spark.conf {
        spark_setting(subject, key, value.as_str());
    }
    for key in manifest.spec.spark.hadoop_conf.keys() {
        hadoop_setting(subject, key);
    }
}

fn spark_setting(subject: &mut Subject<'_>, key: &str, value: &str) {
    let manifest = subject.manifest;
    let version = &manifest.spec.engine.version;
    let (diagnostic, label) = if !is_spark_key(key) {
        (not_a_spark_key(key), "")
    } else if let Some(why) = reserved(key).or_else(|| reserved_in_pool(manifest, key, value)) {
        let message = format!("`{key}` belongs to the platform");
        (Diagnostic::new(Code::RESERVED_CONF, message).help(why), "can't be set here")
    } else if key.starts_with("spark.sql.adaptive.") && matches!(manifest.spec.job, Job::Stream(_)) {
        let message = format!("`{key}` has no effect on a stream");
        let help = "remove it: Spark turns adaptive execution off in streaming";
        (Diagnostic::new(Code::REDUNDANT_CONF, message).help(help), "")
    } else if let Some(field) = field(key, manifest) {
        let written = subject.has(&["spec"].into_iter().chain(field.path.split('.')).collect::<Vec<_>>());
        (contradiction(key, value, &field, written), "set here")
    } else if let Some(suggestion) = settings::suggestion(key, version.spark()) {
        (unknown(key, &suggestion, version.as_str()), "")
    } else {
        return;
    };
    let at = subject.key(&["spec", "spark", "conf", key]);
    subject.report(diagnostic.at(at, label));
}

pub(crate) fn is_spark_key(key: &str) -> bool {
    key.starts_with("spark.")
        && key.len() <= 512
        && !key.contains(|c: char| c.is_whitespace() || c.is_control() || c == '=')
}

fn not_a_spark_key(key: &str) -> Diagnostic {
    let help = match key.strip_prefix("hadoop.") {
        Some(rest) => format!("put it under `hadoopConf`, as `{rest}`"),
        None if key.starts_with("fs.") || key.starts_with("hive.") => {
            format!("put it under `hadoopConf`, as `{key}`")
        }
        None => "settings of Spark begin with `spark.`".to_owned(),
    };
    Diagnostic::new(Code::NOT_A_SPARK_KEY, "this is no setting of Spark").help(help)
}

fn hadoop_setting(subject: &mut Subject<'_>, key: &str) {
    let Some(rest) = key.strip_prefix("spark.hadoop.").or_else(|| key.strip_prefix("spark.")) else { return };
    let at = subject.key(&["spec", "spark", "hadoopConf", key]);
    let help = if key.starts_with("spark.hadoop.") {
        format!("write `{rest}`: the prefix is added")
    } else {
        "put it under `conf`".to_owned()
    };
    subject.problem(Code::NOT_A_SPARK_KEY, "this is no setting of Hadoop", at, "", help);
}

fn unknown(key: &str, suggestion: &Suggestion, version: &str) -> Diagnostic {
    let message = match suggestion.in_other_version {
        true => format!("Spark {version} has no setting `{key}`, though another version has"),
        false => format!("Spark has no setting `{key}`"),
    };
    Diagnostic::new(Code::UNKNOWN_SETTING, message).help(format!("did you mean `{}`?", suggestion.name))
}

/// Describes a setting that has a field. `written` is set if the manifest contains the field, and not only its
/// default.
fn contradiction(key: &str, value: &str, field: &Field, written: bool) -> Diagnostic {
    match &field.value {
        Some(same) if is_same_value(same, value) => {
            Diagnostic::new(Code::REDUNDANT_CONF, format!("`{key}` says again what `{}` says", field.path))
                .help("remove it")
        }
        Some(other) if written => {
            let message = format!("`{key}` is {value}, and `{}` is {other}", field.path);
            Diagnostic::new(Code::CONTRADICTING_CONF, message)
                .help(format!("set `{}`, and remove this", field.path))
        }
        _ => {
            let message = format!("`{key}` has a field of its own: `{}`", field.path);
            Diagnostic::new(Code::CONTRADICTING_CONF, message)
                .help(format!("set `{}`, and remove this", field.path))
        }
    }
}

/// Returns whether two values are equal. `4096m` and `4g` are the same memory.
fn is_same_value(a: &str, b: &str) -> bool {
    let memory = |text: &str| Memory::parse(text).ok();
    a.eq_ignore_ascii_case(b) || memory(a).is_some_and(|size| Some(size) == memory(b))
}

/// Settings by which the platform names, places and finds runs, each with a remedy.
const RESERVED: &[(&str, &str)] = &[
    ("spark.app.name", "the name comes from `metadata`"),
    ("spark.app.id", "the platform names each run"),
    ("spark.master", "where it runs is for `placement` to say"),
    ("spark.submit.deployMode", "remove it: drivers run on the cluster"),
    ("spark.driver.host", "remove it: the backend knows"),
    ("spark.driver.bindAddress", "remove it: the backend knows"),
    ("spark.driver.port", "remove it: the backend knows"),
    ("spark.blockManager.port", "remove it: the backend knows"),
    ("spark.eventLog.enabled", "remove it: the platform keeps event logs, and sizes by them"),
    ("spark.eventLog.dir", "remove it: the platform keeps event logs, and sizes by them"),
    ("spark.sql.streaming.metricsEnabled", "remove it: the platform turns it on, and watches streams by it"),
    ("spark.sql.streaming.checkpointLocation", "remove it: it is set from the manifest's own `checkpoint`"),
    ("spark.kubernetes.namespace", "the namespace comes from `metadata.domain`"),
    ("spark.kubernetes.driver.pod.name", "the platform names each run's pods"),
    ("spark.kubernetes.executor.podNamePrefix", "the platform names each run's pods"),
    ("spark.kubernetes.driver.podTemplateFile", "use `pods.driver`"),
    ("spark.kubernetes.executor.podTemplateFile", "use `pods.executors`"),
    ("spark.kubernetes.submission.waitAppCompletion", "remove it: the Runner watches the run"),
];

pub(crate) fn reserved(key: &str) -> Option<&'static str> {
    let exact = RESERVED.iter().find(|(reserved, _)| *reserved == key).map(|(_, why)| *why);
    exact.or_else(|| {
        key.starts_with("spark.dcp.")
            .then_some("remove it: settings below `spark.dcp` are the platform's own")
    })
}

/// Settings of servers of Spark Connect, by their prefixes, each with a remedy.
const RESERVED_IN_POOLS: &[(&str, &str)] = &[
    ("spark.connect.grpc.binding.", "remove it: the backend chooses the address of each driver"),
    ("spark.connect.authenticate.token", "remove it: the backend gives each driver a token of its own"),
];

/// The plugin that serves Spark Connect in any driver.
const CONNECT_PLUGIN: &str = "org.apache.spark.sql.connect.SparkConnectPlugin";

fn reserved_in_pool(manifest: &Manifest, key: &str, value: &str) -> Option<&'static str> {
    let Run::Pool(_) = manifest.spec.run else { return None };
    if key == "spark.plugins" && value.contains(CONNECT_PLUGIN) {
        return Some("remove the plugin: the drivers of a pool serve Spark Connect without it");
    }
    RESERVED_IN_POOLS.iter().find(|(prefix, _)| key.starts_with(prefix)).map(|(_, why)| *why)
}

struct Field {
    path: &'static str,
    /// The value of the field in Spark's notation.
    value: Option<String>,
}

/// Settings that have a field whose value is not compared.
const FIELDS: &[(&str, &str)] = &[
    ("spark.jars", "dependencies.jars"),
    ("spark.jars.packages", "dependencies.packages"),
    ("spark.jars.excludes", "dependencies.excludePackages"),
    ("spark.jars.repositories", "dependencies.repositories"),
    ("spark.files", "dependencies.files"),
    ("spark.archives", "dependencies.archives"),
    ("spark.submit.pyFiles", "job.pyspark.pyFiles"),
    ("spark.pyspark.python", "job.pyspark.environment.python"),
    ("spark.pyspark.driver.python", "job.pyspark.environment.python"),
    ("spark.kubernetes.driver.container.image", "pods.driver.image"),
    ("spark.kubernetes.executor.container.image", "pods.executors.image"),
    ("spark.kubernetes.container.image.pullPolicy", "pods.imagePullPolicy"),
    ("spark.kubernetes.container.image.pullSecrets", "pods.imagePullSecrets"),
    ("spark.kubernetes.authenticate.driver.serviceAccountName", "pods.driver.serviceAccount"),
    ("spark.kubernetes.authenticate.executor.serviceAccountName", "pods.executors.serviceAccount"),
];

/// Families of settings that have a field, by their prefixes.
const FAMILIES: &[(&str, &str)] = &[
    ("spark.hadoop.", "spark.hadoopConf"),
    ("spark.kubernetes.driverEnv.", "pods.driver.env"),
    ("spark.executorEnv.", "pods.executors.env"),
    ("spark.kubernetes.driver.secretKeyRef.", "pods.driver.env"),
    ("spark.kubernetes.executor.secretKeyRef.", "pods.executors.env"),
    ("spark.kubernetes.driver.secrets.", "pods.driver.secrets"),
    ("spark.kubernetes.executor.secrets.", "pods.executors.secrets"),
    ("spark.kubernetes.driver.label.", "pods.driver.labels"),
    ("spark.kubernetes.executor.label.", "pods.executors.labels"),
    ("spark.kubernetes.driver.annotation.", "pods.driver.annotations"),
    ("spark.kubernetes.executor.annotation.", "pods.executors.annotations"),
    ("spark.kubernetes.driver.volumes.", "pods.driver.volumes"),
    ("spark.kubernetes.executor.volumes.", "pods.executors.volumes"),
    ("spark.kubernetes.driver.node.selector.", "pods.driver.nodeSelector"),
    ("spark.kubernetes.executor.node.selector.", "pods.executors.nodeSelector"),
];

/// Returns the field of the manifest for a setting.
fn field(key: &str, manifest: &Manifest) -> Option<Field> {
    let spec = &manifest.spec;
    let compared = resource_field(key, &spec.resources)
        .or_else(|| engine_field(key, spec))
        .or_else(|| pool_field(key, &spec.run))
        .or_else(|| {
            let Job::Stream(stream) = &spec.job else { return None };
            state_field(key, &stream.state)
        });
    let (path, value) = compared.or_else(|| {
        let exact = FIELDS.iter().find(|(setting, _)| *setting == key);
        let (_, path) = exact.or_else(|| FAMILIES.iter().find(|(prefix, _)| key.starts_with(prefix)))?;
        Some((*path, None))
    })?;
    Some(Field { path, value })
}

/// The path of a field, and its value in Spark's notation.
pub(crate) type PathAndValue = (&'static str, Option<String>);

pub(crate) fn resource_field(key: &str, resources: &Resources) -> Option<PathAndValue> {
    let Resources { driver, executors, .. } = resources;
    let sizing = resources.sizing.map(|sizing| sizing == Sizing::Dynamic);
    Some(match key {
        "spark.driver.memory" => ("resources.driver.memory", text(Some(driver.memory))),
        "spark.driver.cores" => ("resources.driver.cores", text(Some(driver.cores))),
        "spark.driver.memoryOverhead" => ("resources.driver.memoryOverhead", text(driver.memory_overhead)),
        "spark.executor.memory" => ("resources.executors.memory", text(Some(executors.memory))),
        "spark.executor.cores" => ("resources.executors.cores", text(Some(executors.cores))),
        "spark.executor.memoryOverhead" => {
            ("resources.executors.memoryOverhead", text(executors.memory_overhead))
        }
        "spark.executor.instances" => ("resources.executors.instances", text(executors.instances)),
        "spark.dynamicAllocation.enabled" => ("resources.sizing", text(sizing)),
        "spark.dynamicAllocation.minExecutors" => ("resources.executors.min", text(executors.min)),
        "spark.dynamicAllocation.maxExecutors" => ("resources.executors.max", text(executors.max)),
        "spark.dynamicAllocation.initialExecutors" => {
            ("resources.executors.initial", text(executors.initial))
        }
        "spark.kubernetes.driver.request.cores" => ("resources.driver.cpuRequest", text(driver.cpu_request)),
        "spark.kubernetes.driver.limit.cores" => ("resources.driver.cpuLimit", text(driver.cpu_limit)),
        "spark.kubernetes.executor.request.cores" => {
            ("resources.executors.cpuRequest", text(executors.cpu_request))
        }
        "spark.kubernetes.executor.limit.cores" => {
            ("resources.executors.cpuLimit", text(executors.cpu_limit))
        }
        _ => return None,
    })
}

fn engine_field(key: &str, spec: &Spec) -> Option<PathAndValue> {
    let options = &spec.spark;
    Some(match key {
        "spark.driver.extraJavaOptions" => {
            ("spark.driverJavaOptions", text(options.driver_java_options.as_ref()))
        }
        "spark.executor.extraJavaOptions" => {
            ("spark.executorJavaOptions", text(options.executor_java_options.as_ref()))
        }
        "spark.kubernetes.container.image" => ("engine.image", text(spec.engine.image.as_ref())),
        _ => return None,
    })
}

fn pool_field(key: &str, run: &Run) -> Option<PathAndValue> {
    match run {
        Run::Pool(_) if key == SESSION_TIMEOUT => Some(("sessions.idleTimeout", None)),
        _ => None,
    }
}

fn state_field(key: &str, state: &State) -> Option<PathAndValue> {
    Some(match key {
        "spark.sql.shuffle.partitions" => ("job.stream.state.partitions", text(state.partitions)),
        "spark.sql.streaming.stateStore.providerClass" => ("job.stream.state.store", None),
        "spark.sql.streaming.minBatchesToRetain" => ("job.stream.state.minBatchesToRetain", None),
        _ => return None,
    })
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}
