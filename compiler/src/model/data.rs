//! What workloads read and write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Location, Name, TableName, Topic};
use crate::schema::exactly_one;

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
    pub fn kind(&self) -> &'static str {
        match self {
            DataRef::Table(_) => "table",
            DataRef::Topic(_) => "topic",
            DataRef::Path(_) => "path",
            DataRef::Asset(_) => "asset",
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
