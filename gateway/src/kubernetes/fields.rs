//! Treatment of the fields of a manifest by `kubernetes`.

use crate::fields::Fields;
use crate::fields::Treatment::{Applies, NoEffect, Rejects};

pub static FIELDS: Fields = Fields(&[
    (Applies, "Spark in the image runs it", &["job.**", "spark.**", "dependencies.**", "engine.image"]),
    (NoEffect, "the image has its version of Spark", &["engine.version"]),
    (Applies, "the pods have it", &["resources.driver.**", "resources.executors.**", "pods.**"]),
    (NoEffect, "it is for another backend", &["placement.emr.**", "placement.databricks.**"]),
    (
        Applies,
        "the Gateway chooses a cluster by it",
        &["placement.regions", "placement.clusters.names", "placement.clusters.tags.**"],
    ),
    (
        Rejects,
        "Spark sets the limit of an executor to its request; set `memoryOverhead`",
        &["resources.executors.memoryLimit"],
    ),
    (
        Rejects,
        "the image has the packages: install them there, or set `archive` to a packed environment",
        &["job.pyspark.environment.packages"],
    ),
]);
