//! Settings of Spark that follow from a job alone.

use std::collections::BTreeMap;

use dcp_gateway::application::{
    DRIVER_BUDGET, DRIVER_MEMORY_LIMIT, EXECUTOR_MEMORY_LIMIT, HADOOP_CONFIG_MAP, LOG4J, SPARK_CONFIG_MAP,
};
use dcp_model::manifest::{Dependencies, Job, KubernetesName, Sizing};
use dcp_model::primitive::CoreEtlJob;

use super::logging;

/// The option by which a JVM ends when it is out of memory. Without it, only one thread ends, and the driver may hang.
const EXIT_ON_OUT_OF_MEMORY: &str = "-XX:+ExitOnOutOfMemoryError";

/// Returns the settings of a job that are the same for all attempts.
pub(super) fn conf(job: &CoreEtlJob) -> BTreeMap<String, String> {
    let mut conf: BTreeMap<String, String> =
        job.spark.conf.iter().map(|(key, value)| (key.clone(), value.as_str().to_owned())).collect();
    let hadoop = job.spark.hadoop_conf.iter();
    conf.extend(hadoop.map(|(key, value)| (format!("spark.hadoop.{key}"), value.as_str().to_owned())));
    resources(job, &mut conf);
    executors(job, &mut conf);
    configure_sizing_metrics(job, &mut conf);
    dependencies(job, &mut conf);
    let mut option = |key: &str, value: Option<String>| {
        conf.extend(value.map(|value| (key.to_owned(), value)));
    };
    // Spark has no setting for these; the backend implements them.
    option(SPARK_CONFIG_MAP, job.spark.config_map.as_ref().map(ToString::to_string));
    option(HADOOP_CONFIG_MAP, job.spark.hadoop_config_map.as_ref().map(ToString::to_string));
    option(LOG4J, job.spark.logging.as_ref().map(logging::properties));
    // Later options win, so that a manifest can switch it off.
    let own = job.spark.driver_java_options.iter().map(String::as_str);
    let options: Vec<&str> = std::iter::once(EXIT_ON_OUT_OF_MEMORY).chain(own).collect();
    option("spark.driver.extraJavaOptions", Some(options.join(" ")));
    option("spark.executor.extraJavaOptions", job.spark.executor_java_options.clone());
    option("spark.kubernetes.container.image", Some(job.engine.image.clone()));
    let image = |pod: Option<&dcp_model::manifest::Pod>| Some(pod?.image.as_ref()?.to_string());
    option("spark.kubernetes.driver.container.image", image(job.pods.driver.as_deref()));
    option("spark.kubernetes.executor.container.image", image(job.pods.executors.as_deref()));
    let secrets = &job.pods.image_pull_secrets;
    let secrets: Vec<&str> = secrets.iter().map(KubernetesName::as_str).collect();
    option("spark.kubernetes.container.image.pullSecrets", (!secrets.is_empty()).then(|| secrets.join(",")));
    option(DRIVER_BUDGET, job.pods.disruption_budget.then(|| true.to_string()));
    let policy = job.pods.image_pull_policy.map(|policy| format!("{policy:?}"));
    option("spark.kubernetes.container.image.pullPolicy", policy);
    conf
}

fn resources(job: &CoreEtlJob, conf: &mut BTreeMap<String, String>) {
    let (driver, executors) = (&job.resources.driver, &job.resources.executors);
    let mut set = |key: &str, value: String| conf.insert(key.to_owned(), value);
    for (role, cores, memory, overhead, request, limit) in [
        ("driver", driver.cores, driver.memory, driver.memory_overhead, driver.cpu_request, driver.cpu_limit),
        (
            "executor",
            executors.cores,
            executors.memory,
            executors.memory_overhead,
            executors.cpu_request,
            executors.cpu_limit,
        ),
    ] {
        set(&format!("spark.{role}.cores"), cores.to_string());
        set(&format!("spark.{role}.memory"), memory.to_string());
        for (key, value) in [
            (format!("spark.{role}.memoryOverhead"), overhead.map(|it| it.to_string())),
            (format!("spark.kubernetes.{role}.request.cores"), request.map(|it| it.to_string())),
            (format!("spark.kubernetes.{role}.limit.cores"), limit.map(|it| it.to_string())),
        ] {
            if let Some(value) = value {
                set(&key, value);
            }
        }
    }
    for (key, limit) in
        [(DRIVER_MEMORY_LIMIT, driver.memory_limit), (EXECUTOR_MEMORY_LIMIT, executors.memory_limit)]
    {
        if let Some(limit) = limit {
            set(key, limit.to_string());
        }
    }
}

