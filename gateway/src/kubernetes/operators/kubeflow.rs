//! Kubeflow's operator for Spark, by its version 2.5.2.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::hint::{Hint, message};
use super::submission::Submission;
use crate::Name;
use crate::error::{Error, Result};

/// The type of a value.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// A number that is at least 1.
    Count,
    Switch,
    List,
}

/// Settings that a field of the custom resource has instead: the setting, the field, and its type. The operator's
/// webhook rejects some of the settings, and its checks of quotas read the fields.
const FIELDS: &[(&str, &[&str], Kind)] = &[
    ("spark.kubernetes.container.image", &["image"], Kind::Text),
    ("spark.kubernetes.container.image.pullPolicy", &["imagePullPolicy"], Kind::Text),
    ("spark.kubernetes.container.image.pullSecrets", &["imagePullSecrets"], Kind::List),
    ("spark.kubernetes.memoryOverheadFactor", &["memoryOverheadFactor"], Kind::Text),
    ("spark.jars", &["deps", "jars"], Kind::List),
    ("spark.jars.packages", &["deps", "packages"], Kind::List),
    ("spark.jars.excludes", &["deps", "excludePackages"], Kind::List),
    ("spark.jars.repositories", &["deps", "repositories"], Kind::List),
    ("spark.files", &["deps", "files"], Kind::List),
    ("spark.archives", &["deps", "archives"], Kind::List),
    ("spark.submit.pyFiles", &["deps", "pyFiles"], Kind::List),
    ("spark.driver.cores", &["driver", "cores"], Kind::Count),
    ("spark.driver.memory", &["driver", "memory"], Kind::Text),
    ("spark.driver.memoryOverhead", &["driver", "memoryOverhead"], Kind::Text),
    ("spark.driver.extraJavaOptions", &["driver", "javaOptions"], Kind::Text),
    ("spark.kubernetes.driver.request.cores", &["driver", "coreRequest"], Kind::Text),
    ("spark.kubernetes.driver.limit.cores", &["driver", "coreLimit"], Kind::Text),
    ("spark.kubernetes.driver.container.image", &["driver", "image"], Kind::Text),
    ("spark.executor.instances", &["executor", "instances"], Kind::Count),
    ("spark.executor.cores", &["executor", "cores"], Kind::Count),
    ("spark.executor.memory", &["executor", "memory"], Kind::Text),
    ("spark.executor.memoryOverhead", &["executor", "memoryOverhead"], Kind::Text),
    ("spark.executor.extraJavaOptions", &["executor", "javaOptions"], Kind::Text),
    ("spark.kubernetes.executor.request.cores", &["executor", "coreRequest"], Kind::Text),
    ("spark.kubernetes.executor.limit.cores", &["executor", "coreLimit"], Kind::Text),
    ("spark.kubernetes.executor.container.image", &["executor", "image"], Kind::Text),
    ("spark.kubernetes.executor.deleteOnTermination", &["executor", "deleteOnTermination"], Kind::Switch),
];

/// The fields of dynamic allocation, which the operator reads if it is enabled.
const DYNAMIC: &[(&str, &[&str], Kind)] = &[
    ("spark.dynamicAllocation.enabled", &["dynamicAllocation", "enabled"], Kind::Switch),
    ("spark.dynamicAllocation.initialExecutors", &["dynamicAllocation", "initialExecutors"], Kind::Count),
    ("spark.dynamicAllocation.minExecutors", &["dynamicAllocation", "minExecutors"], Kind::Count),
    ("spark.dynamicAllocation.maxExecutors", &["dynamicAllocation", "maxExecutors"], Kind::Count),
    (
        "spark.dynamicAllocation.shuffleTracking.enabled",
        &["dynamicAllocation", "shuffleTrackingEnabled"],
        Kind::Switch,
    ),
];

