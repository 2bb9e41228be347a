//! The kinds of job.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one_of::exactly_one;
use super::text::{Scalar, ScalarOr};
use super::{ClassName, FileRef, Identifier, Stream};

/// What runs: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Job {
    /// SQL statements, run one after the other.
    Sql(Sql),
    /// A Python program.
    Pyspark(PySpark),
    /// A program for the JVM: Scala, Java or Kotlin.
    Jar(Jar),
    /// A declarative stream: sources, a query over them, and a sink.
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

    /// The arguments of a program.
    pub fn args(&self) -> &[Scalar] {
        match self {
            Job::Sql(_) | Job::Stream(_) => &[],
            Job::Pyspark(program) => &program.args,
            Job::Jar(program) => &program.args,
        }
    }
}

/// SQL statements, run one after the other. The result of the last one can be returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["query", "file"]))]
pub struct Sql {
    /// The SQL itself, in Spark's dialect. Statements are separated by `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "INSERT OVERWRITE lake.mart.orders SELECT * FROM lake.raw.orders WHERE day = :day")]
    pub query: Option<String>,
    /// A file with the SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
    /// Values for the SQL's `:name` markers. Spark binds them; they are never pasted into the text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub parameters: BTreeMap<Identifier, Parameter>,
    /// Whether the rows of the last statement are kept as the run's result.
    #[serde(default)]
    pub return_result: bool,
}

/// A Python program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PySpark {
    /// The program's file.
    pub main: FileRef,
    /// Its arguments. `${param.name}` stands for a parameter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["--day", "${param.day}"]]))]
    pub args: Vec<Scalar>,
    /// Modules, packages (`.zip`, `.egg`, `.whl`) put on the path of driver and executors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub py_files: Vec<FileRef>,
    /// Values that are given to each run, for `${param.name}` in the arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub parameters: BTreeMap<Identifier, Parameter>,
    #[serde(default, skip_serializing_if = "Python::is_empty")]
    pub environment: Python,
}

/// The Python that a program runs in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Python {
    /// The interpreter, for driver and executors: a path on the image, or inside of `archive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/usr/bin/python3")]
    pub python: Option<String>,
    /// A packed environment (`venv-pack`, `conda-pack`), unpacked beside the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<FileRef>,
    /// Packages of the Python Package Index that the environment must have, as `pip` writes them.
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
    /// The jar with the program. Without it, the class is one of Spark's own or comes from `dependencies`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main: Option<FileRef>,
    /// The class whose `main` is run.
    pub class: ClassName,
    /// Its arguments. `${param.name}` stands for a parameter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Scalar>,
    /// Values that are given to each run, for `${param.name}` in the arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "identifier"}))]
    pub parameters: BTreeMap<Identifier, Parameter>,
}

/// A parameter of a job: its default value alone, or its type and where its value comes from.
pub type Parameter = ScalarOr<TypedParameter>;

/// A value that a run is given: by whoever starts it, by the run itself, or its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypedParameter {
    #[serde(rename = "type", default)]
    pub kind: ParameterType,
    /// The value where none is given. A parameter without one, and without `run`, must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// What of the run is the value, where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunValue>,
    /// What the parameter means.
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
    /// A day, `YYYY-MM-DD`.
    Date,
    /// A moment, `YYYY-MM-DDThh:mm:ss` with or without an offset.
    Timestamp,
}

/// What a run knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunValue {
    /// The date that a scheduled run is for, `YYYY-MM-DD`.
    Date,
    /// The moment that a scheduled run is for.
    Timestamp,
    /// Where the interval of data begins that a scheduled run is for.
    IntervalStart,
    /// Where that interval ends.
    IntervalEnd,
    /// The identifier of the run.
    RunId,
}
