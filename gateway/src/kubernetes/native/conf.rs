//! The settings of Spark that a driver is started with.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{
    BLOCK_MANAGER_PORT, CONF_FOLDER, CONNECT_PORT, EXECUTOR_TEMPLATE, RPC_PORT, Settings, UI_PORT,
    driver_name, service_host,
};
use crate::application::{CONNECT, DRIVER_BUDGET, DRIVER_MEMORY_LIMIT, MODULES, SECRETS, SPARK_CONFIG_MAP};
use crate::error::{Error, Result};
use crate::kubernetes::queue;
use crate::{Addresses, Name, SparkApplication, connect, log4j};

pub(in crate::kubernetes) type Conf = BTreeMap<String, String>;

/// Settings that only Spark's submitter reads. What this backend does instead of it is in [`super::pod`]; other
/// settings of this kind are rejected, as they would have no effect.
const SUBMITTER: &[&str] = &[
    "spark.kubernetes.driver.",
    "spark.kubernetes.authenticate.submission.",
    "spark.kubernetes.submission.",
    "spark.kubernetes.file.",
    "spark.kubernetes.context",
    "spark.kubernetes.namespace",
    "spark.kubernetes.report.interval",
    "spark.kubernetes.trust.certificates",
    "spark.kubernetes.kerberos.",
    "spark.kubernetes.jars.avoidDownloadSchemes",
    "spark.kubernetes.executor.podTemplate",
    "spark.kubernetes.executor.podNamePrefix",
    "spark.master",
    "spark.submit.deployMode",
    "spark.app.id",
    "spark.driver.host",
    "spark.driver.bindAddress",
];

/// Settings below those prefixes that this backend acts on, or that the driver itself reads.
const HANDLED: &[&str] = &[
    "spark.kubernetes.driver.request.cores",
    "spark.kubernetes.driver.limit.cores",
    "spark.kubernetes.driver.container.image",
    "spark.kubernetes.driver.annotation.",
    "spark.kubernetes.driver.label.",
    "spark.kubernetes.driver.node.selector.",
    "spark.kubernetes.driver.scheduler.name",
    "spark.kubernetes.driver.volumes.persistentVolumeClaim.",
    "spark.kubernetes.driver.annotateExitException",
    "spark.kubernetes.driver.master",
    "spark.kubernetes.driver.reusePersistentVolumeClaim",
    "spark.kubernetes.driver.ownPersistentVolumeClaim",
    "spark.kubernetes.driver.waitToReusePersistentVolumeClaim",
];

