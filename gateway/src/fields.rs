//! The treatment of each field of a manifest by a backend.
//!
//! Every backend has one table, [`Fields`]. Tests check that each field of the manifest's schema has a row in each
//! table, and that every row with [`Rejects`](Treatment::Rejects) rejects an application that sets the field.

use serde_json::Value;

use crate::SparkApplication;
use crate::application::{
    DRIVER_CLAIMS, EXECUTOR_MEMORY_LIMIT, HADOOP_CONFIG_MAP, PACKAGES, SPARK_CONFIG_MAP, Spec,
};
use crate::error::{Error, Result};

/// The treatment of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// This backend acts on it.
    Applies,
    /// The compiler, the Runner, the reconciler or Airflow acts on it, whatever the backend.
    OtherLayer,
    /// It describes something that this backend does not have, and has no effect on programs.
    NoEffect,
    /// Applications that set it are rejected, with the field's name.
    Rejects,
}

/// Fields with one treatment, for one reason. In a pattern, `*` matches any key or index, and a final `**` any rest.
pub type Row = (Treatment, &'static str, &'static [&'static str]);

/// The fields that no backend acts on.
const SHARED: &[Row] = &[
    (
        Treatment::OtherLayer,
        "it is the workload's identity, schedule, data or history",
        &[
            "metadata.**",
            "inputs.**",
            "outputs.**",
            "run.**",
            "orchestrator.**",
            "retry.**",
            "lifecycle.**",
            "ttl",
        ],
    ),
    (
        Treatment::OtherLayer,
        "the Runner chooses the backend and keeps the times",
        &["placement.backends", "timeouts.**"],
    ),
    (
        Treatment::OtherLayer,
        "they bound the size that the Runner chooses",
        &[
            "resources.sizing",
            "resources.driver.minMemory",
            "resources.driver.maxMemory",
            "resources.executors.minMemory",
            "resources.executors.maxMemory",
        ],
    ),
];

/// A backend's treatment of all fields except the [`SHARED`] ones. The longest pattern that matches a field decides.
#[derive(Debug)]
pub struct Fields(pub &'static [Row]);

impl Fields {
    /// Returns all rows, also those that all backends share.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> + use<> {
        SHARED.iter().chain(self.0)
    }

    /// Returns the treatment of the field at a path below the manifest or below `spec`, and the reason.
    pub fn treatment(&self, path: &str) -> Option<(Treatment, &'static str)> {
        let rows = self.rows().flat_map(|(treatment, reason, patterns)| {
            patterns.iter().map(move |pattern| (*pattern, *treatment, *reason))
        });
        let matching = rows.filter(|(pattern, ..)| Self::matches(pattern, path));
        matching.max_by_key(|(pattern, ..)| pattern.len()).map(|(_, treatment, reason)| (treatment, reason))
    }

    /// Returns true if a pattern of a row matches the path of a field.
    pub fn matches(pattern: &str, path: &str) -> bool {
        let mut parts = path.split('.');
        for segment in pattern.split('.') {
            match (segment, parts.next()) {
                ("**", _) => return true,
                (segment, Some(part)) if segment == "*" || segment == part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }

    /// Rejects an application that sets a field with [`Treatment::Rejects`].
    pub(crate) fn check(&self, application: &SparkApplication) -> Result<()> {
        let rejected = |field: &&(&'static str, IsSet)| {
            matches!(self.treatment(field.0), Some((Treatment::Rejects, _))) && (field.1)(application)
        };
        let Some((field, _)) = OPTIONAL.iter().find(rejected) else { return Ok(()) };
        let reason = self.treatment(field).map_or("", |(_, reason)| reason);
        Err(Error::field(*field, reason))
    }
}

/// Returns true if an application has a value for a field of the manifest.
type IsSet = fn(&SparkApplication) -> bool;

/// The fields that a backend may reject. A backend that rejects another field adds it here.
const OPTIONAL: &[(&str, IsSet)] = &[
    ("placement.regions", |it| !it.placement.regions.is_empty()),
    ("placement.clusters.names", |it| !it.placement.clusters.is_empty()),
    ("placement.clusters.tags", |it| !it.placement.tags.is_empty()),
    ("spark.configMap", |it| it.spec.spark_conf.contains_key(SPARK_CONFIG_MAP)),
    ("spark.hadoopConfigMap", |it| it.spec.spark_conf.contains_key(HADOOP_CONFIG_MAP)),
    ("pods.driver.secrets", |it| volumes(it).any(|volume| volume.get("secret").is_some())),
    ("pods.driver.configMaps", |it| volumes(it).any(|volume| volume.get("configMap").is_some())),
    ("pods.driver.volumes", has_volumes),
    ("resources.executors.memoryLimit", |it| it.spec.spark_conf.contains_key(EXECUTOR_MEMORY_LIMIT)),
    ("job.pyspark.environment.packages", |it| it.spec.spark_conf.contains_key(PACKAGES)),
    ("pods.driver.envFrom", |it| containers(&it.spec).any(|it| items(it, "envFrom").next().is_some())),
];

/// Returns true if a volume is for Spark's scratch data. A backend without volumes keeps that data elsewhere.
fn is_scratch(name: &str) -> bool {
    name.starts_with("spark-local-dir-")
}

fn has_volumes(application: &SparkApplication) -> bool {
    let mut claims = application.spec.spark_conf.keys().filter_map(|key| key.strip_prefix(DRIVER_CLAIMS));
    let is_volume = |volume: &Value| {
        let name = volume["name"].as_str();
        volume.get("secret").is_none() && volume.get("configMap").is_none() && !name.is_some_and(is_scratch)
    };
    claims.any(|volume| !is_scratch(volume)) || volumes(application).any(is_volume)
}

/// Returns the volumes of the driver's pod, without those of the application's own config maps.
fn volumes(application: &SparkApplication) -> impl Iterator<Item = &Value> {
    let spec = &application.spec;
    let is_own = |volume: &&Value| {
        let map = volume["configMap"]["name"].as_str();
        spec.config_map_specs.iter().any(|own| Some(own.name.as_str()) == map)
    };
    items(&spec.driver_spec.pod_template_spec["spec"], "volumes").filter(move |it| !is_own(it))
}

/// Returns the containers of the driver's pod.
pub(crate) fn containers(spec: &Spec) -> impl Iterator<Item = &Value> {
    items(&spec.driver_spec.pod_template_spec["spec"], "containers")
}

pub(crate) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pattern_decides() {
        const FIELDS: Fields = Fields(&[
            (Treatment::NoEffect, "all", &["pods.**"]),
            (Treatment::Applies, "one", &["pods.driver.env.*", "ttl"]),
        ]);
        let of = |path| FIELDS.treatment(path).map(|(treatment, _)| treatment);
        assert_eq!(of("pods.driver.env.X"), Some(Treatment::Applies));
        assert_eq!(of("pods.driver.env.X.y"), Some(Treatment::NoEffect));
        assert_eq!(of("ttl"), Some(Treatment::Applies));
        assert_eq!((of("ttl.x"), of("other")), (None, None));
    }
}
