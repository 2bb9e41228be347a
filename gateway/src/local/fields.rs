//! The table of how `local` treats each field of a manifest.

/// The treatment of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// This backend acts on it.
    Acts,
    /// The compiler, the Runner, the reconciler or Airflow acts on it, whatever the backend.
    Above,
    /// It describes something that this backend does not have, and has no effect on programs.
    Without,
    /// Applications that set it are rejected, with the field's name.
    Refuses,
}

use Treatment::{Above, Acts, Refuses, Without};

/// Treatments, their reasons, and the fields that they apply to: `*` matches any key or index, a final `**` any
/// rest. The longest pattern that matches wins. Tests check that every field of the schema has a row, and that
/// every row with `Refuses` rejects.
pub const FIELDS: &[(Treatment, &str, &[&str])] = &[
    (
        Above,
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
    (Above, "the Runner chooses the backend and keeps the times", &["placement.backends", "timeouts.**"]),
    (
        Above,
        "they bound the size that the Runner chooses",
        &[
            "resources.sizing",
            "resources.driver.minMemory",
            "resources.driver.maxMemory",
            "resources.executors.minMemory",
            "resources.executors.maxMemory",
        ],
    ),
    (Acts, "spark-submit runs it", &["job.**", "engine.version", "spark.**", "dependencies.**"]),
    (
        Acts,
        "driver and executors are one process with the heap of both",
        &["resources.driver.memory", "resources.executors.memory"],
    ),
    (
        Acts,
        "cores and executors are threads, at most as many as the machine has",
        &["resources.executors.**"],
    ),
    (
        Without,
        "the operating system shares out cores and memory, and there is no container",
        &[
            "resources.driver.**",
            "resources.executors.memoryOverhead",
            "resources.executors.cpuRequest",
            "resources.executors.cpuLimit",
            "resources.executors.memoryLimit",
        ],
    ),
    (Without, "executors are threads of the driver", &["spark.executorJavaOptions"]),
    (Without, "Spark is installed on the machine", &["engine.image"]),
    (Without, "it is for another backend", &["placement.emr.**", "placement.databricks.**"]),
    (Without, "there are no pods", &["pods.**"]),
    (Acts, "the driver has it", &["pods.driver.env.**"]),
    (
        Refuses,
        "`local` has no regions and no clusters to choose from",
        &["placement.regions", "placement.clusters.names", "placement.clusters.tags.*"],
    ),
    (
        Refuses,
        "`local` has no config maps; set `spark.conf` or `spark.hadoopConf`, or SPARK_CONF_DIR and HADOOP_CONF_DIR in \
         the environment of dcp",
        &["spark.configMap", "spark.hadoopConfigMap"],
    ),
    (
        Refuses,
        "`local` mounts nothing; use files of this machine",
        &["pods.driver.secrets.**", "pods.driver.configMaps.**", "pods.driver.volumes.**"],
    ),
    (Refuses, "`local` can't list the keys; name each in `pods.driver.env`", &["pods.driver.envFrom.**"]),
];

/// Returns the reason why a field is rejected.
pub(super) fn refusal(pattern: &str) -> String {
    let why = treatment(pattern).map_or("", |(_, why)| why);
    let field = pattern.trim_end_matches(".**").trim_end_matches(".*");
    format!("`{field}`: {why}")
}

/// Returns the treatment of the field at a path below the manifest or below `spec`, and the reason.
pub fn treatment(path: &str) -> Option<(Treatment, &'static str)> {
    let rows = FIELDS.iter().flat_map(|(treatment, why, patterns)| {
        patterns.iter().map(move |pattern| (*pattern, *treatment, *why))
    });
    let fitting = rows.filter(|(pattern, ..)| fits(pattern, path));
    fitting.max_by_key(|(pattern, ..)| pattern.len()).map(|(_, treatment, why)| (treatment, why))
}

fn fits(pattern: &str, path: &str) -> bool {
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
