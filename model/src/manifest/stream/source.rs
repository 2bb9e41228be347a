//! Sources of streams.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Columns, FileFormat, KafkaFormat, default_true};
use crate::manifest::one_of::exactly_one;
use crate::manifest::text::{Scalar, ScalarOr};
use crate::manifest::{Duration, FileRef, Location, TableName, Topic};

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
