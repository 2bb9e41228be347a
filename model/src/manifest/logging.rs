//! The log of Spark: levels and format.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClassName;

/// The log of the driver and of the executors: levels and format. It needs no change of an image, and replaces a
/// `log4j2.properties` of the image and of `spark.configMap`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// The level of loggers that `loggers` does not list. Warnings of Spark are always logged, because dcp finds the
    /// causes of failures in them.
    #[serde(default)]
    pub level: RootLevel,
    /// The levels of single loggers and of those below them, by the name of a package or of a class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 200,
        "examples" = [{"com.example.orders": "debug", "org.apache.hadoop": "error"}],
        "propertyNames" = {"format": "class-name"},
    ))]
    pub loggers: BTreeMap<ClassName, LogLevel>,
    /// The format of events.
    #[serde(default)]
    pub format: LogFormat,
}

/// The level of most loggers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RootLevel {
    /// Everything, also what is for developers of a library.
    Trace,
    /// Details for the search of faults.
    Debug,
    /// Progress of the work.
    #[default]
    Info,
    /// What may be wrong, and errors.
    Warn,
}

/// The level of a logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogLevel {
    /// Everything, also what is for developers of a library.
    Trace,
    /// Details for the search of faults.
    Debug,
    /// Progress of the work.
    Info,
    /// What may be wrong, and errors.
    Warn,
    /// Errors only.
    Error,
    /// Nothing.
    Off,
}

/// The format of the events of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// The pattern of Spark: `26/01/31 02:00:11 ERROR Executor: message`.
    #[default]
    Text,
    /// An object of JSON on each line: `ts`, `level`, `logger`, `msg`, `context`, `exception`. Needs Spark 4.0.
    Json,
}

impl RootLevel {
    /// Returns the name of the level in log4j.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
        }
    }
}

impl LogLevel {
    /// Returns the name of the level in log4j.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Off => "off",
        }
    }
}
