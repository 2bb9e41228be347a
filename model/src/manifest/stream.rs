//! Declarative streams.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::one_of::exactly_one;
use super::text::{OneOrMany, Scalar, ScalarOr};
use super::{DataType, Delay, Duration, FileRef, Identifier, Location, TableName, Topic};

/// A declarative stream: sources, one query over them, and a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["query", "file"]))]
pub struct Stream {
    /// What is read, each under the name by which the query knows it.
    #[schemars(extend("minProperties" = 1, "propertyNames" = {"format": "identifier"}))]
    pub sources: BTreeMap<Identifier, Source>,
    /// The query, in Spark's dialect of SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A file with the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
    /// How long late events are waited for, for each source that has them.
    #[serde(default, skip_serializing_if = "no_watermarks")]
    pub watermark: OneOrMany<Watermark>,
    /// Sources whose repeated events are dropped before the query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deduplicate: Vec<Deduplicate>,
    pub sink: Sink,
    #[serde(default)]
    pub output_mode: OutputMode,
    #[serde(default, skip_serializing_if = "State::is_empty")]
    pub state: State,
    /// Where a stream that is not `continuous` keeps its progress between runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Location>,
}

fn no_watermarks(watermarks: &OneOrMany<Watermark>) -> bool {
    watermarks.0.is_empty()
}

/// One thing that a stream reads: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Source {
    /// One or several Kafka topics.
    Kafka(Box<KafkaSource>),
    /// Files as they arrive in a folder.
    Files(Box<FileSource>),
    /// A table: as it is at every batch, or its changes where `stream` is set.
    Table(ScalarOr<TableSource>),
    /// Rows made up at a steady rate, for trying things out.
    Rate(Rate),
}

impl Source {
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Kafka(_) => "kafka",
            Source::Files(_) => "files",
            Source::Table(_) => "table",
            Source::Rate(_) => "rate",
        }
    }

    /// Whether what arrives makes the stream go on; a static source is read as it is.
    pub fn is_streaming(&self) -> bool {
        match self {
            Source::Kafka(kafka) => !kafka.r#static,
            Source::Files(files) => !files.r#static,
            Source::Table(ScalarOr::Scalar(_)) => false,
            Source::Table(ScalarOr::Map(table)) => table.stream,
            Source::Rate(_) => true,
        }
    }

    /// The columns, where the manifest says which there are.
    pub fn columns(&self) -> Option<&Columns> {
        match self {
            Source::Kafka(kafka) => kafka.schema.as_ref(),
            Source::Files(files) => files.schema.as_ref(),
            Source::Table(_) | Source::Rate(_) => None,
        }
    }
}

/// Columns and their types, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns(pub Vec<(String, DataType)>);

#[derive(Serialize, Deserialize)]
struct ColumnEntry<'a> {
    name: std::borrow::Cow<'a, str>,
    #[serde(rename = "type")]
    data_type: std::borrow::Cow<'a, DataType>,
}

impl Serialize for Columns {
    /// As a list, since the order counts and canonical JSON sorts its keys.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(name, data_type)| ColumnEntry {
            name: name.into(),
            data_type: std::borrow::Cow::Borrowed(data_type),
        }))
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of column names and types")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(Columns(columns))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(entry) = items.next_element::<ColumnEntry<'_>>()? {
                    columns.push((entry.name.into_owned(), entry.data_type.into_owned()));
                }
                Ok(Columns(columns))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let data_type = generator.subschema_for::<DataType>();
        json_schema!({
            "type": "object",
            "description": "Columns and their types, in order.",
            "additionalProperties": data_type,
            "minProperties": 1,
            "examples": [{ "store": "string", "ts": "timestamp" }],
        })
    }
}

