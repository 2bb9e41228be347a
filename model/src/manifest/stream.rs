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
    /// The sources of the stream, by the names that the query uses.
    #[schemars(extend("minProperties" = 1, "propertyNames" = {"format": "identifier"}))]
    pub sources: BTreeMap<Identifier, Source>,
    /// The query, in Spark's dialect of SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The file that contains the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
    /// Watermarks of sources: the time that the query waits for late events.
    #[serde(default, skip_serializing_if = "no_watermarks")]
    pub watermark: OneOrMany<Watermark>,
    /// Deduplication of sources, before the query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deduplicate: Vec<Deduplicate>,
    pub sink: Sink,
    #[serde(default)]
    pub output_mode: OutputMode,
    #[serde(default, skip_serializing_if = "State::is_empty")]
    pub state: State,
    /// The location of the checkpoint between runs. Only for streams that are not `continuous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Location>,
}

fn no_watermarks(watermarks: &OneOrMany<Watermark>) -> bool {
    watermarks.0.is_empty()
}

/// A source of a stream: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Source {
    /// One or several Kafka topics.
    Kafka(Box<KafkaSource>),
    /// Files in a directory, read as they arrive.
    Files(Box<FileSource>),
    /// A table of the catalog. It is read in full with every batch, or as a stream of new rows if `stream` is set.
    Table(ScalarOr<TableSource>),
    /// Generated rows at a constant rate, for tests.
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

    /// Returns whether the source is streaming. A static source is read in full with every batch.
    pub fn is_streaming(&self) -> bool {
        match self {
            Source::Kafka(kafka) => !kafka.r#static,
            Source::Files(files) => !files.r#static,
            Source::Table(ScalarOr::Scalar(_)) => false,
            Source::Table(ScalarOr::Map(table)) => table.stream,
            Source::Rate(_) => true,
        }
    }

    /// Returns the columns that the manifest declares.
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
    /// Serializes a list, because the order is significant and canonical JSON sorts the keys of maps.
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
    /// A Java regular expression. All topics with matching names are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_pattern: Option<String>,
    /// The format of a message's value.
    #[serde(default)]
    pub format: KafkaFormat,
    /// The columns of a message's value. Kafka's own columns are added as `_key`, `_topic`, `_partition`, `_offset`
    /// and `_timestamp`. If the schema is omitted, they are `key`, `value`, `topic`, `partition`, `offset` and
    /// `timestamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Columns>,
    /// The file that contains the Avro schema of a message's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avro_schema: Option<FileRef>,
    /// The offsets at which a stream without a checkpoint starts.
    #[serde(default)]
    pub starting_offsets: Offsets,
    /// Maximum number of messages in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_offsets_per_trigger: Option<u64>,
    /// Minimum number of messages in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_offsets_per_trigger: Option<u64>,
    /// Fails the stream if messages were deleted before they were read.
    #[serde(default = "default_true")]
    pub fail_on_data_loss: bool,
    /// Reads the topics in full with every batch, instead of as a stream.
    #[serde(default, rename = "static")]
    pub r#static: bool,
    /// Options of Spark's Kafka source that have no field here. Options of the Kafka consumer have the prefix
    /// `kafka.`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

impl KafkaSource {
    /// Returns the topics that are listed by name. If the source has a pattern, there are none.
    pub fn named_topics(&self) -> impl Iterator<Item = &Topic> {
        self.topic.iter().chain(&self.topics)
    }
}

fn default_true() -> bool {
    true
}

/// The format of a Kafka message's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum KafkaFormat {
    /// A JSON object with a field for each column.
    #[default]
    Json,
    /// Avro. Sources use the schema in `avroSchema`.
    Avro,
    /// A line of comma-separated values.
    Csv,
    /// Text, in one column.
    Text,
    /// Unchanged bytes.
    Raw,
}

/// The offsets at which a stream without a checkpoint starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Offsets {
    /// The oldest available message.
    #[default]
    Earliest,
    /// The first message after the start.
    Latest,
}

/// Files in a directory, read as they arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// The directory. It may contain the wildcard `*`.
    pub path: Location,
    pub format: FileFormat,
    /// The columns. Required for formats that don't define them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Columns>,
    /// Maximum number of files in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_files_per_trigger: Option<u64>,
    /// Reads the newest files first.
    #[serde(default)]
    pub latest_first: bool,
    /// The action after a file is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean_source: Option<CleanSource>,
    /// Reads the directory in full with every batch, instead of as a stream.
    #[serde(default, rename = "static")]
    pub r#static: bool,
    /// Options of Spark's reader of this format.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

impl FileSource {
    pub fn is_streaming(&self) -> bool {
        !self.r#static
    }
}

/// The action after a file is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum CleanSource {
    /// Deletes the file.
    Delete {},
    /// Moves the file to this directory.
    Archive(Location),
}

/// The format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FileFormat {
    /// A JSON object on each line.
    Json,
    /// Comma-separated values.
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
    /// Returns whether a stream of this format needs no declared schema.
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
    /// Reads new rows of the table as a stream. If `false`, the table is read in full with every batch.
    #[serde(default)]
    pub stream: bool,
    /// Options of the table's reader.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Scalar>,
}

/// Generated rows at a constant rate, with the columns `timestamp` and `value`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Number of rows per second.
    #[serde(default = "Rate::default_rows")]
    #[schemars(range(min = 1))]
    pub rows_per_second: u64,
    /// Time until the rate is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp_up_time: Option<Duration>,
    /// Number of partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub partitions: Option<u32>,
}

impl Rate {
    fn default_rows() -> u64 {
        1
    }
}

/// The watermark of a source: the time that the query waits for late events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watermark {
    /// The source.
    pub source: Identifier,
    /// The column that contains the time of the event.
    #[schemars(length(min = 1))]
    pub column: String,
    /// Maximum delay of an event.
    pub delay: Delay,
}

/// Drops repeated events of a source. If the source has a watermark, an event is stored until the watermark has
/// passed the event's time by `delay`; otherwise it is stored forever. If the watermark's column is one of `columns`,
/// two events are equal only if their times are equal, and an event is stored until the watermark reaches its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deduplicate {
    /// The source.
    pub source: Identifier,
    /// The columns that identify an event.
    #[schemars(length(min = 1))]
    pub columns: Vec<String>,
    /// Set in primitives only. The watermark bounds the state although its column is not one of `columns`. Primitives
    /// of releases that stored the state forever do not have this field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(skip)]
    pub within_watermark: bool,
}

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

/// The rows of the result that a stream writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OutputMode {
    /// Writes rows that are final.
    #[default]
    Append,
    /// Writes rows that are new or have changed since the last batch.
    Update,
    /// Writes all rows, with every batch.
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

/// The state of a stateful query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Number of partitions of the state. It can't be changed after the first start of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub partitions: Option<u32>,
    /// The state store. It can't be changed after the first start of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StateStore>,
    /// Minimum number of batches whose state and progress are retained for recovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub min_batches_to_retain: Option<u32>,
}

impl State {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The state store of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StateStore {
    /// In the heap of the executors, Spark's default.
    Memory,
    /// In a database outside the heap (`rocksdb`). Suitable for large state.
    Rocksdb,
}
