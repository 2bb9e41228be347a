//! Checks that dcp can read the log that a manifest configures, and that nothing else configures it.

use dcp_model::manifest::{ClassName, LogFormat, LogLevel};

use super::Subject;
use crate::diag::Code;

/// The loggers in whose warnings dcp finds the causes of failures.
const NEEDED: &[&str] = &[
    "org.apache.spark.deploy.SparkSubmit",
    "org.apache.spark.executor.Executor",
    "org.apache.spark.scheduler",
    "org.apache.spark.SparkContext",
    "org.apache.spark.sql.execution.streaming",
    "org.apache.spark.util.SparkUncaughtExceptionHandler",
];

/// The first version of Spark that has the layout for JSON.
const JSON_SINCE: (u32, u32) = (4, 0);

/// Options of the JVM that name another configuration.
const CONFIGURATION: &[&str] =
    &["log4j2.configurationFile", "log4j.configurationFile", "log4j.configuration"];

pub(super) fn check(subject: &mut Subject<'_>) {
    let manifest = subject.manifest;
    let spark = &manifest.spec.spark;
    let Some(logging) = &spark.logging else { return };
    for (logger, level) in &logging.loggers {
        if *level > LogLevel::Warn && hides_causes(logger) {
            let at = subject.at(&["spec", "spark", "logging", "loggers", logger.as_str()]);
            let message = format!("`{logger}` must log warnings");
            let label = "hides the causes of failures";
            let help = "write `warn`: dcp finds the causes of failures in warnings of Spark";
            subject.problem(Code::BAD_LOGGING, message, at, label, help);
        }
    }
    let version = &manifest.spec.engine.version;
    if logging.format == LogFormat::Json && version.spark().is_some_and(|version| version < JSON_SINCE) {
        let at = subject.at(&["spec", "spark", "logging", "format"]);
        let message = format!("Spark {version} has no layout for JSON");
        subject.problem(Code::BAD_LOGGING, message, at, "needs Spark 4.0", "write `text`, or use Spark 4");
    }
    for (field, options) in [
        ("driverJavaOptions", &spark.driver_java_options),
        ("executorJavaOptions", &spark.executor_java_options),
    ] {
        let found = options
            .iter()
            .find_map(|it| CONFIGURATION.iter().find(|name| it.contains(&format!("-D{name}="))));
        if let Some(name) = found {
            let at = subject.at(&["spec", "spark", field]);
            let message = format!("`{name}` names another configuration of the log than `spark.logging`");
            subject.problem(
                Code::BAD_LOGGING,
                message,
                at,
                "a second configuration",
                "remove one of the two",
            );
        }
    }
}

/// Returns true if the level of a logger is that of one which dcp reads.
fn hides_causes(logger: &ClassName) -> bool {
    let logger = logger.as_str();
    let is_below = |name: &str, above: &str| {
        name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    NEEDED.iter().any(|needed| is_below(needed, logger) || is_below(logger, needed))
}
