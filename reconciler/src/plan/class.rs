//! The table of what a change of each field costs a continuous job or a pool.
//!
//! A batch workload applies each change with its next run, whatever the field.

use serde::{Deserialize, Serialize};

/// The cost of a change. The most expensive is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// Changes in place, without a restart.
    InPlace,
    /// Restarts the job on its checkpoint. A pool starts new drivers for new sessions.
    Restart,
    /// Restarts the job on its checkpoint, which Spark may reject.
    Unknown,
    /// The checkpoint can't be kept.
    Reset,
}

/// The way in which a row of the table is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A fixed class.
    Always(Class),
    /// `Reset` for a source that is read as a stream. Other sources change with the next batch.
    ResetIfStreamed,
    /// `Reset` if the query keeps state, otherwise a restart.
    ResetIfStateful,
    /// Unknown if the query keeps state, otherwise a restart.
    UnknownIfStateful,
    /// Compares the state version of a program: `run.continuous.stateVersion`.
    ByStateVersion,
    /// Compares the old and the new query; see `stream`.
    ByQuery,
    /// Compares the old and the new share level of a pool; see `pool`.
    ByShare,
    /// Derived from other fields, and shown only if nothing else differs.
    Derived,
    /// Two versions of one address can't differ in it.
    Identity,
    /// Continuous jobs don't have the field.
    NotContinuous,
}

use Class::{InPlace, Reset, Restart, Unknown};
use Rule::{
    Always, ByQuery, ByShare, ByStateVersion, Derived, Identity, NotContinuous, ResetIfStateful,
    ResetIfStreamed, UnknownIfStateful,
};

