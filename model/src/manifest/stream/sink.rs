//! Sinks of streams.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FileFormat, KafkaFormat, default_true};
use crate::manifest::one_of::exactly_one;
use crate::manifest::text::{Scalar, ScalarOr};
use crate::manifest::{Location, TableName, Topic};

/// The sink of a stream: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Sink {
    /// A Kafka topic.
    Kafka(Box<KafkaSink>),
    /// Files in a directory.
    Files(FileSink),
    /// A table of the catalog.
    Table(ScalarOr<TableSink>),
    /// A table of the catalog that is updated with `MERGE`.
    Merge(Box<MergeSink>),
    /// A table of a database, written over JDBC.
    Jdbc(Box<JdbcSink>),
    /// The log of the driver, for tests.
    Console(Console),
}

impl Sink {
    pub fn kind(&self) -> &'static str {
        match self {
            Sink::Kafka(_) => "kafka",
            Sink::Files(_) => "files",
            Sink::Table(_) => "table",
            Sink::Merge(_) => "merge",
            Sink::Jdbc(_) => "jdbc",
            Sink::Console(_) => "console",
        }
    }
}

/// A Kafka topic. A query with a column `value` writes it, and optionally the columns `key`, `headers` and
/// `partition`. Rows of other queries are encoded in the `format`, except `text` and `raw`, which take one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSink {
    /// The brokers, `host:port` separated by commas.
    #[schemars(length(min = 1))]
    pub servers: String,
    /// The topic.
    pub topic: Topic,
    /// The format of a message's value. `raw` writes the column `value` unchanged.
    #[serde(default)]
    pub format: KafkaFormat,
    /// The column that contains the key of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Options of Spark's Kafka sink. Options of the Kafka producer have the prefix `kafka.`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// Files in a directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSink {
    /// The directory.
    pub path: Location,
    pub format: FileFormat,
    /// The columns by which the files are partitioned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// Options of Spark's writer of this format.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// A table of the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableSink {
    /// The table.
    pub name: TableName,
    /// The partition columns, if the stream creates the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// The format of the table, if the stream creates it: `iceberg`, `delta`, `parquet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Options of the table's writer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// A table of the catalog that is updated with `MERGE`: a row replaces the row with the same keys, or is inserted.
/// The table must exist, in a format that supports `MERGE`, such as Iceberg or Delta.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MergeSink {
    /// The table.
    pub table: TableName,
    /// The columns that identify a row.
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// The column that orders rows of a batch with the same keys: the row with the greatest value is written. If
    /// omitted, such a batch fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub order_by: Option<String>,
    /// A boolean column of the query. If it is true, the row with the same keys is deleted. The column is not written
    /// to the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub delete: Option<String>,
}

/// A table of a database, written over JDBC. The jar of the JDBC driver comes from `dependencies`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JdbcSink {
    /// The JDBC URL of the database, without a user and without a password.
    #[schemars(
        regex(pattern = r"^jdbc:[a-z0-9]+:\S+$"),
        example = "jdbc:postgresql://db.example.com:5432/shop"
    )]
    pub url: String,
    /// The table, which must exist. Its name and the names of its columns are quoted, and used exactly as written.
    pub table: TableName,
    /// The user of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub user: Option<String>,
    /// The password, as a reference to a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "${secret.shop-db/password}")]
    pub password: Option<String>,
    /// The write mode, which determines the guarantee after a failure.
    #[serde(default)]
    pub mode: JdbcMode,
    /// The columns of a unique index of the table, by which `upsert` identifies a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// The column by which `upsert` orders rows of a batch with the same keys: the row with the greatest value is
    /// written. If omitted, such a batch fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub order_by: Option<String>,
    /// Options of Spark's JDBC writer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// The write modes of a database sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum JdbcMode {
    /// Inserts rows, at least once: after a failure, rows of the last batch may be repeated.
    #[default]
    Append,
    /// Inserts rows exactly once. Requires PostgreSQL.
    AppendOnce,
    /// Replaces the row with the same `keys`, or inserts the row. Exactly once. Requires PostgreSQL.
    Upsert,
}

impl JdbcMode {
    pub fn name(self) -> &'static str {
        match self {
            JdbcMode::Append => "append",
            JdbcMode::AppendOnce => "appendOnce",
            JdbcMode::Upsert => "upsert",
        }
    }
}

/// The log of the driver, for tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Console {
    /// Maximum number of rows of a batch that are printed.
    #[serde(default = "Console::default_rows")]
    #[schemars(range(min = 1))]
    pub rows: u32,
    /// Truncates long values.
    #[serde(default = "default_true")]
    pub truncate: bool,
}

impl Console {
    fn default_rows() -> u32 {
        20
    }
}
