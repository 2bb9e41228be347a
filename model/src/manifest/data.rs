//! What workloads read and write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one_of::exactly_one;
use super::{Location, Name, TableName, Topic};
use crate::dataset::{Dataset, DatasetKind};

/// Something that a workload reads or writes, by which workloads are put in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum DataRef {
    /// A table of the catalog.
    Table(TableName),
    /// A Kafka topic.
    Topic(Topic),
    /// Files under a path.
    Path(Location),
    /// Anything else, by a name that both sides agree on.
    Asset(Name),
}

impl DataRef {
    pub fn kind(&self) -> DatasetKind {
        match self {
            DataRef::Table(_) => DatasetKind::Table,
            DataRef::Topic(_) => DatasetKind::Topic,
            DataRef::Path(_) => DatasetKind::Path,
            DataRef::Asset(_) => DatasetKind::Asset,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            DataRef::Table(name) => name.as_str(),
            DataRef::Topic(name) => name.as_str(),
            DataRef::Path(name) => name.as_str(),
            DataRef::Asset(name) => name.as_str(),
        }
    }
}

impl From<&DataRef> for Dataset {
    fn from(data: &DataRef) -> Self {
        Self::new(data.kind(), data.name())
    }
}

/// Something that a workload writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Output {
    /// A table of the catalog, which no other workload writes.
    Table(TableName),
    /// A table that other workloads write as well, such as a daily job and the one that fills in the past. All of them name it so.
    SharedTable(TableName),
    /// A Kafka topic.
    Topic(Topic),
    /// Files under a path.
    Path(Location),
    /// Anything else, by a name that both sides agree on.
    Asset(Name),
}

impl Output {
    /// What others know it as.
    pub fn data(&self) -> DataRef {
        match self {
            Output::Table(name) | Output::SharedTable(name) => DataRef::Table(name.clone()),
            Output::Topic(name) => DataRef::Topic(name.clone()),
            Output::Path(name) => DataRef::Path(name.clone()),
            Output::Asset(name) => DataRef::Asset(name.clone()),
        }
    }

    pub fn is_shared(&self) -> bool {
        matches!(self, Output::SharedTable(_))
    }

    /// The field that it is written as.
    pub fn field(&self) -> &'static str {
        match self {
            Output::Table(_) => "table",
            Output::SharedTable(_) => "sharedTable",
            Output::Topic(_) => "topic",
            Output::Path(_) => "path",
            Output::Asset(_) => "asset",
        }
    }
}
