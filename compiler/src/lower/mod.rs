//! Converts checked manifests to primitives. The checks guarantee that it can't fail.

mod orchestrator;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use dcp_model::dataset::Dataset;
use dcp_model::manifest::{
    Identifier, Job, KubernetesName, Manifest, Parameter, ParameterType, PoolDrivers, PoolSettings,
    Resources, Run, SESSION_TIMEOUT, Scalar, ScalarOr, Sizing, Source, SparkConf, Spec, Stream,
    TypedParameter,
};
use dcp_model::primitive::{Body, ContinuousJob, ContinuousRun, CoreEtlJob, Engine, Pool, Primitive};

pub(crate) use orchestrator::{Part, group_dags};

use crate::engine::EngineTable;
use crate::graph::Link;
use crate::sql;

/// The inputs of a workload's primitives.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub manifest: &'a Manifest,
    pub engines: &'a EngineTable,
    /// The text of the job's SQL, from the manifest or from a file.
    pub sql: Option<&'a str>,
    pub reads: &'a [Link],
    pub writes: &'a [Link],
    /// The path of the manifest in the project.
    pub path: &'a str,
    /// The scope of the primitives: see [`Project::scope`](crate::project::Project::scope).
    pub scope: &'a str,
    /// The target's provider of secrets.
    pub secrets: Option<&'a KubernetesName>,
}

/// The primitives of a manifest.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    pub primitives: Vec<Primitive>,
    /// The part of the workload in the DAG of its group, if it is in one.
    pub part: Option<Box<Part>>,
}

pub(crate) fn lower(input: &Input<'_>) -> Lowered {
    let Manifest { metadata, spec, .. } = input.manifest;
    let (domain, name) = (metadata.domain.as_str(), metadata.name.as_str());
    let job = Primitive::new(domain, name, Body::CoreEtlJob(Box::new(core_etl_job(input))));
    let driver = match &spec.run {
        Run::Continuous(continuous) => continuous_job(ContinuousRun::Continuous(continuous.clone()), &job),
        Run::Service(service) => continuous_job(ContinuousRun::Service { service: service.clone() }, &job),
        Run::Pool(settings) => pool(settings, &job),
        run @ (Run::Schedule(_) | Run::OnAssets(_) | Run::Manual(_)) => {
            let part = Part::of(input, &job);
            if spec.orchestrator.is_some() {
                return Lowered { primitives: vec![job], part: Some(Box::new(part)) };
            }
            Body::Orchestrator(Box::new(orchestrator::own_dag(&part, run)))
        }
    };
    let driver = Primitive::new(domain, name, driver);
    Lowered { primitives: vec![job, driver], part: None }
}

fn core_etl_job(input: &Input<'_>) -> CoreEtlJob {
    let Manifest { metadata, spec, .. } = input.manifest;
    CoreEtlJob {
        metadata: metadata.clone(),
        engine: engine(input),
        job: job(&spec.job, input.sql),
        statements: statements(&spec.job, input.sql),
        dependencies: spec.dependencies.clone(),
        inputs: datasets(input.reads),
        outputs: datasets(input.writes),
        resources: resources(&spec.resources, &spec.run),
        retry: spec.retry.clone(),
        timeouts: spec.timeouts.clone(),
        ttl: spec.ttl,
        placement: spec.placement.clone(),
        spark: spark_conf(spec),
        pods: spec.pods.clone(),
        lifecycle: spec.lifecycle.clone(),
        secrets: input.secrets.cloned(),
        connect: matches!(spec.run, Run::Pool(_)),
    }
}

fn engine(input: &Input<'_>) -> Engine {
    let engine = &input.manifest.spec.engine;
    let entry =
        input.engines.get(&engine.version).expect("the checks refuse a version that is not in the table");
    Engine {
        version: engine.version.as_str().to_owned(),
        image: engine.image.as_ref().unwrap_or(&entry.image).as_str().to_owned(),
        scala: entry.scala.clone(),
        java: entry.java,
    }
}

/// Returns declared and inferred datasets, sorted.
fn datasets(links: &[Link]) -> Vec<Dataset> {
    let all: BTreeSet<Dataset> = links.iter().map(|link| link.dataset.clone()).collect();
    all.into_iter().collect()
}

/// Returns the ranges of the statements of a batch job's SQL, unless the whole text is one.
fn statements(job: &Job, text: Option<&str>) -> Vec<Range<usize>> {
    let (Job::Sql(_), Some(text)) = (job, text) else { return Vec::new() };
    let statements = sql::statements(text);
    match statements.as_slice() {
        [only] if text[only.clone()] == *text.trim() => Vec::new(),
        _ => statements,
    }
}

