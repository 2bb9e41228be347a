//! The file of drivers, `drivers.yaml`: Spark Connect servers that dcp did not start, for `dcp serve connect`.

mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clusters::FilePath;
use crate::manifest::{Domain, EngineVersion, Format, KubernetesName, Memory, Name};

pub use text::HostPort;

/// Returns the formats of fields that only this file has.
pub fn formats() -> impl Iterator<Item = &'static Format> {
    text::FORMATS.iter()
}

/// The Spark Connect servers at fixed addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriversFile {
    /// The drivers by name. A name belongs to one server for ever: a session never moves to another one.
    #[schemars(extend("propertyNames" = {"format": "kubernetes-name"}))]
    pub drivers: BTreeMap<KubernetesName, Driver>,
}

/// A Spark Connect server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Driver {
    /// The address at which the server listens.
    pub address: HostPort,
    /// The only domain whose callers may use the server: they run programs as its account.
    pub domain: Domain,
    /// The pool that clients choose with `;dcp-pool=NAME`. If omitted, the name of the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// The version of Spark.
    pub engine: EngineVersion,
    /// The number of cores of the server with its executors, for clients that ask for a minimum with `;dcp-cores=8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub cores: Option<u32>,
    /// The memory of the server with its executors, for clients that ask for a minimum with `;dcp-memory=16g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(default)]
    pub share: DriverShare,
    /// Maximum number of sessions.
    #[serde(default = "Driver::default_sessions")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_sessions: u32,
    /// The path of a file with the server's `spark.connect.authenticate.token`. Only its owner may be able to read it. It is read
    /// again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<FilePath>,
}

impl Driver {
    fn default_sessions() -> u32 {
        100
    }
}

/// The callers who may share a driver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DriverShare {
    /// The callers of the domain.
    #[default]
    Domain,
    /// One user: the first one.
    Private,
}