/// Sets the number of executors, or its bounds.
fn executors(job: &CoreEtlJob, conf: &mut BTreeMap<String, String>) {
    let mut set = |key: &str, value: String| conf.insert(key.to_owned(), value);
    if let Some((least, most)) = dynamic_bounds(job) {
        set("spark.dynamicAllocation.enabled", "true".to_owned());
        set("spark.dynamicAllocation.shuffleTracking.enabled", "true".to_owned());
        set("spark.dynamicAllocation.minExecutors", least.to_string());
        set("spark.dynamicAllocation.maxExecutors", most.to_string());
        set("spark.dynamicAllocation.initialExecutors", initial_executors(job).to_string());
    } else {
        set("spark.executor.instances", initial_executors(job).to_string());
    }
}

/// Makes the event log contain memory usage for sizing. By default, Spark polls every ten seconds, misses shorter
/// tasks, and logs nothing about the driver. The manifest's own settings prevail.
fn configure_sizing_metrics(job: &CoreEtlJob, conf: &mut BTreeMap<String, String>) {
    if job.resources.sizing != Some(Sizing::Auto) {
        return;
    }
    for (key, value) in
        [("spark.eventLog.logStageExecutorMetrics", "true"), ("spark.executor.metrics.pollingInterval", "1s")]
    {
        conf.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// Makes a stream's event log readable while it is written, and removable in parts. The manifest's own settings
/// prevail.
pub(super) fn configure_stream_event_log(conf: &mut BTreeMap<String, String>) {
    for (key, value) in [
        ("spark.eventLog.compress", "false"),
        ("spark.eventLog.rolling.enabled", "true"),
        ("spark.eventLog.rolling.maxFileSize", "16m"),
    ] {
        conf.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// Returns the bounds of the number of executors, if Spark itself chooses it.
pub(super) fn dynamic_bounds(job: &CoreEtlJob) -> Option<(u32, u32)> {
    let executors = &job.resources.executors;
    let bounds = (executors.min.unwrap_or(0), executors.max?);
    (job.resources.sizing == Some(Sizing::Dynamic)).then_some(bounds)
}

/// Returns the initial number of executors.
pub fn initial_executors(job: &CoreEtlJob) -> u32 {
    let executors = &job.resources.executors;
    executors.instances.or(executors.initial).or(executors.min.map(|least| least.max(1))).unwrap_or(1)
}

fn dependencies(job: &CoreEtlJob, conf: &mut BTreeMap<String, String>) {
    let mut list = |key: &str, texts: Vec<String>| {
        if !texts.is_empty() {
            conf.insert(key.to_owned(), texts.join(","));
        }
    };
    let Dependencies { packages, exclude_packages, repositories, jars, files: _, archives } =
        &job.dependencies;
    let environment = match &job.job {
        Job::Pyspark(program) => program.environment.archive.as_ref(),
        Job::Sql(_) | Job::Stream(_) | Job::Jar(_) => None,
    };
    list("spark.jars.packages", packages.iter().map(ToString::to_string).collect());
    list("spark.jars.excludes", exclude_packages.iter().map(ToString::to_string).collect());
    list("spark.jars.repositories", repositories.iter().map(ToString::to_string).collect());
    list("spark.jars", jars.iter().map(ToString::to_string).collect());
    let archives = archives.iter().map(ToString::to_string);
    list("spark.archives", archives.chain(environment.map(|it| format!("{it}#environment"))).collect());
}