/// Returns the job with the text of its SQL, and with the types of its parameters.
fn job(job: &Job, sql: Option<&str>) -> Job {
    let sql = sql.map(str::to_owned);
    match job.clone() {
        Job::Sql(mut job) => {
            (job.query, job.file) = (sql, None);
            job.parameters = typed(&job.parameters);
            Job::Sql(job)
        }
        Job::Stream(mut stream) => {
            (stream.query, stream.file) = (sql, None);
            deduplicate_within_watermarks(&mut stream);
            Job::Stream(stream)
        }
        Job::Pyspark(mut job) => {
            job.parameters = typed(&job.parameters);
            Job::Pyspark(job)
        }
        Job::Jar(mut job) => {
            job.parameters = typed(&job.parameters);
            Job::Jar(job)
        }
    }
}

/// Marks the deduplications whose state only `dropDuplicatesWithinWatermark` bounds: Spark's `dropDuplicates` drops
/// state by a watermark only if the watermark's column is among the columns that are compared.
fn deduplicate_within_watermarks(stream: &mut Stream) {
    for deduplicate in &mut stream.deduplicate {
        let streaming = stream.sources.get(&deduplicate.source).is_some_and(Source::is_streaming);
        let mut watermarks = stream.watermark.0.iter().filter(|it| it.source == deduplicate.source);
        let compared = |column: &str| deduplicate.columns.iter().any(|it| it.eq_ignore_ascii_case(column));
        deduplicate.within_watermark = streaming && watermarks.any(|it| !compared(&it.column));
    }
}

fn typed(parameters: &BTreeMap<Identifier, Parameter>) -> BTreeMap<Identifier, Parameter> {
    let typed = |parameter: &Parameter| match parameter {
        ScalarOr::Map(parameter) => parameter.clone(),
        ScalarOr::Scalar(default) => TypedParameter {
            kind: type_of(default),
            default: Some(default.clone()),
            run: None,
            description: None,
        },
    };
    parameters.iter().map(|(name, parameter)| (name.clone(), ScalarOr::Map(typed(parameter)))).collect()
}

/// Returns the type of a parameter that is declared by its default value only.
fn type_of(value: &Scalar) -> ParameterType {
    let text = value.as_str();
    match () {
        () if !value.is_bare() => ParameterType::String,
        () if matches!(text.to_ascii_lowercase().as_str(), "true" | "false") => ParameterType::Boolean,
        () if text.parse::<i64>().is_ok() => ParameterType::Integer,
        () => ParameterType::Number,
    }
}

/// Returns the resources with an explicit sizing policy.
fn resources(resources: &Resources, run: &Run) -> Resources {
    let bounded = resources.executors.max.is_some();
    let sizing = resources.sizing.unwrap_or(match run {
        _ if !bounded => Sizing::Fixed,
        Run::Continuous(_) => Sizing::Auto,
        Run::Schedule(_) | Run::OnAssets(_) | Run::Manual(_) | Run::Service(_) | Run::Pool(_) => {
            Sizing::Dynamic
        }
    });
    Resources { sizing: Some(sizing), ..resources.clone() }
}

/// The setting for the size of data that clients send, with the default of Spark as a number.
const LOCAL_RELATION_LIMIT: (&str, &str) = ("spark.sql.session.localRelationSizeLimit", "3221225472");

/// Returns the settings of Spark. Those of a pool include the timeout of its sessions.
fn spark_conf(spec: &Spec) -> SparkConf {
    let mut spark = spec.spark.clone();
    if let Run::Pool(pool) = &spec.run {
        let timeout = Scalar::text(format!("{}ms", pool.sessions.idle_timeout.millis()));
        spark.conf.insert(SESSION_TIMEOUT.to_owned(), timeout);
        // Clients of 4.2 read it as a number, and the default of 4.1 has a unit.
        let limit = Scalar::text(LOCAL_RELATION_LIMIT.1);
        spark.conf.entry(LOCAL_RELATION_LIMIT.0.to_owned()).or_insert(limit);
    }
    spark
}

fn pool(settings: &PoolSettings, job: &Primitive) -> Body {
    let drivers = &settings.drivers;
    let drivers = PoolDrivers { max_idle: Some(drivers.max_idle()), ..drivers.clone() };
    Body::Pool(Box::new(Pool {
        job: job.address.to_string(),
        job_fingerprint: job.fingerprint.clone(),
        settings: PoolSettings { drivers, ..settings.clone() },
    }))
}

fn continuous_job(run: ContinuousRun, job: &Primitive) -> Body {
    let (job, job_fingerprint) = (job.address.to_string(), job.fingerprint.clone());
    Body::ContinuousJob(Box::new(ContinuousJob { job, job_fingerprint, run }))
}