/// One or several Kafka topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["topic", "topics", "topicPattern"]))]
pub struct KafkaSource {
    /// The brokers, `host:port` separated by commas.
    #[schemars(length(min = 1), example = "kafka-1:9092,kafka-2:9092")]
    pub servers: String,
    /// The topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// Several topics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub topics: Vec<Topic>,
    /// All topics whose names match, as a Java regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_pattern: Option<String>,
    /// What the value of a message is.
    #[serde(default)]
    pub format: KafkaFormat,
    /// The columns of a message's value. Kafka's own are there beside them as `_key`, `_topic`, `_partition`, `_offset` and `_timestamp`; without a schema, as `key`, `value`, `topic`, `partition`, `offset` and `timestamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Columns>,
    /// A file with the Avro schema of a message's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avro_schema: Option<FileRef>,
    /// Where to begin when there is no checkpoint yet.
    #[serde(default)]
    pub starting_offsets: Offsets,
    /// How many messages a batch takes at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_offsets_per_trigger: Option<u64>,
    /// How many messages a batch waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_offsets_per_trigger: Option<u64>,
    /// Whether to stop when messages are gone before they were read.
    #[serde(default = "yes")]
    pub fail_on_data_loss: bool,
    /// Whether the topics are read as they are at every batch, instead of as a stream.
    #[serde(default, rename = "static")]
    pub r#static: bool,
    /// Options of Spark's Kafka source, and of the consumer with the prefix `kafka.`, for all that has no field here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

impl KafkaSource {
    /// The topics that are named; none where they are given by a pattern.
    pub fn named_topics(&self) -> impl Iterator<Item = &Topic> {
        self.topic.iter().chain(&self.topics)
    }
}

fn yes() -> bool {
    true
}

/// What the value of a Kafka message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum KafkaFormat {
    /// A JSON object with a field for each column.
    #[default]
    Json,
    /// Avro, by the schema in `avroSchema`.
    Avro,
    /// A line of values separated by commas.
    Csv,
    /// Text, in one column.
    Text,
    /// Bytes, as they are.
    Raw,
}

/// Where to begin reading topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Offsets {
    /// With the oldest message that is still there.
    #[default]
    Earliest,
    /// With the first message that comes after the start.
    Latest,
}

/// Files as they arrive in a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// The folder; it may hold `*`.
    pub path: Location,
    pub format: FileFormat,
    /// The columns. Formats that carry none of their own need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Columns>,
    /// How many files a batch takes at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_files_per_trigger: Option<u64>,
    /// Whether the newest files are read first.
    #[serde(default)]
    pub latest_first: bool,
    /// What happens to files that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean_source: Option<CleanSource>,
    /// Whether the folder is read as it is at every batch, instead of as a stream.
    #[serde(default, rename = "static")]
    pub r#static: bool,
    /// Options of Spark's reader of this format.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

impl FileSource {
    pub fn is_streamed(&self) -> bool {
        !self.r#static
    }
}

/// What happens to files that were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum CleanSource {
    /// They are deleted.
    Delete {},
    /// They are moved to this folder.
    Archive(Location),
}

/// The format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FileFormat {
    /// A JSON object on each line.
    Json,
    /// Values separated by commas.
    Csv,
    /// Lines of text, in the column `value`.
    Text,
    /// Parquet.
    Parquet,
    /// ORC.
    Orc,
    /// Avro.
    Avro,
}

impl FileFormat {
    /// Whether the files say themselves which columns they have, and Spark may ask them on a stream.
    pub fn is_self_describing(self) -> bool {
        matches!(self, FileFormat::Text)
    }
}

/// A table of the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableSource {
    /// The table.
    pub name: TableName,
    /// Whether the table's new rows are a stream; otherwise it is read as it is at every batch.
    #[serde(default)]
    pub stream: bool,
    /// Options of the table's reader.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// Rows made up at a steady rate, with the columns `timestamp` and `value`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// How many rows a second.
    #[serde(default = "Rate::default_rows")]
    #[schemars(range(min = 1))]
    pub rows_per_second: u64,
    /// How long the rate takes to get there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp_up_time: Option<Duration>,
    /// In how many partitions the rows come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub partitions: Option<u32>,
}

impl Rate {
    fn default_rows() -> u64 {
        1
    }
}

/// How long late events of a source are waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watermark {
    /// The source.
    pub source: Identifier,
    /// The column with the time of the event.
    #[schemars(length(min = 1))]
    pub column: String,
    /// How late an event may be.
    pub delay: Delay,
}

/// Drops events of a source that were seen before. If the source has a watermark, an event is remembered until the watermark has passed its time by `delay`; otherwise it is remembered forever. If the watermark's column is among `columns`, two events are the same only if their times are equal, and an event is remembered until the watermark reaches its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deduplicate {
    /// The source.
    pub source: Identifier,
    /// The columns that make two events the same.
    #[schemars(length(min = 1))]
    pub columns: Vec<String>,
    /// Set in primitives only: the watermark bounds the state although its column is not among `columns`. Primitives
    /// of releases that kept the state forever do not have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(skip)]
    pub within_watermark: bool,
}

