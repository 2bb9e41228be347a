//! The JSON Schemas of manifests and other files, which are generated from the model, and validate trees.

mod explain;
mod fields;
mod generate;
pub mod reference;

use std::sync::LazyLock;

use dcp_model::clusters::{self, Clusters};
use dcp_model::drivers::{self, DriversFile};
use dcp_model::manifest::{self, Format, Manifest, PoolManifest};
use dcp_model::policy::{self, PolicyFile};
use dcp_model::providers::{self, SecretsFile};
use jsonschema::Validator;
use serde_json::Value;

pub use explain::check;

use crate::project::ProjectFile;
use crate::yaml::TreeJson;

/// A schema and its validator.
#[derive(Debug)]
pub struct DocumentSchema {
    value: Value,
    validator: Validator<TreeJson>,
}

/// The schema of manifests of all kinds.
pub static MANIFEST: LazyLock<DocumentSchema> =
    LazyLock::new(|| DocumentSchema::new(generate::manifest("manifest", "A manifest of dcp")));

/// The schema of workloads.
pub static CORE_ETL: LazyLock<DocumentSchema> =
    LazyLock::new(|| DocumentSchema::new(generate::document::<Manifest>("core-etl", "A workload of dcp")));

/// The schema of pools.
pub static POOL: LazyLock<DocumentSchema> =
    LazyLock::new(|| DocumentSchema::new(generate::document::<PoolManifest>("pool", "A pool of dcp")));

/// The schema of `dcp.yaml`.
pub static PROJECT: LazyLock<DocumentSchema> = LazyLock::new(|| {
    DocumentSchema::new(generate::document::<ProjectFile>("project", "The project file of dcp"))
});

/// The schema of `clusters.yaml`.
pub static CLUSTERS: LazyLock<DocumentSchema> =
    LazyLock::new(|| DocumentSchema::new(generate::document::<Clusters>("clusters", "The clusters of dcp")));

/// The schema of `policy.yaml`.
pub static POLICY: LazyLock<DocumentSchema> =
    LazyLock::new(|| DocumentSchema::new(generate::document::<PolicyFile>("policy", "The policy of dcp")));

/// The schema of `secrets.yaml`.
pub static SECRETS: LazyLock<DocumentSchema> = LazyLock::new(|| {
    DocumentSchema::new(generate::document::<SecretsFile>("secrets", "The providers of secrets of dcp"))
});

/// The schema of `drivers.yaml`.
pub static DRIVERS: LazyLock<DocumentSchema> = LazyLock::new(|| {
    DocumentSchema::new(generate::document::<DriversFile>("drivers", "The Spark Connect servers of dcp"))
});

/// Returns the formats of all documents.
fn formats() -> impl Iterator<Item = &'static Format> {
    let of_files =
        clusters::formats().chain(policy::formats()).chain(providers::formats()).chain(drivers::formats());
    manifest::formats().chain(of_files)
}

impl DocumentSchema {
    fn new(value: Value) -> Self {
        let mut options = jsonschema::options_for::<TreeJson>().should_validate_formats(true);
        for format in formats() {
            options = options.with_format(format.name, |text| (format.check)(text).is_ok());
        }
        let validator = options.build(&value).expect("the schema comes from the model, and a test builds it");
        Self { value, validator }
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Returns the published text of the schema.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.value).expect("a JSON value is always written");
        text.push('\n');
        text
    }
}
