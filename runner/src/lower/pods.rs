//! Builds pod templates from a manifest's settings of pods.

use std::collections::BTreeMap;

use dcp_gateway::application::{DRIVER_CLAIMS, EXECUTOR_CLAIMS};
use dcp_model::manifest::{
    ContainerResources, Env, EnvFrom, EnvSource, KeyRef, KubernetesName, OnDemandClaim, Pod, ScalarOr,
    SecretType, Toleration, Volume,
};
use serde_json::{Map, Value, json};

/// Returns a template: the manifest's own template, overridden by the manifest's other fields.
pub(super) fn template(
    pod: Option<&Pod>,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Value {
    let none = Pod::default();
    let pod = pod.unwrap_or(&none);
    let mut template = json!(pod.template);
    merge(&mut template, json!({"metadata": metadata(pod, labels, annotations)}));
    merge(&mut template, json!({"spec": spec(pod)}));
    let (volumes, mounts) = volumes(pod);
    append(&mut template["spec"], "volumes", volumes);
    let container = primary_container(&mut template, pod);
    append(container, "env", env(pod));
    append(container, "envFrom", pod.env_from.iter().map(env_source).collect());
    append(container, "volumeMounts", mounts);
    if let Some(resources) = &pod.resources {
        let all = extra_resources(resources);
        merge(container, json!({"resources": {"requests": all, "limits": all}}));
    }
    template
}

/// Returns the labels and annotations of a template.
fn metadata(
    pod: &Pod,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let own = pod.labels.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let labels = own.chain(labels.clone()).collect::<BTreeMap<_, _>>();
    let mut metadata = Map::from_iter([("labels".to_owned(), json!(labels))]);
    let mut annotations = self::annotations(pod, annotations);
    annotations.retain(|_, value| !has_placeholder(value));
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), json!(annotations));
    }
    metadata
}

/// Returns the settings of a pod, without its volumes and containers.
fn spec(pod: &Pod) -> Map<String, Value> {
    let mut spec = Map::new();
    let mut set = |key: &str, value: Value| {
        if !value.is_null() && value != json!([]) && value != json!({}) {
            spec.insert(key.to_owned(), value);
        }
    };
    set("serviceAccountName", json!(pod.service_account));
    set("nodeSelector", json!(pod.node_selector));
    set("affinity", json!(pod.affinity));
    set("tolerations", pod.tolerations.iter().map(toleration).collect());
    set("priorityClassName", json!(pod.priority_class));
    spec
}

/// Returns the volumes of a pod, and their mounts.
fn volumes(pod: &Pod) -> (Vec<Value>, Vec<Value>) {
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    let mut mount = |name: &str, source: Value, path: &str, read_only: bool| {
        let mut volume = json!({"name": name});
        merge(&mut volume, source);
        volumes.push(volume);
        mounts.push(json!({"name": name, "mountPath": path, "readOnly": read_only}));
    };
    for volume in pod.volumes.iter().filter(|volume| volume.on_demand_claim.is_none()) {
        mount(volume.name.as_str(), json!(volume.source), &volume.path, volume.read_only);
    }
    for (number, secret) in pod.secrets.iter().enumerate() {
        let source = json!({"secret": {"secretName": secret.name}});
        mount(&format!("dcp-secret-{number}"), source, &secret.path, true);
    }
    for (number, map) in pod.config_maps.iter().enumerate() {
        let source = json!({"configMap": {"name": map.name}});
        mount(&format!("dcp-config-{number}"), source, &map.path, true);
    }
    (volumes, mounts)
}

/// Returns the variables of the container that runs Spark.
fn env(pod: &Pod) -> Vec<Value> {
    let mut env: Vec<Value> = pod.env.iter().map(|(name, env)| env_variable(name.as_str(), env)).collect();
    env.extend(pod.secrets.iter().filter_map(|secret| {
        // The variables that clients of these kinds of secret read.
        match secret.kind {
            SecretType::Generic => None,
            SecretType::GcpServiceAccount => Some(json!({
                "name": "GOOGLE_APPLICATION_CREDENTIALS",
                "value": format!("{}/key.json", secret.path.trim_end_matches('/')),
            })),
            SecretType::HadoopDelegationToken => Some(json!({
                "name": "HADOOP_TOKEN_FILE_LOCATION",
                "value": format!("{}/hadoop.token", secret.path.trim_end_matches('/')),
            })),
        }
    }));
    env
}

/// Returns the quantities of resources that Spark does not set itself.
fn extra_resources(resources: &ContainerResources) -> Map<String, Value> {
    let storage = resources
        .ephemeral_storage
        .map(|it| ("ephemeral-storage".to_owned(), json!(format!("{}Mi", it.mib()))));
    let extended =
        resources.extended.iter().map(|(name, count)| (name.to_string(), json!(count.to_string())));
    storage.into_iter().chain(extended).collect()
}