/// What a stream writes: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Sink {
    /// A Kafka topic.
    Kafka(Box<KafkaSink>),
    /// Files in a folder.
    Files(FileSink),
    /// A table of the catalog.
    Table(ScalarOr<TableSink>),
    /// A table of the catalog whose rows are updated, by `MERGE`.
    Merge(Box<MergeSink>),
    /// A table of a database, by JDBC.
    Jdbc(Box<JdbcSink>),
    /// The driver's log, for trying things out.
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

/// A Kafka topic. The query gives the columns `value` and, if it likes, `key`, `headers` and `partition`; any other query's rows are written as JSON or Avro.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSink {
    /// The brokers, `host:port` separated by commas.
    #[schemars(length(min = 1))]
    pub servers: String,
    /// The topic.
    pub topic: Topic,
    /// What the value of a message is made to be. `raw` takes the column `value` as it is.
    #[serde(default)]
    pub format: KafkaFormat,
    /// The column that is the key of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Options of Spark's Kafka sink, and of the producer with the prefix `kafka.`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// Files in a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSink {
    /// The folder.
    pub path: Location,
    pub format: FileFormat,
    /// The columns by whose values the files are put into folders.
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
    /// The columns by which the table is partitioned, where the stream makes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// The table's format, where the stream makes it: `iceberg`, `delta`, `parquet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Options of the table's writer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// A table of the catalog whose rows are updated, by `MERGE`: a row replaces the one with the same keys, or is added. The table has to exist, in a format that takes `MERGE`, such as Iceberg or Delta.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MergeSink {
    /// The table.
    pub table: TableName,
    /// The columns by which the row to update is found.
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// The column that decides between several rows of a batch with the same keys: the greatest value wins. Without it, such a batch fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub order_by: Option<String>,
    /// A column of the query, a boolean: a row where it is true deletes the one with the same keys. The table does not get the column.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub delete: Option<String>,
}

/// A table of a database, by JDBC. The driver's jar comes from `dependencies`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JdbcSink {
    /// The database, without a user and without a password.
    #[schemars(
        regex(pattern = r"^jdbc:[a-z0-9]+:\S+$"),
        example = "jdbc:postgresql://db.example.com:5432/shop"
    )]
    pub url: String,
    /// The table, which has to exist. Its name and those of its columns are taken as they are written.
    pub table: TableName,
    /// The database's user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub user: Option<String>,
    /// The password, as a reference to a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "${secret.shop-db/password}")]
    pub password: Option<String>,
    /// The way in which rows are written, with its guarantee after a failure.
    #[serde(default)]
    pub mode: JdbcMode,
    /// The columns of a unique index of the table, by which `upsert` finds the row to update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// The column by which `upsert` decides between several rows of a batch with the same keys: the greatest value wins. Without it, such a batch fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub order_by: Option<String>,
    /// Options of Spark's JDBC writer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// The ways of writing rows to a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum JdbcMode {
    /// Rows are added, at least once: after a failure, rows of the last batch may be there again.
    #[default]
    Append,
    /// Rows are added exactly once. For PostgreSQL.
    AppendOnce,
    /// A row replaces the one with the same `keys`, or is added. Exactly once. For PostgreSQL.
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

/// The driver's log, for trying things out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Console {
    /// How many rows of a batch are printed.
    #[serde(default = "Console::default_rows")]
    #[schemars(range(min = 1))]
    pub rows: u32,
    /// Whether long values are cut.
    #[serde(default = "yes")]
    pub truncate: bool,
}

impl Console {
    fn default_rows() -> u32 {
        20
    }
}

/// Which rows of its result a stream writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OutputMode {
    /// Rows that will never change again.
    #[default]
    Append,
    /// Rows that are new or have changed since the last batch.
    Update,
    /// All rows, with every batch.
    Complete,
}

impl OutputMode {
    pub fn name(self) -> &'static str {
        match self {
            OutputMode::Append => "append",
            OutputMode::Update => "update",
            OutputMode::Complete => "complete",
        }
    }
}

/// How a stateful query keeps its state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// How many partitions the state has. It is fixed when the stream first starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub partitions: Option<u32>,
    /// Where the state is kept. It is fixed when the stream first starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StateStore>,
    /// How many batches' worth of state and progress are kept to go back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub min_batches_to_retain: Option<u32>,
}

impl State {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the state of a query is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StateStore {
    /// In the executors' heap, as Spark has it by default.
    Memory,
    /// In a database beside the heap: for much state.
    Rocksdb,
}
