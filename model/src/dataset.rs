//! Datasets: the data that workloads read and write.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table, topic, path, asset or checkpoint. All spellings of one dataset have the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dataset {
    pub kind: DatasetKind,
    pub name: String,
}

/// The kinds of datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DatasetKind {
    Asset,
    Checkpoint,
    Path,
    Table,
    Topic,
}

impl DatasetKind {
    /// Kinds that users can name. Checkpoints are excluded, because they belong to streams.
    pub const NAMED: [Self; 4] = [Self::Asset, Self::Path, Self::Table, Self::Topic];

    pub fn name(self) -> &'static str {
        match self {
            Self::Asset => "asset",
            Self::Checkpoint => "checkpoint",
            Self::Path => "path",
            Self::Table => "table",
            Self::Topic => "topic",
        }
    }

    /// Returns a kind that users can name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for DatasetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Dataset {
    pub fn new(kind: DatasetKind, name: &str) -> Self {
        let name = match kind {
            DatasetKind::Table => normalized_table(name),
            DatasetKind::Path | DatasetKind::Checkpoint => normalized_path(name),
            DatasetKind::Topic | DatasetKind::Asset => name.to_owned(),
        };
        Self { kind, name }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Returns a table's name in lower case and without quotes, as Spark compares names.
fn normalized_table(name: &str) -> String {
    match name.is_ascii() && !name.as_bytes().contains(&b'`') {
        true => name.to_ascii_lowercase(),
        false => name.replace('`', "").to_lowercase(),
    }
}

/// Returns a path without the scheme `file` and without a slash at its end, and with `s3` for its other schemes.
fn normalized_path(path: &str) -> String {
    let path = path.trim_end_matches('/');
    match path.strip_prefix("s3a://").or_else(|| path.strip_prefix("s3n://")) {
        Some(rest) => format!("s3://{rest}"),
        None => path.strip_prefix("file://").unwrap_or(path).to_owned(),
    }
}
