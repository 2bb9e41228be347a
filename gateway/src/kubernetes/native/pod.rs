//! The pod of a driver, and the template of the pods of executors.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::conf::{Conf, is_python};
use super::template;
use super::{
    BLOCK_MANAGER_PORT, CONF_FOLDER, CONNECT_PORT, EXECUTOR_TEMPLATE, PROPERTIES, RPC_PORT, Settings,
    UI_PORT, config_name, driver_name, labels,
};
use crate::application::{
    DRIVER_CLAIMS, DRIVER_MEMORY_LIMIT, DeploymentMode, HADOOP_CONFIG_MAP, LOG4J, SPARK_CONFIG_MAP, Spec,
};
use crate::error::{Error, Result};
use crate::kubernetes::lists::append;
use crate::kubernetes::memory::{mebibytes, overhead};
use crate::kubernetes::{queue, secrets};
use crate::{Name, SparkApplication, log4j};

/// Folder in which a driver is asked to stop. The program announces there that it watches for the request.
pub(in crate::kubernetes) const STOP_FOLDER: &str = "/opt/dcp/stop";
const CONF_VOLUME: &str = "dcp-conf";
const LOCAL_FOLDER: &str = "/opt/dcp/local";
const SPARK_CONF_FOLDER: &str = "/etc/spark/conf";
const HADOOP_CONF_FOLDER: &str = "/etc/hadoop/conf";

/// Runs before the driver gets SIGTERM. It asks a stream that watches for the request to finish its running batch, and
/// then waits for the end of the container: SIGTERM would make the JVM abort the batch.
pub(in crate::kubernetes) const PRE_STOP: &str = "test -e /opt/dcp/stop/request.watched || exit 0; touch /opt/dcp/stop/request; \
                        while :; do sleep 1; done";

/// Grace period of a driver whose application has none.
const DEFAULT_GRACE_SECONDS: u64 = 30;

/// Returns the pod of a driver. It is gated: it does not start by itself. `token` is a variable of its container.
pub(super) fn driver(
    application: &SparkApplication,
    settings: &Settings,
    conf: &Conf,
    name: &Name,
    files: &secrets::Files,
    token: Option<Value>,
) -> Result<Pod> {
    let spec = &application.spec;
    if spec.deployment_mode == Some(DeploymentMode::ClientMode) {
        return Err(Error::Invalid("a driver on a cluster runs in cluster mode".to_owned()));
    }
    let mut pod = spec.driver_spec.pod_template_spec.clone();
    template::check(&pod)?;
    if !pod.is_object() {
        pod = json!({});
    }
    secrets::resolve_template(&mut pod, "pods.driver")?;
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(driver_name(name));
    label(&mut pod, conf, name);
    label_version(&mut pod, &spec.runtime_versions.spark_version);
    label_owner(&mut pod, settings);
    queue::label(&mut pod, settings, &application.metadata.namespace, name);
    let container = primary_container(&mut pod, "driver");
    complete_container(container, application, conf, name, files)?;
    append(container, "env", token.into_iter().collect());
    let (container_name, image) = (container["name"].clone(), container["image"].clone());
    pod["metadata"]["annotations"][labels::CONTAINER] = container_name;
    complete_spec(&mut pod["spec"], application, settings, conf, name);
    files.add_to(&mut pod, image.as_str().unwrap_or_default());
    serde_json::from_value(pod).map_err(|error| Error::field("pods.driver.template", error.to_string()))
}

/// Returns the template of the pods of executors, which the driver reads.
pub(in crate::kubernetes) fn executor_template(
    application: &SparkApplication,
    settings: &Settings,
    name: &Name,
) -> Result<Value> {
    let mut pod = application.spec.executor_spec.pod_template_spec.clone();
    if !pod.is_object() {
        pod = json!({});
    }
    secrets::resolve_template(&mut pod, "pods.executors")?;
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["labels"][labels::APPLICATION] = json!(name);
    label_owner(&mut pod, settings);
    queue::label(&mut pod, settings, &application.metadata.namespace, name);
    // Spark takes the first container of a template, and gives it this name.
    let container = primary_container(&mut pod, "executor");
    container["name"] = json!(labels::EXECUTOR_CONTAINER);
    if application.spec.spark_conf.contains_key(LOG4J) {
        let mount = json!({"name": CONF_VOLUME, "mountPath": CONF_FOLDER, "readOnly": true});
        append(container, "volumeMounts", vec![mount]);
        append(&mut pod["spec"], "volumes", vec![conf_volume(name, &[log4j::FILE])]);
    }
    pod["metadata"]["annotations"][labels::CONTAINER] = json!(labels::EXECUTOR_CONTAINER);
    Ok(pod)
}