/// Returns the specification of a custom resource.
pub(super) fn spec(name: &Name, mut submission: Submission) -> Result<Value> {
    check(name, &submission)?;
    let mut spec = json!({
        "type": if submission.is_python { "Python" } else { "Java" },
        "mode": "cluster",
        "sparkVersion": submission.spark_version,
        "restartPolicy": {"type": "Never"},
        "mainApplicationFile": submission.program.take().unwrap_or_else(|| "spark-internal".to_owned()),
        "driver": {"serviceAccount": submission.driver_account, "template": submission.driver_template},
        "executor": {"serviceAccount": submission.executor_account, "template": submission.executor_template},
    });
    if let Some(class) = submission.main_class.take() {
        spec["mainClass"] = json!(class);
    }
    if !submission.arguments.is_empty() {
        spec["arguments"] = json!(submission.arguments);
    }
    let is_dynamic = submission.conf.get("spark.dynamicAllocation.enabled").is_some_and(|it| it == "true");
    for (key, field, kind) in FIELDS.iter().chain(DYNAMIC.iter().filter(|_| is_dynamic)) {
        let Some(value) = submission.conf.get(*key).and_then(|text| typed(text, *kind)) else { continue };
        submission.take(key);
        *field.iter().fold(&mut spec, |under, part| &mut under[*part]) = value;
    }
    let (hadoop, conf): (Map<_, _>, Map<_, _>) = submission
        .conf
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .partition(|(key, _)| key.starts_with(HADOOP));
    if !hadoop.is_empty() {
        let hadoop = hadoop.into_iter().map(|(key, value)| (key[HADOOP.len()..].to_owned(), value));
        spec["hadoopConf"] = Value::Object(hadoop.collect());
    }
    spec["sparkConf"] = Value::Object(conf);
    Ok(spec)
}

const HADOOP: &str = "spark.hadoop.";

/// Rejects an application that the operator's webhook or Spark's submitter would reject.
fn check(name: &Name, submission: &Submission) -> Result<()> {
    if !name.as_str().starts_with(|first: char| first.is_ascii_lowercase()) {
        let message = format!("the operator needs a name that begins with a letter, unlike `{name}`");
        return Err(Error::Invalid(message));
    }
    let program = submission.program.as_deref().unwrap_or_default();
    if submission.is_python && Path::new(program).extension().is_none_or(|extension| extension != "py") {
        let reason = format!("Spark's submitter takes `{program}` for a jar, as it does not end with `.py`");
        return Err(Error::field("job.pyspark.main", reason));
    }
    Ok(())
}

/// Returns a setting's value for a field; nothing if the field can't have it.
fn typed(text: &str, kind: Kind) -> Option<Value> {
    match kind {
        Kind::Text => Some(json!(text)),
        Kind::Count => text.trim().parse::<i32>().ok().filter(|count| *count >= 1).map(|count| json!(count)),
        Kind::Switch => text.trim().parse::<bool>().ok().map(|switch| json!(switch)),
        Kind::List => {
            let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
            (!items.is_empty()).then(|| json!(items))
        }
    }
}

/// Reads the status of a custom resource.
pub(super) fn hint(resource: &Value) -> Hint {
    let status = &resource["status"];
    let state = &status["applicationState"];
    let message = message(&state["errorMessage"]);
    match state["state"].as_str().unwrap_or_default() {
        "SUBMITTED" | "RUNNING" => Hint::DriverRequested,
        "SUCCEEDING" | "COMPLETED" => Hint::Ended { succeeded: Some(true), message },
        "SUBMISSION_FAILED" => Hint::SubmissionFailed { message: message.unwrap_or_default() },
        // The operator counts the submissions that succeeded.
        "FAILED" if status["executionAttempts"].as_u64().unwrap_or(0) == 0 => {
            Hint::SubmissionFailed { message: message.unwrap_or_default() }
        }
        "FAILING" | "FAILED" => Hint::Ended { succeeded: Some(false), message },
        "SUSPENDING" | "SUSPENDED" => Hint::Suspended,
        // New, `RESUMING`, and the states of a rerun that somebody else has caused; `UNKNOWN` says nothing.
        _ => Hint::Submitting,
    }
}