/// Rules, their reasons, and the fields that they apply to: `*` stands for any key or index, a last `**` for everything
/// below. If several rows match, the one with the most named segments decides. A test checks that every field has a
/// row.
pub(super) const TABLE: &[(Rule, &str, &[&str])] = &[
    (Identity, "domain and name are the address itself", &["metadata.domain", "metadata.name"]),
    (
        Always(InPlace),
        "nothing that runs depends on it",
        &[
            "metadata.description",
            "metadata.owner",
            "inputs.**",
            "outputs.**",
            "lifecycle.preventDestroy",
            "ttl",
        ],
    ),
    (
        Always(InPlace),
        "what runs keeps what it has; the next start takes it",
        &["metadata.labels.*", "metadata.annotations.*"],
    ),
    (
        Always(InPlace),
        "it holds from the next attempt on",
        &[
            "retry.attempts",
            "retry.backoff",
            "retry.causes",
            "retry.maxBackoff",
            "retry.remedies",
            "timeouts.run",
            "timeouts.start",
            "timeouts.stop",
        ],
    ),
    (
        Always(InPlace),
        "the reconciler takes it up at once",
        &[
            "run.continuous.completes.every",
            "run.continuous.health.progressWithin",
            "run.continuous.health.startWithin",
            "run.continuous.scaling.coolDown",
            "run.continuous.scaling.targetUtilization",
            "run.continuous.upgrade.grace",
            "run.continuous.upgrade.onUnhealthy",
            "run.continuous.upgrade.reset",
            "run.service.health.stableAfter",
            "run.service.health.startWithin",
            "run.service.upgrade.grace",
            "run.service.upgrade.onUnhealthy",
        ],
    ),
    (Always(InPlace), "the service is stopped, or started again", &["run.service.paused"]),
    (Always(InPlace), "the stream is drained or goes on; its checkpoint stays", &["run.continuous.paused"]),
    (Always(InPlace), "it decides how the next attempt is sized", &["resources.sizing"]),
    (
        Always(InPlace),
        "they are bounds for the next sizing",
        &[
            "resources.driver.minMemory",
            "resources.driver.maxMemory",
            "resources.executors.minMemory",
            "resources.executors.maxMemory",
        ],
    ),
    (
        Always(Restart),
        "driver and executors are what they were started as",
        &[
            "resources.driver.cores",
            "resources.driver.cpuLimit",
            "resources.driver.cpuRequest",
            "resources.driver.memory",
            "resources.driver.memoryLimit",
            "resources.driver.memoryOverhead",
            "resources.executors.cores",
            "resources.executors.cpuLimit",
            "resources.executors.cpuRequest",
            "resources.executors.memory",
            "resources.executors.memoryLimit",
            "resources.executors.memoryOverhead",
            "resources.executors.initial",
            "resources.executors.instances",
            "resources.executors.min",
            "resources.executors.max",
            "pods.**",
        ],
    ),
    (
        Always(Restart),
        "another Spark runs it; a newer one reads the checkpoints of an older one",
        &["engine.version", "engine.image", "engine.scala", "engine.java"],
    ),
    (
        Always(Restart),
        "Spark loads it when it starts",
        &[
            "dependencies.archives",
            "dependencies.excludePackages",
            "dependencies.files",
            "dependencies.jars",
            "dependencies.packages",
            "dependencies.repositories",
        ],
    ),
    (
        Always(Restart),
        "it is started elsewhere",
        &[
            "placement.backends",
            "placement.regions",
            "placement.clusters.names",
            "placement.clusters.tags.*",
            "placement.databricks.**",
            "placement.emr.executionRoleArn",
            "placement.emr.releaseLabel",
        ],
    ),
    (
        Always(Restart),
        "Spark reads its settings when it starts",
        &[
            "spark.conf.*",
            "spark.configMap",
            "spark.logging.**",
            "spark.driverJavaOptions",
            "spark.executorJavaOptions",
            "spark.hadoopConf.*",
            "spark.hadoopConfigMap",
            "secrets",
        ],
    ),
    (
        ResetIfStateful,
        "state keeps the number of partitions of its first start",
        &["spark.conf.spark\\.sql\\.shuffle\\.partitions", "job.stream.state.partitions"],
    ),
    (
        ResetIfStateful,
        "state can't be read by another store than the one that wrote it",
        &["spark.conf.spark\\.sql\\.streaming\\.stateStore\\.providerClass", "job.stream.state.store"],
    ),
    (Always(Restart), "Spark reads it when the query starts", &["job.stream.state.minBatchesToRetain"]),
    (
        Always(Restart),
        "Spark reads the trigger when the query starts",
        &["run.continuous.trigger.asap", "run.continuous.trigger.continuous", "run.continuous.trigger.every"],
    ),
    (
        Always(Reset),
        "the stream begins anew where the new checkpoint is",
        &["run.continuous.checkpoint", "job.stream.checkpoint"],
    ),
    (Always(Reset), "the manifest says that the old state can't be read", &["run.continuous.stateVersion"]),
    (ByStateVersion, "", &["job.jar.**", "job.pyspark.**"]),
    (
        ByQuery,
        "",
        &[
            "job.stream.query",
            "job.stream.deduplicate.**",
            "job.stream.sink.files.path",
            "job.stream.sink.jdbc.table",
            "job.stream.sink.jdbc.url",
            "job.stream.sink.kafka.topic",
            "job.stream.sink.merge.table",
            "job.stream.sink.table",
            "job.stream.sink.table.name",
        ],
    ),
    (Always(Restart), "Spark reads it when the query starts", &["job.stream.sink.**"]),
    // `stream` also judges the kind and the order of sources.
    (
        ResetIfStreamed,
        "Spark's guide: other topics or paths on an old checkpoint give unpredictable results",
        &[
            "job.stream.sources.*.kafka.topic",
            "job.stream.sources.*.kafka.topicPattern",
            "job.stream.sources.*.kafka.topics",
            "job.stream.sources.*.files.path",
            "job.stream.sources.*.table",
            "job.stream.sources.*.table.name",
        ],
    ),
    (
        Always(Restart),
        "Spark's guide allows other rates on an old checkpoint",
        &[
            "job.stream.sources.*.kafka.maxOffsetsPerTrigger",
            "job.stream.sources.*.kafka.minOffsetsPerTrigger",
            "job.stream.sources.*.files.maxFilesPerTrigger",
            "job.stream.sources.*.rate.rowsPerSecond",
            "job.stream.sources.*.rate.rampUpTime",
            "job.stream.sources.*.rate.partitions",
        ],
    ),
    (
        Always(Restart),
        "it is used where there is no checkpoint yet, so that nothing changes until a reset",
        &["job.stream.sources.*.kafka.startingOffsets"],
    ),
    (
        Always(Restart),
        "Spark reads it when the query starts",
        &[
            "job.stream.sources.*.kafka.failOnDataLoss",
            "job.stream.sources.*.files.cleanSource.archive",
            "job.stream.sources.*.files.cleanSource.delete",
            "job.stream.sources.*.files.latestFirst",
        ],
    ),
    (
        Always(Unknown),
        "the offsets in the checkpoint are those of the old servers: it is safe only where both are one cluster",
        &["job.stream.sources.*.kafka.servers"],
    ),
    (
        UnknownIfStateful,
        "the query's state may hold these columns as they were",
        &[
            "job.stream.sources.*.kafka.avroSchema",
            "job.stream.sources.*.kafka.format",
            "job.stream.sources.*.kafka.schema.**",
            "job.stream.sources.*.files.format",
            "job.stream.sources.*.files.schema.**",
        ],
    ),
    (
        UnknownIfStateful,
        "what an option changes is known to its source alone",
        &[
            "job.stream.sources.*.kafka.options.*",
            "job.stream.sources.*.files.options.*",
            "job.stream.sources.*.table.options.*",
        ],
    ),
    (
        Always(Reset),
        "Spark refuses another number of streaming sources on an old checkpoint",
        &[
            "job.stream.sources.*.kafka.static",
            "job.stream.sources.*.files.static",
            "job.stream.sources.*.table.stream",
        ],
    ),
    (
        Always(Restart),
        "a watermark goes on from where it was",
        &["job.stream.watermark.delay", "job.stream.watermark.*.delay"],
    ),
    (
        UnknownIfStateful,
        "state that was kept by one time is let go by another",
        &[
            "job.stream.watermark.column",
            "job.stream.watermark.*.column",
            "job.stream.watermark.source",
            "job.stream.watermark.*.source",
            "job.stream.watermark.*",
        ],
    ),
    (
        UnknownIfStateful,
        "Spark's guide says nothing of another output mode on an old checkpoint",
        &["job.stream.outputMode"],
    ),
    (Derived, "the SQL stands in another file", &["job.stream.file"]),
    (
        Derived,
        "it names the job that is run",
        &[
            "job",
            "jobFingerprint",
            "run.continuous.job",
            "run.continuous.jobFingerprint",
            "run.job",
            "run.jobFingerprint",
        ],
    ),
    (ByShare, "", &["share"]),
    (
        Always(InPlace),
        "no driver is replaced; idle drivers are started or stopped until the number fits",
        &["drivers.max", "drivers.maxIdle", "drivers.minIdle"],
    ),
    (Always(InPlace), "no driver is replaced; it is a limit for new sessions", &["sessions.perDriver"]),
    (
        Always(InPlace),
        "drivers that are over the limit take no new sessions, and are stopped after their last one",
        &["recycle.afterAge", "recycle.afterSessions"],
    ),
    (Always(Restart), "a driver gets the timeout when it starts", &["sessions.idleTimeout"]),
    (
        NotContinuous,
        "",
        &["job.sql.**", "orchestrator.group", "run.manual", "run.onAssets.**", "run.schedule.**"],
    ),
];

