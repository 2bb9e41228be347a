//! The parts of an application that all operators need, checked for what Spark's submitter would ignore.

use super::super::native::conf::{Conf, common, is_python};
use super::super::{Settings, secrets};
use super::template;
use crate::SparkApplication;
use crate::application::{
    CONNECT, DRIVER_BUDGET, DRIVER_MEMORY_LIMIT, DeploymentMode, LOG4J, SPARK_CONFIG_MAP, Spec,
};
use crate::error::{Error, Result};
use serde_json::Value;

/// An application for Spark's submitter.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) is_python: bool,
    pub(super) main_class: Option<String>,
    /// The program: a jar or a Python file. Without it, the class is one of Spark's own or comes from packages.
    pub(super) program: Option<String>,
    pub(super) arguments: Vec<String>,
    pub(super) conf: Conf,
    /// The service accounts of the driver and of executors.
    pub(super) driver_account: String,
    pub(super) executor_account: String,
    pub(super) driver_template: Value,
    pub(super) executor_template: Value,
    pub(super) spark_version: String,
    pub(super) scala_version: Option<String>,
}

/// Fields of a manifest that the Gateway implements for the driver pods that it creates itself.
const IGNORED: &[(&str, &str, &str)] = &[
    (
        CONNECT,
        "kind",
        "dcp gives a token and a network policy to driver pods that it creates itself: run the pool on a cluster without \
         `operator`",
    ),
    (
        SPARK_CONFIG_MAP,
        "spark.configMap",
        "Spark's submitter gives the driver a folder of settings of its own: set `spark.conf`",
    ),
    (
        DRIVER_MEMORY_LIMIT,
        "resources.driver.memoryLimit",
        "Spark's submitter sets the limit of the driver to its request: set `memoryOverhead`",
    ),
    (
        DRIVER_BUDGET,
        "pods.disruptionBudget",
        "dcp creates it for the driver pods that it creates itself: create one that selects `dcp/workload`",
    ),
    (
        LOG4J,
        "spark.logging",
        "an operator mounts no file for the log: use `spark.configMap`, or a cluster without `operator`",
    ),
    (
        "spark.app.name",
        "spark.conf.spark.app.name",
        "the operator names the application after its custom resource",
    ),
];

/// Settings with lists of files, and the fields of a manifest that they are from.
const FILES: &[(&str, &str)] = &[
    ("spark.jars", "dependencies.jars"),
    ("spark.files", "dependencies.files"),
    ("spark.archives", "dependencies.archives"),
    ("spark.submit.pyFiles", "job.pyspark.pyFiles"),
];

impl Submission {
    pub(super) fn new(application: &SparkApplication, settings: &Settings) -> Result<Self> {
        let spec = &application.spec;
        check(spec)?;
        let mut conf = common(application, settings)?;
        for key in ["spark.master", "spark.app.name"] {
            conf.remove(key);
        }
        for (key, field) in FILES {
            if let Some(files) = conf.get_mut(*key) {
                *files = locations(field, files)?.join(",");
            }
        }
        let files = files_with_secrets(application, &mut conf)?;
        let image = driver_image(&conf)?;
        let account = |spec: &Value| spec["serviceAccountName"].as_str().map(str::to_owned);
        let driver_template = template::driver(application, settings, &files, &image)?;
        let executor_template = template::executor(application, settings)?;
        Ok(Self {
            is_python: is_python(application),
            main_class: spec.main_class.clone(),
            program: program(spec)?,
            // Kubernetes replaces `$(NAME)` in arguments, and `$$` by `$`.
            arguments: files.arguments(spec).into_iter().map(|arg| arg.replace("$(", "$$(")).collect(),
            conf,
            driver_account: account(&driver_template["spec"]).unwrap_or_default(),
            // Without a setting, Spark gives executors the rights of the driver.
            executor_account: account(&executor_template["spec"]).unwrap_or_else(|| "default".to_owned()),
            driver_template,
            executor_template,
            spark_version: spec.runtime_versions.spark_version.clone(),
            scala_version: spec.runtime_versions.scala_version.clone(),
        })
    }

    /// Removes a setting that a field of the custom resource has instead.
    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        self.conf.remove(key)
    }
}

fn check(spec: &Spec) -> Result<()> {
    if spec.deployment_mode == Some(DeploymentMode::ClientMode) {
        return Err(Error::Invalid("a driver on a cluster runs in cluster mode".to_owned()));
    }
    match IGNORED.iter().find(|(key, ..)| spec.spark_conf.contains_key(*key)) {
        Some((_, field, reason)) => Err(Error::field(*field, *reason)),
        None => Ok(()),
    }
}

/// Returns the files of the application with secrets. Rejects settings with secrets, as the operator and Spark's submitter
/// copy settings into objects of the cluster.
fn files_with_secrets(application: &SparkApplication, conf: &mut Conf) -> Result<secrets::Files> {
    if let Some(key) = secrets::settings(conf)?.first() {
        let reason = "a custom resource would have the secret's reference, and Spark's submitter replaces none: use \
                      `pods.driver.env`, or a cluster without `operator`";
        return Err(Error::field(format!("spark.conf.{key}"), reason));
    }
    let files = secrets::Files::of(application)?;
    files.redact(conf, &[]);
    Ok(files)
}

/// Returns the image of the driver. Rejects an application without an image for its driver or its executors.
fn driver_image(conf: &Conf) -> Result<String> {
    let of = |role: &str| conf.get(&format!("spark.kubernetes.{role}container.image"));
    let (driver, executor) = (of("driver.").or(of("")), of("executor.").or(of("")));
    let missing = || Error::field("engine.image", "an application on a cluster needs an image");
    driver.filter(|_| executor.is_some()).cloned().ok_or_else(missing)
}

fn program(spec: &Spec) -> Result<Option<String>> {
    let main = |files: &str| files.split(',').next().unwrap_or_default().to_owned();
    match (&spec.jars, &spec.py_files) {
        (Some(jar), _) => location("job.jar.main", jar).map(Some),
        (None, Some(files)) => location("job.pyspark.main", &main(files)).map(Some),
        (None, None) => Ok(None),
    }
}

/// Returns the locations of a list, which is separated by commas.
fn locations(field: &str, list: &str) -> Result<Vec<String>> {
    list.split(',').filter(|item| !item.trim().is_empty()).map(|item| location(field, item)).collect()
}

/// Returns the location of a file as Spark's submitter expects it: a path of the image has the scheme `local`, as other
/// paths are those of the operator's own container.
fn location(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    let path = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
    if path.starts_with('/') {
        return Ok(format!("local://{path}"));
    }
    if path.len() == text.len() && path.contains("://") {
        return Ok(path.to_owned());
    }
    let reason =
        format!("`{text}` is no URL and no absolute path of the image, and the operator can't read it");
    Err(Error::field(field, reason))
}