/// Returns the settings of an application that do not depend on the creator of its driver's pod. The cluster's settings
/// are under those of the application.
pub(in crate::kubernetes) fn common(application: &SparkApplication, settings: &Settings) -> Result<Conf> {
    let spec = &application.spec;
    check(&spec.spark_conf)?;
    let mut conf: Conf = settings.conf.clone();
    conf.extend(spec.spark_conf.iter().map(|(key, value)| (key.clone(), value.clone())));
    for key in [MODULES, SECRETS, SPARK_CONFIG_MAP, DRIVER_MEMORY_LIMIT, DRIVER_BUDGET, CONNECT] {
        conf.remove(key);
    }
    // The file is beside Spark's settings, for executors too.
    log4j::configure(&mut conf, &["driver", "executor"], &format!("{CONF_FOLDER}/{}", log4j::FILE));
    if let Some(config_map) = conf.get(crate::application::HADOOP_CONFIG_MAP).cloned() {
        conf.insert("spark.kubernetes.executor.hadoopConfigMapName".to_owned(), config_map);
    }
    queue::configure(&mut conf, settings);
    set_defaults(&mut conf, settings, is_python(application));
    let py_files = spec.py_files.as_deref().and_then(|files| Some(files.split_once(',')?.1));
    for (key, value) in [("spark.files", spec.files.as_deref()), ("spark.submit.pyFiles", py_files)] {
        if let Some(value) = value {
            conf.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(conf)
}

/// Rejects the settings of an application that would have no effect.
fn check(conf: &Conf) -> Result<()> {
    let starts = |key: &str, prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if let Some(key) = conf.keys().find(|key| starts(key, SUBMITTER) && !starts(key, HANDLED)) {
        let reason = "the Gateway starts the driver itself, and this setting is for Spark's submitter";
        return Err(Error::field(format!("spark.conf.{key}"), reason));
    }
    Ok(())
}

/// Returns all settings of a driver whose pod the Gateway creates.
pub(super) fn conf(
    application: &SparkApplication,
    settings: &Settings,
    name: &Name,
    namespace: &str,
) -> Result<Conf> {
    let mut conf = common(application, settings)?;
    let resource = if is_python(application) { "python" } else { "java" };
    let mut set = |key: &str, value: String| conf.insert(key.to_owned(), value);
    set("spark.app.id", name.to_string());
    set("spark.kubernetes.driver.pod.name", driver_name(name));
    set("spark.kubernetes.namespace", namespace.to_owned());
    set("spark.kubernetes.submitInDriver", "true".to_owned());
    set("spark.kubernetes.executor.podNamePrefix", name.to_string());
    set("spark.kubernetes.executor.podTemplateFile", format!("{CONF_FOLDER}/{EXECUTOR_TEMPLATE}"));
    set("spark.kubernetes.resource.type", resource.to_owned());
    set("spark.driver.host", service_host(name, namespace));
    set("spark.driver.port", RPC_PORT.to_string());
    set("spark.driver.blockManager.port", BLOCK_MANAGER_PORT.to_string());
    Ok(conf)
}

fn set_defaults(conf: &mut Conf, settings: &Settings, is_python: bool) {
    let mut default = |key: &str, value: &str| {
        conf.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    };
    default("spark.master", "k8s://https://kubernetes.default.svc");
    default("spark.app.name", "dcp");
    default("spark.kubernetes.driver.annotateExitException", "true");
    // Executors connect to the address of the pod, so that they need no name service.
    default("spark.kubernetes.executor.useDriverPodIP", "true");
    if let Some(folder) = &settings.event_logs {
        default("spark.eventLog.enabled", "true");
        default("spark.eventLog.dir", folder);
        default("spark.eventLog.rolling.enabled", "true");
    }
    let factors = ["spark.kubernetes.memoryOverheadFactor", "spark.executor.memoryOverheadFactor"];
    if is_python && !factors.iter().any(|key| conf.contains_key(*key)) {
        conf.insert(factors[0].to_owned(), "0.4".to_owned());
    }
}

/// Returns true if the program is in Python.
pub(in crate::kubernetes) fn is_python(application: &SparkApplication) -> bool {
    application.spec.jars.is_none() && application.spec.py_files.is_some()
}

/// Returns the addresses of the application with Spark's identifier `id`, whose driver runs on a host.
pub(in crate::kubernetes) fn addresses(
    conf: &Conf,
    main_class: Option<&str>,
    id: &str,
    host: &str,
) -> Addresses {
    let is = |key: &str, expected: &str| conf.get(key).is_some_and(|value| value == expected);
    let event_log = || {
        let folder = conf.get("spark.eventLog.dir").filter(|_| is("spark.eventLog.enabled", "true"))?;
        let folder = folder.trim_end_matches('/');
        is("spark.eventLog.rolling.enabled", "true").then(|| format!("{folder}/eventlog_v2_{id}"))
    };
    let has_plugin = conf.get("spark.plugins").is_some_and(|plugins| plugins.contains(CONNECT_PLUGIN));
    let connect_port = || match conf.get(connect::BINDING_PORT) {
        None => Some(CONNECT_PORT),
        // Spark chooses another port if this is 0.
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    };
    let has_connect = has_plugin || main_class == Some(connect::SERVER);
    Addresses {
        ui: (!is("spark.ui.enabled", "false")).then(|| format!("http://{host}:{UI_PORT}")),
        connect: has_connect.then(connect_port).flatten().map(|port| format!("{host}:{port}")),
        event_log: event_log(),
    }
}

/// The plugin by which a driver serves Spark Connect.
const CONNECT_PLUGIN: &str = "org.apache.spark.sql.connect.SparkConnectPlugin";

/// Renders settings in the format of Java's properties.
pub(super) fn properties(conf: &Conf) -> String {
    let mut text = String::new();
    for (key, value) in conf {
        escape(key, true, &mut text);
        text.push('=');
        escape(value, false, &mut text);
        text.push('\n');
    }
    text
}

fn escape(part: &str, is_key: bool, into: &mut String) {
    for (at, c) in part.chars().enumerate() {
        match c {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            ' ' if is_key || at == 0 => into.push_str("\\ "),
            '=' | ':' | '#' | '!' if is_key || at == 0 => {
                into.push('\\');
                into.push(c);
            }
            ' '..='~' => into.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(into, "\\u{unit:04x}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_escaped() {
        let conf = Conf::from([
            ("a b=c".to_owned(), " x = y\\z\n".to_owned()),
            ("spark.x".to_owned(), "ü𝄞".to_owned()),
        ]);
        assert_eq!(properties(&conf), "a\\ b\\=c=\\ x = y\\\\z\\n\nspark.x=\\u00fc\\ud834\\udd1e\n");
    }
}