/// Returns the container that runs Spark: the first one.
pub(in crate::kubernetes) fn primary_container<'p>(pod: &'p mut Value, role: &str) -> &'p mut Value {
    let containers = &mut pod["spec"]["containers"];
    if containers.as_array().is_none_or(Vec::is_empty) {
        *containers = json!([{"name": format!("spark-kubernetes-{role}")}]);
    }
    &mut containers[0]
}

/// Adds the identity of the control plane to a pod.
pub(in crate::kubernetes) fn label_owner(pod: &mut Value, settings: &Settings) {
    if let Some(own) = &settings.control_plane {
        pod["metadata"]["labels"][labels::CONTROL_PLANE] = json!(own);
    }
}

fn label(pod: &mut Value, conf: &Conf, name: &Name) {
    let metadata = &mut pod["metadata"];
    for (prefix, kind) in
        [("spark.kubernetes.driver.label.", "labels"), ("spark.kubernetes.driver.annotation.", "annotations")]
    {
        for (key, value) in conf {
            if let Some(key) = key.strip_prefix(prefix) {
                metadata[kind][key] = json!(value.replace("{{APP_ID}}", name.as_str()));
            }
        }
    }
    for (key, value) in [
        (labels::APPLICATION, name.as_str()),
        (labels::ROLE, "driver"),
        ("spark-app-selector", name.as_str()),
    ] {
        metadata["labels"][key] = json!(value);
    }
}

/// Adds the version of Spark, as other drivers have it, unless the application has a more exact one.
fn label_version(pod: &mut Value, version: &str) {
    if version.is_empty() {
        return;
    }
    let label = &mut pod["metadata"]["labels"][labels::VERSION];
    if label.is_null() {
        *label = json!(version);
    }
}

fn complete_container(
    container: &mut Value,
    application: &SparkApplication,
    conf: &Conf,
    name: &Name,
    files: &secrets::Files,
) -> Result<()> {
    let text = |key: &str| conf.get(key).cloned();
    let image =
        text("spark.kubernetes.driver.container.image").or_else(|| text("spark.kubernetes.container.image"));
    let image = image.ok_or_else(|| Error::field("engine.image", "a driver on a cluster needs an image"))?;
    container["image"] = json!(image);
    if let Some(policy) = text("spark.kubernetes.container.image.pullPolicy") {
        container["imagePullPolicy"] = json!(policy);
    }
    container["args"] = json!(args(&application.spec, name, files));
    set_resources(container, application, conf)?;
    append(container, "env", environment(application, conf, name));
    append(container, "volumeMounts", mounts(application, conf));
    let ports = [
        ("driver-rpc-port", RPC_PORT),
        ("blockmanager", BLOCK_MANAGER_PORT),
        ("spark-ui", UI_PORT),
        ("spark-connect", CONNECT_PORT),
    ];
    let port = |(name, port)| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    append(container, "ports", ports.map(port).to_vec());
    if container["lifecycle"].get("preStop").is_none() {
        container["lifecycle"]["preStop"] = json!({"exec": {"command": ["/bin/sh", "-c", PRE_STOP]}});
    }
    Ok(())
}

