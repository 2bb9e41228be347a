//! The pod templates of custom resources.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

use super::super::lists::append;
use super::super::native::pod::{
    PRE_STOP, STOP_FOLDER, executor_template, grace_seconds, label_owner, primary_container,
};
use super::super::{Settings, labels, queue, secrets};
use crate::error::{Error, Result};
use crate::{Name, SparkApplication};

/// Returns the template of a driver's pod. The pod is gated: it does not start by itself.
///
/// `image` is that of the driver, whose container gets it from Spark's submitter.
pub(super) fn driver(
    application: &SparkApplication,
    settings: &Settings,
    files: &secrets::Files,
    image: &str,
) -> Result<Value> {
    let mut pod = application.spec.driver_spec.pod_template_spec.clone();
    if !pod.is_object() {
        pod = json!({});
    }
    secrets::resolve_template(&mut pod, "pods.driver")?;
    pod["metadata"]["labels"][labels::APPLICATION] = json!(application.metadata.name);
    label_owner(&mut pod, settings);
    let name: Name = application.metadata.name.parse()?;
    queue::label(&mut pod, settings, &application.metadata.namespace, &name);
    pod["metadata"]["annotations"][labels::CONTAINER] = json!(labels::DRIVER_CONTAINER);
    let container = primary_container(&mut pod, "driver");
    container["name"] = json!(labels::DRIVER_CONTAINER);
    append(
        container,
        "env",
        vec![json!({"name": "DCP_STOP_FILE", "value": format!("{STOP_FOLDER}/request")})],
    );
    append(container, "volumeMounts", vec![json!({"name": "dcp-stop", "mountPath": STOP_FOLDER})]);
    if container["lifecycle"].get("preStop").is_none() {
        container["lifecycle"]["preStop"] = json!({"exec": {"command": ["/bin/sh", "-c", PRE_STOP]}});
    }
    let spec = &mut pod["spec"];
    append(spec, "volumes", vec![json!({"name": "dcp-stop", "emptyDir": {}})]);
    append(spec, "schedulingGates", vec![json!({"name": labels::GATE})]);
    spec["restartPolicy"] = json!("Never");
    spec["terminationGracePeriodSeconds"] = json!(grace_seconds(application));
    if spec["serviceAccountName"].is_null() {
        spec["serviceAccountName"] = json!(settings.service_account);
    }
    files.add_to(&mut pod, image);
    checked("pods.driver.template", pod)
}

/// Returns the template of the pods of executors.
pub(super) fn executor(application: &SparkApplication, settings: &Settings) -> Result<Value> {
    let name: Name = application.metadata.name.parse()?;
    checked("pods.executors.template", executor_template(application, settings, &name)?)
}

/// Rejects a template with a value of a wrong type or with an unknown field: the API server and the operators drop
/// unknown fields, and the operator of Kubeflow stops at wrong types.
fn checked(field: &str, mut template: Value) -> Result<Value> {
    if let Some(template) = template.as_object_mut() {
        template.remove("apiVersion");
        template.remove("kind");
    }
    let invalid = |error: serde_json::Error| Error::field(field, error.to_string());
    let known: PodTemplateSpec = serde_json::from_value(template.clone()).map_err(invalid)?;
    let known = serde_json::to_value(known).map_err(invalid)?;
    match dropped(&template, &known) {
        Some(path) => Err(Error::field(format!("{field}{path}"), "a pod has no such field")),
        None => Ok(template),
    }
}

/// Returns the path of a value that another value lacks.
fn dropped(full: &Value, known: &Value) -> Option<String> {
    match (full, known) {
        (Value::Object(full), Value::Object(known)) => {
            full.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| {
                let rest = known.get(key).map_or_else(|| Some(String::new()), |known| dropped(value, known));
                rest.map(|rest| format!(".{key}{rest}"))
            })
        }
        (Value::Array(full), Value::Array(known)) => full
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(at, (value, known))| dropped(value, known).map(|rest| format!("[{at}]{rest}"))),
        _ => None,
    }
}
