//! The data that workloads read and write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one_of::exactly_one;
use super::{Location, Name, TableName, Topic};
use crate::dataset::{Dataset, DatasetKind};

/// Data that a workload reads or writes. dcp orders workloads by the data they share.
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
    /// Any other data set, identified by a name that its writer and its readers agree on.
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

/// Data that a workload writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = exactly_one)]
pub enum Output {
    /// A table of the catalog. No other workload may write it.
    Table(TableName),
    /// A table that several workloads write, for example a daily job and its backfill. Each of them must declare it
    /// as `sharedTable`.
    SharedTable(TableName),
    /// A Kafka topic.
    Topic(Topic),
    /// Files under a path.
    Path(Location),
    /// Any other data set, identified by a name that its writer and its readers agree on.
    Asset(Name),
}

impl Output {
    /// Returns the reference that readers of this output use.
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

    /// Returns the name of the manifest's field.
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
