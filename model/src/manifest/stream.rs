//! Declarative streams.

mod columns;
mod sink;
mod source;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::OneOrMany;
use super::{Delay, FileRef, Identifier, Location};

pub use columns::Columns;
pub use sink::{Console, FileSink, JdbcMode, JdbcSink, KafkaSink, MergeSink, Sink, TableSink};
pub use source::{CleanSource, FileSource, KafkaSource, Offsets, Rate, Source, TableSource};

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
