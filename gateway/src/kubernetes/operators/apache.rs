//! Apache's operator for Spark, by its version 1.0.0.

use serde_json::{Map, Value, json};

use super::super::labels;
use super::hint::{Hint, message};
use super::submission::Submission;
use crate::Name;

/// Without this class, the operator takes a list of Python files for one program.
const PYTHON_RUNNER: &str = "org.apache.spark.deploy.PythonRunner";

/// Returns the specification of a custom resource.
pub(super) fn spec(name: &Name, mut submission: Submission) -> Value {
    let mut spec = Map::new();
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            spec.insert(key.to_owned(), json!(value));
        }
    };
    if submission.is_python {
        let program = submission.program.take().unwrap_or_default();
        let files = submission.take("spark.submit.pyFiles").into_iter();
        set("mainClass", Some(PYTHON_RUNNER.to_owned()));
        set("pyFiles", Some([program].into_iter().chain(files).collect::<Vec<_>>().join(",")));
    } else {
        set("mainClass", submission.main_class.take());
        set("jars", submission.program.take());
    }
    let mut versions = json!({"sparkVersion": submission.spark_version});
    if let Some(scala) = &submission.scala_version {
        versions["scalaVersion"] = json!(scala);
    }
    spec.insert("runtimeVersions".to_owned(), versions);
    spec.insert("deploymentMode".to_owned(), json!("ClusterMode"));
    if !submission.arguments.is_empty() {
        spec.insert("driverArgs".to_owned(), json!(submission.arguments));
    }
    spec.insert("sparkConf".to_owned(), conf(name, &mut submission));
    spec.insert("applicationTolerations".to_owned(), tolerations());
    spec.insert("driverSpec".to_owned(), json!({"podTemplateSpec": submission.driver_template}));
    spec.insert("executorSpec".to_owned(), json!({"podTemplateSpec": submission.executor_template}));
    Value::Object(spec)
}

/// Returns the settings of Spark. The operator ignores the field `files`, so they have the application's files.
fn conf(name: &Name, submission: &mut Submission) -> Value {
    let mut conf = std::mem::take(&mut submission.conf);
    for (key, value) in [
        ("spark.app.name", name.as_str()),
        ("spark.kubernetes.authenticate.driver.serviceAccountName", &submission.driver_account),
        ("spark.kubernetes.authenticate.executor.serviceAccountName", &submission.executor_account),
        ("spark.kubernetes.driver.podTemplateContainerName", labels::DRIVER_CONTAINER),
        ("spark.kubernetes.executor.podTemplateContainerName", labels::EXECUTOR_CONTAINER),
    ] {
        conf.insert(key.to_owned(), value.to_owned());
    }
    json!(conf)
}

/// Returns the settings by which the operator restarts nothing, deletes nothing, and waits as long as the Runner does.
fn tolerations() -> Value {
    json!({
        "restartConfig": {"restartPolicy": "Never"},
        // The driver's pod and its log stay until the Gateway deletes them.
        "resourceRetainPolicy": "Always",
        // Zero turns a timeout off.
        "applicationTimeoutConfig": {
            "driverStartTimeoutMillis": 0,
            "driverReadyTimeoutMillis": 0,
            "executorStartTimeoutMillis": 0,
        },
    })
}

/// Reads the status of a custom resource.
pub(super) fn hint(resource: &Value) -> Hint {
    let status = &resource["status"];
    let current = &status["currentState"];
    match current["currentStateSummary"].as_str() {
        // These say that the operator is done, whatever the result.
        Some("ResourceReleased" | "TerminatedWithoutReleaseResources") => {
            of_terminated(&status["stateTransitionHistory"])
        }
        Some(_) => of_state(current),
        None => Hint::Submitting,
    }
}

fn of_state(state: &Value) -> Hint {
    let message = message(&state["message"]);
    let ended = |succeeded| Hint::Ended { succeeded: Some(succeeded), message: message.clone() };
    match state["currentStateSummary"].as_str().unwrap_or_default() {
        "DriverRequested"
        | "DriverStarted"
        | "DriverReady"
        | "InitializedBelowThresholdExecutors"
        | "RunningHealthy"
        | "RunningWithPartialCapacity"
        | "RunningWithBelowThresholdExecutors" => Hint::DriverRequested,
        "Succeeded" => ended(true),
        "Failed"
        | "DriverEvicted"
        | "DriverStartTimedOut"
        | "DriverReadyTimedOut"
        | "ExecutorsStartTimedOut" => ended(false),
        "SchedulingFailure" => Hint::SubmissionFailed { message: message.unwrap_or_default() },
        // `Submitted`, `ScheduledToRestart`, and the states of later versions: nothing follows from them.
        _ => Hint::Submitting,
    }
}

/// Reads the state before the last ones, which say nothing about the result.
fn of_terminated(history: &Value) -> Hint {
    let history = history.as_object().into_iter().flatten();
    let mut states: Vec<(u64, Hint)> =
        history.filter_map(|(number, state)| Some((number.parse().ok()?, of_state(state)))).collect();
    states.sort_by_key(|(number, _)| *number);
    let result = states.into_iter().rev().map(|(_, hint)| hint);
    let mut result = result.skip_while(|hint| *hint == Hint::Submitting);
    match result.next() {
        Some(hint @ (Hint::Ended { .. } | Hint::SubmissionFailed { .. })) => hint,
        _ => Hint::Ended { succeeded: None, message: None },
    }
}