fn environment(application: &SparkApplication, conf: &Conf, name: &Name) -> Vec<Value> {
    let mut env = vec![
        json!({"name": "SPARK_USER", "value": "spark"}),
        json!({"name": "SPARK_APPLICATION_ID", "value": name}),
        json!({"name": "SPARK_DRIVER_BIND_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
        json!({"name": "SPARK_LOCAL_DIRS", "value": local_folders(application).join(",")}),
        json!({"name": "DCP_STOP_FILE", "value": format!("{STOP_FOLDER}/request")}),
    ];
    for (key, value) in conf {
        if let Some(variable) = key.strip_prefix("spark.kubernetes.driverEnv.") {
            env.push(json!({"name": variable, "value": value}));
        }
    }
    for (key, variable, _, folder) in config_maps() {
        if application.spec.spark_conf.contains_key(key) {
            env.push(json!({"name": variable, "value": folder}));
        }
    }
    env
}

fn mounts(application: &SparkApplication, conf: &Conf) -> Vec<Value> {
    let mut mounts = vec![
        json!({"name": CONF_VOLUME, "mountPath": CONF_FOLDER, "readOnly": true}),
        json!({"name": "dcp-stop", "mountPath": STOP_FOLDER}),
    ];
    if !has_scratch_volume(application) {
        mounts.push(json!({"name": "dcp-local", "mountPath": LOCAL_FOLDER}));
    }
    for (key, _, volume, folder) in config_maps() {
        if application.spec.spark_conf.contains_key(key) {
            mounts.push(json!({"name": volume, "mountPath": folder, "readOnly": true}));
        }
    }
    for (volume, path) in claims(conf, "mount.path") {
        mounts.push(json!({"name": volume, "mountPath": path}));
    }
    mounts
}

/// The settings that name config maps with files: the setting, the variable with the folder, the volume, the folder.
fn config_maps() -> [(&'static str, &'static str, &'static str, &'static str); 2] {
    [
        (SPARK_CONFIG_MAP, "SPARK_CONF_DIR", "dcp-spark-conf", SPARK_CONF_FOLDER),
        (HADOOP_CONFIG_MAP, "HADOOP_CONF_DIR", "dcp-hadoop-conf", HADOOP_CONF_FOLDER),
    ]
}

/// Returns the arguments for the entry point of Spark's images.
fn args(spec: &Spec, name: &Name, files: &secrets::Files) -> Vec<String> {
    const PYTHON_RUNNER: &str = "org.apache.spark.deploy.PythonRunner";
    let py_file = spec.py_files.as_deref().and_then(|files| files.split(',').next());
    let (class, resource) = match (&spec.jars, py_file) {
        (Some(jar), _) => (spec.main_class.as_deref(), jar.as_str()),
        (None, Some(file)) => (Some(PYTHON_RUNNER), file),
        (None, None) => (spec.main_class.as_deref(), "spark-internal"),
    };
    let properties = files.path(&config_name(name), PROPERTIES);
    let properties = properties.unwrap_or_else(|| format!("{CONF_FOLDER}/{PROPERTIES}"));
    let mut args = vec!["driver".to_owned(), "--properties-file".to_owned(), properties];
    if let Some(class) = class {
        args.extend(["--class".to_owned(), class.to_owned()]);
    }
    args.push(resource.to_owned());
    // Kubernetes replaces `$(NAME)` in arguments, and `$$` by `$`.
    args.extend(files.arguments(spec).into_iter().map(|arg| arg.replace("$(", "$$(")));
    args
}

fn set_resources(container: &mut Value, application: &SparkApplication, conf: &Conf) -> Result<()> {
    let text = |key: &str| conf.get(key).map(String::as_str);
    let size = |key: &str, value: &str| {
        mebibytes(value).ok_or_else(|| {
            Error::field(format!("spark.conf.{key}"), format!("`{value}` is no size of memory"))
        })
    };
    let heap = size("spark.driver.memory", text("spark.driver.memory").unwrap_or("1g"))?;
    let memory = heap
        + match text("spark.driver.memoryOverhead") {
            Some(value) => size("spark.driver.memoryOverhead", value)?,
            None => {
                let factor = text("spark.driver.memoryOverheadFactor")
                    .or(text("spark.kubernetes.memoryOverheadFactor"))
                    .unwrap_or(if is_python(application) { "0.4" } else { "0.1" });
                let factor: f64 =
                    factor.parse().ok().filter(|it: &f64| *it > 0.0 && it.is_finite()).ok_or_else(|| {
                        Error::field(
                            "spark.conf.spark.driver.memoryOverheadFactor",
                            "it is no positive number",
                        )
                    })?;
                let minimum = text("spark.driver.minMemoryOverhead").unwrap_or("384m");
                overhead(heap, factor, size("spark.driver.minMemoryOverhead", minimum)?)
            }
        };
    let limit = match application.spec.spark_conf.get(DRIVER_MEMORY_LIMIT) {
        Some(limit) => size(DRIVER_MEMORY_LIMIT, limit)?,
        None => memory,
    };
    let cores = text("spark.kubernetes.driver.request.cores").or(text("spark.driver.cores")).unwrap_or("1");
    let resources = &mut container["resources"];
    resources["requests"]["cpu"] = json!(cores);
    resources["requests"]["memory"] = json!(format!("{memory}Mi"));
    resources["limits"]["memory"] = json!(format!("{limit}Mi"));
    if let Some(limit) = text("spark.kubernetes.driver.limit.cores") {
        resources["limits"]["cpu"] = json!(limit);
    }
    Ok(())
}

fn complete_spec(
    spec: &mut Value,
    application: &SparkApplication,
    settings: &Settings,
    conf: &Conf,
    name: &Name,
) {
    let text = |key: &str| conf.get(key).cloned();
    spec["restartPolicy"] = json!("Never");
    append(spec, "schedulingGates", vec![json!({"name": labels::GATE})]);
    if spec["serviceAccountName"].is_null() {
        spec["serviceAccountName"] = json!(settings.service_account);
    }
    let scheduler =
        text("spark.kubernetes.driver.scheduler.name").or_else(|| text("spark.kubernetes.scheduler.name"));
    if let Some(scheduler) = scheduler {
        spec["schedulerName"] = json!(scheduler);
    }
    for (key, value) in conf {
        let selector = ["spark.kubernetes.driver.node.selector.", "spark.kubernetes.node.selector."]
            .into_iter()
            .find_map(|prefix| key.strip_prefix(prefix));
        if let Some(selector) = selector {
            spec["nodeSelector"][selector] = json!(value);
        }
    }
    if let Some(secrets) = text("spark.kubernetes.container.image.pullSecrets") {
        let names = secrets.split(',').map(|secret| json!({"name": secret.trim()})).collect();
        append(spec, "imagePullSecrets", names);
    }
    spec["terminationGracePeriodSeconds"] = json!(grace_seconds(application));
    append(spec, "volumes", volumes(application, conf, name));
}

/// Returns the volume with some files of an application's config map.
fn conf_volume(name: &Name, files: &[&str]) -> Value {
    let items: Vec<Value> = files.iter().map(|file| json!({"key": file, "path": file})).collect();
    json!({"name": CONF_VOLUME, "configMap": {"name": config_name(name), "items": items}})
}

fn volumes(application: &SparkApplication, conf: &Conf, name: &Name) -> Vec<Value> {
    let mut files = vec![PROPERTIES, EXECUTOR_TEMPLATE];
    if application.spec.spark_conf.contains_key(LOG4J) {
        files.push(log4j::FILE);
    }
    let mut volumes = vec![conf_volume(name, &files), json!({"name": "dcp-stop", "emptyDir": {}})];
    if !has_scratch_volume(application) {
        volumes.push(json!({"name": "dcp-local", "emptyDir": {}}));
    }
    for (key, _, volume, _) in config_maps() {
        if let Some(map) = application.spec.spark_conf.get(key) {
            volumes.push(json!({"name": volume, "configMap": {"name": map}}));
        }
    }
    for (volume, class) in claims(conf, "options.storageClass") {
        let size =
            conf.get(&format!("{DRIVER_CLAIMS}{volume}.options.sizeLimit")).cloned().unwrap_or_default();
        let claim = json!({
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class,
            "resources": {"requests": {"storage": size}},
        });
        volumes.push(json!({"name": volume, "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}));
    }
    volumes
}

/// Returns the grace period of a driver.
pub(in crate::kubernetes) fn grace_seconds(application: &SparkApplication) -> u64 {
    let timeouts = application.spec.application_tolerations.application_timeout_config.as_ref();
    let grace = timeouts.and_then(|it| it.force_termination_grace_period_millis);
    grace.map_or(DEFAULT_GRACE_SECONDS, |it| it.div_ceil(1000))
}

/// Returns the volumes for which the driver gets claims, with one of their settings.
fn claims<'c>(conf: &'c Conf, setting: &'c str) -> impl Iterator<Item = (&'c str, &'c str)> {
    conf.iter().filter_map(move |(key, value)| {
        let volume = key.strip_prefix(DRIVER_CLAIMS)?.strip_suffix(setting)?.strip_suffix('.')?;
        Some((volume, value.as_str()))
    })
}

/// Returns the folders for Spark's scratch data.
fn local_folders(application: &SparkApplication) -> Vec<String> {
    let folders = scratch_mounts(application);
    if folders.is_empty() { vec![LOCAL_FOLDER.to_owned()] } else { folders }
}

fn has_scratch_volume(application: &SparkApplication) -> bool {
    !scratch_mounts(application).is_empty()
}

/// Returns the paths of the volumes for scratch data, which Spark knows by their names.
fn scratch_mounts(application: &SparkApplication) -> Vec<String> {
    let is_scratch = |volume: &str| volume.starts_with("spark-local-dir-");
    let template = &application.spec.driver_spec.pod_template_spec;
    let mounts = template["spec"]["containers"][0]["volumeMounts"].as_array().into_iter().flatten();
    let mounted = mounts
        .filter(|mount| mount["name"].as_str().is_some_and(is_scratch))
        .filter_map(|mount| mount["mountPath"].as_str());
    let claimed = claims(&application.spec.spark_conf, "mount.path").filter(|(volume, _)| is_scratch(volume));
    mounted.chain(claimed.map(|(_, path)| path)).map(str::to_owned).collect()
}
