//! The platform's table of engine versions, with their versions of Spark and their images.

use std::collections::BTreeMap;

use dcp_model::manifest::{EngineVersion, Image};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An engine version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The container image.
    pub image: Image,
    /// The version of Scala for which the jars are built.
    #[serde(default = "Entry::default_scala")]
    #[schemars(regex(pattern = r"^2\.1[23]$|^3$"))]
    pub scala: String,
    /// The version of Java that runs the engine.
    #[serde(default = "Entry::default_java")]
    #[schemars(range(min = 8, max = 99))]
    pub java: u32,
}

impl Entry {
    fn default_scala() -> String {
        "2.13".to_owned()
    }

    fn default_java() -> u32 {
        17
    }
}

/// Engine versions by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTable(BTreeMap<String, Entry>);

impl EngineTable {
    /// Returns the versions that every platform has.
    pub fn platform() -> Self {
        let versions = [
            ("3.5", "2.12", 17),
            ("4.0", "2.13", 17),
            ("4.1", "2.13", 17),
            ("4.2", "2.13", 17),
            ("4.3", "2.13", 17),
        ];
        let entry = |(version, scala, java): (&str, &str, u32)| {
            let image = format!("spark-platform:{version}-latest");
            let image = Image::parse(&image).expect("a version of digits and dots makes an image's tag");
            (version.to_owned(), Entry { image, scala: scala.to_owned(), java })
        };
        Self(versions.into_iter().map(entry).collect())
    }

    /// Adds versions, and replaces existing ones.
    #[must_use]
    pub fn with(mut self, entries: &BTreeMap<String, Entry>) -> Self {
        self.0.extend(entries.iter().map(|(version, entry)| (version.clone(), entry.clone())));
        self
    }

    pub fn get(&self, version: &EngineVersion) -> Option<&Entry> {
        self.0.get(version.as_str())
    }

    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
