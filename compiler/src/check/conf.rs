//! Checks of Spark settings that the platform controls, or that have a field in the manifest.

use dcp_model::manifest::{Job, Manifest, Memory, Sizing};

use super::Subject;
use super::settings::{self, Suggestion};
use crate::diag::{Code, Diagnostic};

pub(super) fn check(subject: &mut Subject<'_>) {
    let manifest = subject.manifest;
    for (key, value) in &manifest.spec.spark.conf {
        let path = ["spec", "spark", "conf", key.as_str()];
        if !key.starts_with("spark.")
            || key.len() > 512
            || key.contains(|c: char| c.is_whitespace() || c.is_control() || c == '=')
        {
            let at = subject.key(&path);
            let help = match key.strip_prefix("hadoop.") {
                Some(rest) => format!("put it under `hadoopConf`, as `{rest}`"),
                None if key.starts_with("fs.") || key.starts_with("hive.") => {
                    format!("put it under `hadoopConf`, as `{key}`")
                }
                None => "settings of Spark begin with `spark.`".to_owned(),
            };
            subject.problem(Code::NOT_A_SPARK_KEY, "this is no setting of Spark", at, "", help);
        } else if let Some(why) = reserved(key) {
            let at = subject.key(&path);
            subject.problem(
                Code::RESERVED_CONF,
                format!("`{key}` belongs to the platform"),
                at,
                "can't be set here",
                why,
            );
        } else if key.starts_with("spark.sql.adaptive.") && matches!(manifest.spec.job, Job::Stream(_)) {
            let at = subject.key(&path);
            let message = format!("`{key}` has no effect on a stream");
            subject.problem(
                Code::REDUNDANT_CONF,
                message,
                at,
                "",
                "remove it: Spark turns adaptive execution off in streaming",
            );
        } else if let Some(field) = field(key, manifest) {
            let at = subject.key(&path);
            let written = subject.has(&["spec"].into_iter().chain(field.path.split('.')).collect::<Vec<_>>());
            subject.report(contradiction(key, value.as_str(), &field, written).at(at, "set here"));
        } else if let Some(suggestion) = settings::suggestion(key, manifest.spec.engine.version.spark()) {
            let at = subject.key(&path);
            subject.report(unknown(key, &suggestion, manifest.spec.engine.version.as_str()).at(at, ""));
        }
    }
    for key in manifest.spec.spark.hadoop_conf.keys() {
        if let Some(rest) = key.strip_prefix("spark.hadoop.").or_else(|| key.strip_prefix("spark.")) {
            let at = subject.key(&["spec", "spark", "hadoopConf", key]);
            let help = if key.starts_with("spark.hadoop.") {
                format!("write `{rest}`: the prefix is added")
            } else {
                "put it under `conf`".to_owned()
            };
            subject.problem(Code::NOT_A_SPARK_KEY, "this is no setting of Hadoop", at, "", help);
        }
    }
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

fn reserved(key: &str) -> Option<&'static str> {
    let exact = RESERVED.iter().find(|(reserved, _)| *reserved == key).map(|(_, why)| *why);
    exact.or_else(|| {
        key.starts_with("spark.dcp.")
            .then_some("remove it: settings below `spark.dcp` are the platform's own")
    })
}

struct Field {
    path: &'static str,
    /// The value of the field in Spark's notation.
    value: Option<String>,
}

