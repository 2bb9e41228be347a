//! The treatment of each field of a manifest by `local`.

use crate::fields::Fields;
use crate::fields::Treatment::{Applies, NoEffect, Rejects};

pub static FIELDS: Fields = Fields(&[
    (Applies, "spark-submit runs it", &["job.**", "engine.version", "spark.**", "dependencies.**"]),
    (
        Applies,
        "driver and executors are one process with the heap of both",
        &["resources.driver.memory", "resources.executors.memory"],
    ),
    (
        Applies,
        "cores and executors are threads, at most as many as the machine has",
        &["resources.executors.**"],
    ),
    (
        NoEffect,
        "the operating system shares out cores and memory, and there is no container",
        &[
            "resources.driver.**",
            "resources.executors.memoryOverhead",
            "resources.executors.cpuRequest",
            "resources.executors.cpuLimit",
            "resources.executors.memoryLimit",
        ],
    ),
    (NoEffect, "executors are threads of the driver", &["spark.executorJavaOptions"]),
    (NoEffect, "Spark is installed on the machine", &["engine.image"]),
    (NoEffect, "it is for another backend", &["placement.emr.**", "placement.databricks.**"]),
    (NoEffect, "there are no pods", &["pods.**"]),
    (Applies, "the driver has it", &["pods.driver.env.**"]),
    (
        Rejects,
        "`local` has no regions and no clusters to choose from",
        &["placement.regions", "placement.clusters.names", "placement.clusters.tags.**"],
    ),
    (
        Rejects,
        "`local` has no config maps; set `spark.conf` or `spark.hadoopConf`, or SPARK_CONF_DIR and HADOOP_CONF_DIR in \
         the environment of dcp",
        &["spark.configMap", "spark.hadoopConfigMap"],
    ),
    (
        Rejects,
        "`local` mounts nothing; use files of this machine",
        &["pods.driver.secrets.**", "pods.driver.configMaps.**", "pods.driver.volumes.**"],
    ),
    (Rejects, "`local` can't list the keys; name each in `pods.driver.env`", &["pods.driver.envFrom.**"]),
]);
