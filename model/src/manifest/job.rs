//! The kinds of job.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one_of::exactly_one;
use super::text::{Scalar, ScalarOr};
use super::{ClassName, FileRef, Identifier, Stream};

/// The program or the SQL that the workload runs: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Job {
    /// SQL statements that run in sequence.
    Sql(Sql),
    /// A Python program.
    Pyspark(PySpark),
    /// A JVM program: Scala, Java or Kotlin.
    Jar(Jar),
    /// A declarative stream: sources, a query over them and a sink.
    Stream(Box<Stream>),
}

/// The kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobKind {
    Sql,
    Pyspark,
    Jar,
    Stream,
}

impl JobKind {
    /// Returns the field of the manifest.
    pub fn name(self) -> &'static str {
        match self {
            JobKind::Sql => "sql",
            JobKind::Pyspark => "pyspark",
            JobKind::Jar => "jar",
            JobKind::Stream => "stream",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Job {
    pub fn kind(&self) -> JobKind {
        match self {
            Job::Sql(_) => JobKind::Sql,
            Job::Pyspark(_) => JobKind::Pyspark,
            Job::Jar(_) => JobKind::Jar,
            Job::Stream(_) => JobKind::Stream,
        }
    }

    pub fn parameters(&self) -> Option<&BTreeMap<Identifier, Parameter>> {
        match self {
            Job::Sql(sql) => Some(&sql.parameters),
            Job::Pyspark(program) => Some(&program.parameters),
            Job::Jar(program) => Some(&program.parameters),
            Job::Stream(_) => None,
        }
    }

    /// Returns the arguments of a program.
    pub fn args(&self) -> &[Scalar] {
        match self {
            Job::Sql(_) | Job::Stream(_) => &[],
            Job::Pyspark(program) => &program.args,
            Job::Jar(program) => &program.args,
        }
    }
}

/// SQL statements that run in sequence. The result of the last one can be returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["query", "file"]))]
pub struct Sql {
    /// SQL in Spark's dialect. Statements are separated by `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "INSERT OVERWRITE lake.mart.orders SELECT * FROM lake.raw.orders WHERE day = :day")]
    pub query: Option<String>,
    /// The file that contains the SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
    /// Values of the SQL's `:name` markers. Spark binds them as parameters; they are never pasted into the SQL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub parameters: BTreeMap<Identifier, Parameter>,
    /// Stores the rows of the last statement as the result of the run.
    #[serde(default)]
    pub return_result: bool,
}

/// A Python program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PySpark {
    /// The file of the program.
    pub main: FileRef,
    /// Arguments of the program. `${param.name}` is replaced by the value of a parameter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["--day", "${param.day}"]]))]
    pub args: Vec<Scalar>,
    /// Python modules and packages (`.py`, `.zip`, `.egg`, `.whl`) on the Python path of the driver and the
    /// executors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub py_files: Vec<FileRef>,
    /// Parameters of each run, for `${param.name}` in the arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub parameters: BTreeMap<Identifier, Parameter>,
    #[serde(default, skip_serializing_if = "Python::is_empty")]
    pub environment: Python,
}

/// The Python environment of a program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Python {
    /// The Python interpreter of the driver and the executors: a path in the image or in `archive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/usr/bin/python3")]
    pub python: Option<String>,
    /// A packed environment (`venv-pack`, `conda-pack`), unpacked in the working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<FileRef>,
    /// Packages of the Python Package Index that the environment must contain, as `pip` requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["pandas==2.3.3"]]))]
    pub packages: Vec<String>,
}

impl Python {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A program for the JVM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jar {
    /// The jar that contains the program. Optional if the class is part of Spark or of a jar in `dependencies`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main: Option<FileRef>,
    /// The class whose `main` method runs.
    pub class: ClassName,
    /// Arguments of the program. `${param.name}` is replaced by the value of a parameter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Scalar>,
    /// Parameters of each run, for `${param.name}` in the arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub parameters: BTreeMap<Identifier, Parameter>,
}

/// A parameter of a job: its default value alone, or its type and the source of its value.
pub type Parameter = ScalarOr<TypedParameter>;

/// A parameter of a run. Its value is given when the run is started, taken from the run itself, or the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypedParameter {
    #[serde(rename = "type", default)]
    pub kind: ParameterType,
    /// The default value. A parameter with neither `default` nor `run` is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// The property of the run that is used if no value is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunValue>,
    /// The meaning of the parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The type of a parameter's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParameterType {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A date, `YYYY-MM-DD`.
    Date,
    /// A timestamp, `YYYY-MM-DDThh:mm:ss` with or without an offset.
    Timestamp,
}

/// A property of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunValue {
    /// The date for which a run is scheduled, `YYYY-MM-DD`.
    Date,
    /// The time for which a run is scheduled.
    Timestamp,
    /// The start of the data interval of a scheduled run.
    IntervalStart,
    /// The end of the data interval of a scheduled run.
    IntervalEnd,
    /// The identifier of the run.
    RunId,
}