/// Returns the settings for what Spark itself does with the pods of a role: it creates claims, and it replaces
/// placeholders in annotations that are settings, but not in those of a template.
pub(super) fn settings(
    role: &str,
    pod: Option<&Pod>,
    annotations: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let none = Pod::default();
    let pod = pod.unwrap_or(&none);
    let annotations = self::annotations(pod, annotations).into_iter();
    let annotations = annotations
        .filter(|(_, value)| has_placeholder(value))
        .map(|(key, value)| (format!("spark.kubernetes.{role}.annotation.{key}"), value));
    let claims = if role == "driver" { DRIVER_CLAIMS } else { EXECUTOR_CLAIMS };
    annotations.chain(pod.volumes.iter().flat_map(|volume| claim(claims, volume))).collect()
}

/// Returns the settings of a volume for which Spark creates a claim.
fn claim(claims: &str, volume: &Volume) -> Vec<(String, String)> {
    let Some(OnDemandClaim { storage_class, size_limit }) = &volume.on_demand_claim else {
        return Vec::new();
    };
    let setting = |key: &str, value: String| (format!("{claims}{}.{key}", volume.name), value);
    vec![
        setting("mount.path", volume.path.clone()),
        setting("options.claimName", "OnDemand".to_owned()),
        setting("options.storageClass", storage_class.to_string()),
        setting("options.sizeLimit", format!("{}Mi", size_limit.mib())),
    ]
}

/// Returns the workload's annotations, overridden by those of the pod.
fn annotations(pod: &Pod, of_workload: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = pod.annotations.iter().map(|(key, value)| (key.to_string(), value.clone()));
    of_workload.clone().into_iter().chain(own).collect()
}

fn has_placeholder(value: &str) -> bool {
    ["{{APP_ID}}", "{{EXECUTOR_ID}}"].into_iter().any(|placeholder| value.contains(placeholder))
}

/// Mounts a config map of the application in the primary container.
pub(super) fn mount(template: &mut Value, pod: Option<&Pod>, map: &str, path: &str) {
    let none = Pod::default();
    append(&mut template["spec"], "volumes", vec![json!({"name": "dcp-job", "configMap": {"name": map}})]);
    let mounts = vec![json!({"name": "dcp-job", "mountPath": path, "readOnly": true})];
    append(primary_container(template, pod.unwrap_or(&none)), "volumeMounts", mounts);
}

/// Returns the container that runs Spark: the named one, or the first one. It becomes the first one.
fn primary_container<'t>(template: &'t mut Value, pod: &Pod) -> &'t mut Value {
    let named = pod.primary_container.as_ref().map(KubernetesName::as_str);
    let containers = &mut template["spec"]["containers"];
    if !containers.is_array() {
        *containers = json!([]);
    }
    let list = containers.as_array_mut().expect("it was made one");
    let at = match named {
        Some(name) => list.iter().position(|container| container["name"] == name),
        None => (!list.is_empty()).then_some(0),
    };
    let at = at.unwrap_or_else(|| {
        list.push(json!({"name": named.unwrap_or("spark")}));
        list.len() - 1
    });
    list[..=at].rotate_right(1);
    &mut list[0]
}

fn env_variable(name: &str, env: &Env) -> Value {
    let key = |key: &KeyRef| json!({"name": key.name, "key": key.key});
    match env {
        ScalarOr::Scalar(value) => json!({"name": name, "value": value.as_str()}),
        ScalarOr::Map(EnvSource::Secret(of)) => json!({"name": name, "valueFrom": {"secretKeyRef": key(of)}}),
        ScalarOr::Map(EnvSource::ConfigMap(of)) => {
            json!({"name": name, "valueFrom": {"configMapKeyRef": key(of)}})
        }
        ScalarOr::Map(EnvSource::Field(path)) => {
            json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
        }
    }
}

fn env_source(from: &EnvFrom) -> Value {
    match from {
        EnvFrom::Secret(name) => json!({"secretRef": {"name": name}}),
        EnvFrom::ConfigMap(name) => json!({"configMapRef": {"name": name}}),
    }
}

fn toleration(toleration: &Toleration) -> Value {
    let Toleration { key, operator, value, effect, duration } = toleration;
    let mut all = Map::from_iter([("operator".to_owned(), json!(format!("{operator:?}")))]);
    let mut set = |name: &str, value: Option<Value>| all.extend(value.map(|value| (name.to_owned(), value)));
    set("key", key.as_ref().map(|key| json!(key)));
    set("value", value.as_ref().map(|value| json!(value)));
    set("effect", effect.map(|effect| json!(format!("{effect:?}"))));
    set("tolerationSeconds", duration.map(|it| json!(it.millis() / 1000)));
    Value::Object(all)
}

/// Merges one object into another, key by key.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// Appends items to a list, which is created if it is missing.
fn append(object: &mut Value, key: &str, items: Vec<Value>) {
    if items.is_empty() {
        return;
    }
    match &mut object[key] {
        Value::Array(existing) => existing.extend(items),
        other => *other = Value::Array(items),
    }
}