/// Returns the field of the manifest for a setting.
fn field(key: &str, manifest: &Manifest) -> Option<Field> {
    let spec = &manifest.spec;
    let (driver, executors) = (&spec.resources.driver, &spec.resources.executors);
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
    let stream = if let Job::Stream(stream) = &spec.job { Some(&stream.state) } else { None };
    let (path, value) = match key {
        "spark.driver.memory" => ("resources.driver.memory", text(Some(&driver.memory))),
        "spark.driver.cores" => ("resources.driver.cores", text(Some(&driver.cores))),
        "spark.driver.memoryOverhead" => {
            ("resources.driver.memoryOverhead", driver.memory_overhead.map(|it| it.to_string()))
        }
        "spark.executor.memory" => ("resources.executors.memory", text(Some(&executors.memory))),
        "spark.executor.cores" => ("resources.executors.cores", text(Some(&executors.cores))),
        "spark.executor.memoryOverhead" => {
            ("resources.executors.memoryOverhead", executors.memory_overhead.map(|it| it.to_string()))
        }
        "spark.executor.instances" => {
            ("resources.executors.instances", executors.instances.map(|it| it.to_string()))
        }
        "spark.dynamicAllocation.enabled" => {
            ("resources.sizing", spec.resources.sizing.map(|sizing| (sizing == Sizing::Dynamic).to_string()))
        }
        "spark.dynamicAllocation.minExecutors" => {
            ("resources.executors.min", executors.min.map(|it| it.to_string()))
        }
        "spark.dynamicAllocation.maxExecutors" => {
            ("resources.executors.max", executors.max.map(|it| it.to_string()))
        }
        "spark.dynamicAllocation.initialExecutors" => {
            ("resources.executors.initial", executors.initial.map(|it| it.to_string()))
        }
        "spark.kubernetes.driver.request.cores" => {
            ("resources.driver.cpuRequest", driver.cpu_request.map(|it| it.to_string()))
        }
        "spark.kubernetes.driver.limit.cores" => {
            ("resources.driver.cpuLimit", driver.cpu_limit.map(|it| it.to_string()))
        }
        "spark.kubernetes.executor.request.cores" => {
            ("resources.executors.cpuRequest", executors.cpu_request.map(|it| it.to_string()))
        }
        "spark.kubernetes.executor.limit.cores" => {
            ("resources.executors.cpuLimit", executors.cpu_limit.map(|it| it.to_string()))
        }
        "spark.jars" => ("dependencies.jars", None),
        "spark.jars.packages" => ("dependencies.packages", None),
        "spark.jars.excludes" => ("dependencies.excludePackages", None),
        "spark.jars.repositories" => ("dependencies.repositories", None),
        "spark.files" => ("dependencies.files", None),
        "spark.archives" => ("dependencies.archives", None),
        "spark.submit.pyFiles" => ("job.pyspark.pyFiles", None),
        "spark.pyspark.python" | "spark.pyspark.driver.python" => ("job.pyspark.environment.python", None),
        "spark.driver.extraJavaOptions" => {
            ("spark.driverJavaOptions", spec.spark.driver_java_options.clone())
        }
        "spark.executor.extraJavaOptions" => {
            ("spark.executorJavaOptions", spec.spark.executor_java_options.clone())
        }
        "spark.kubernetes.container.image" => {
            ("engine.image", spec.engine.image.as_ref().map(ToString::to_string))
        }
        "spark.kubernetes.driver.container.image" => ("pods.driver.image", None),
        "spark.kubernetes.executor.container.image" => ("pods.executors.image", None),
        "spark.kubernetes.container.image.pullPolicy" => ("pods.imagePullPolicy", None),
        "spark.kubernetes.container.image.pullSecrets" => ("pods.imagePullSecrets", None),
        "spark.kubernetes.authenticate.driver.serviceAccountName" => ("pods.driver.serviceAccount", None),
        "spark.kubernetes.authenticate.executor.serviceAccountName" => {
            ("pods.executors.serviceAccount", None)
        }
        "spark.sql.shuffle.partitions" if stream.is_some() => (
            "job.stream.state.partitions",
            stream.and_then(|state| state.partitions).map(|it| it.to_string()),
        ),
        "spark.sql.streaming.stateStore.providerClass" if stream.is_some() => {
            ("job.stream.state.store", None)
        }
        "spark.sql.streaming.minBatchesToRetain" if stream.is_some() => {
            ("job.stream.state.minBatchesToRetain", None)
        }
        _ => return field_of_family(key),
    };
    Some(Field { path, value })
}

/// Returns the field of the manifest for a family of settings.
fn field_of_family(key: &str) -> Option<Field> {
    let families = [
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
    let path = families.into_iter().find(|(prefix, _)| key.starts_with(prefix))?.1;
    Some(Field { path, value: None })
}