/// Returns the row of a field.
pub(super) fn row(path: &[String]) -> Option<(Rule, &'static str)> {
    let fits = TABLE.iter().flat_map(|(rule, why, patterns)| {
        patterns.iter().filter_map(|pattern| Some((specificity(pattern, path)?, *rule, *why)))
    });
    fits.max_by_key(|(named, ..)| *named).map(|(_, rule, why)| (rule, why))
}

/// Returns the number of segments that a pattern names, if it fits the path.
fn specificity(pattern: &str, path: &[String]) -> Option<usize> {
    let segments = segments(pattern);
    let (segments, open) = match segments.split_last() {
        Some((last, rest)) if last == "**" => (rest, true),
        _ => (&segments[..], false),
    };
    let long_enough = if open { path.len() >= segments.len() } else { path.len() == segments.len() };
    let named = segments.iter().zip(path).try_fold(0, |named, (segment, key)| match segment.as_str() {
        "*" => Some(named),
        exact => (exact == key).then_some(named + 1),
    });
    named.filter(|_| long_enough)
}

/// A dot that belongs to a key is written `\.`.
fn segments(pattern: &str) -> Vec<String> {
    let hidden = pattern.replace("\\.", "\0");
    hidden.split('.').map(|segment| segment.replace('\0', ".")).collect()
}

#[cfg(test)]
mod tests;
