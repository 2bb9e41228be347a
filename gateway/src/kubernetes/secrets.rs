//! Secrets of an application on a cluster. dcp never has their values: the pods refer to the secrets of their namespace.
//!
//! | place of a reference | way |
//! | --- | --- |
//! | variable of a container | `secretKeyRef` |
//! | settings of Spark, JSON of dcp's own programs | an init container of the driver's pod replaces the references in copies of the files, in a folder in memory |

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::lists::append;
use crate::SparkApplication;
use crate::application::Spec;
use crate::error::{Error, Result};
use crate::fields::{containers, items};
use crate::references::{self, Found, Piece, SecretKey, has_reference, pieces};

/// The folder of the files with the values, in the containers of the driver and of [`RENDER`].
pub(super) const FOLDER: &str = "/opt/dcp/secrets";
/// The folder of the files with references and of the secrets. Only the init container has it.
const SOURCES: &str = "/opt/dcp/sources";
const FOLDER_VOLUME: &str = "dcp-secrets";
const SOURCES_VOLUME: &str = "dcp-secret-sources";
const CONTAINER: &str = "dcp-secrets";
/// Maximum size of the files with the values.
const FOLDER_LIMIT: &str = "32Mi";

/// Replaces the references in files. Spark's images have bash, as Spark's own programs need it.
///
/// A value is escaped such that both JSON and Java's properties read it unchanged.
const RENDER: &str = include_str!("secrets.sh");

/// Settings that Spark copies into the pods of executors: the beginning of their names, and the way out.
const EXPOSED: &[(&str, &str)] = &[
    ("spark.kubernetes.", "use `pods.driver.env` or `pods.executors.env`"),
    ("spark.executorEnv.", "use `pods.executors.env`"),
    ("spark.auth", "leave it out, as Spark creates one for each application"),
    ("spark.ssl.", "mount the key store with `pods.driver.secrets` and `pods.executors.secrets`"),
    ("spark.rpc.", "it is for settings without secrets"),
    ("spark.network.", "it is for settings without secrets"),
];

type Conf = BTreeMap<String, String>;

/// The files of an application that an init container completes with secrets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// The names of the files by the config map that has them.
    maps: BTreeMap<String, BTreeSet<String>>,
    secrets: BTreeSet<SecretKey>,
    /// The names of the options of sources and sinks that have secrets.
    options: BTreeSet<String>,
}

impl Files {
    /// Returns the application's own files that have references.
    pub(super) fn of(application: &SparkApplication) -> Result<Self> {
        let mut files = Self::default();
        for map in &application.spec.config_map_specs {
            for (name, text) in map.data.iter().filter(|(_, text)| has_reference(text)) {
                let Ok(mut document) = serde_json::from_str::<Value>(text) else {
                    return Err(Error::field("job", "it refers to a secret in a file that is not JSON"));
                };
                references::visit_json(&mut document, "job", &mut |Found { text, option, field }| {
                    files.add(text, field)?;
                    files.options.insert(option.to_owned());
                    Ok(())
                })?;
                files.maps.entry(map.name.clone()).or_default().insert(name.clone());
            }
        }
        Ok(files)
    }

    /// Adds a file with settings that have references. `map` is the config map that has the file.
    pub(super) fn add_settings(&mut self, conf: &Conf, keys: &[String], map: &str, file: &str) -> Result<()> {
        for key in keys {
            self.add(&conf[key], &format!("spark.conf.{key}"))?;
        }
        if !keys.is_empty() {
            self.maps.entry(map.to_owned()).or_default().insert(file.to_owned());
        }
        Ok(())
    }

    fn add(&mut self, text: &str, field: &str) -> Result<()> {
        for secret in references::secrets(text, field)? {
            check_name(&secret, field)?;
            self.secrets.insert(secret);
        }
        Ok(())
    }

    /// Makes Spark leave the options and settings out of its event log and its web interface.
    pub(super) fn redact(&self, conf: &mut Conf, settings: &[String]) {
        references::redact(conf, settings, &self.options);
    }

    /// Returns the path of a file in the container of the driver, if it has secrets.
    pub(super) fn path(&self, map: &str, file: &str) -> Option<String> {
        self.maps.get(map)?.contains(file).then(|| format!("{FOLDER}/{file}"))
    }

    /// Returns the arguments of the program, in which the paths of files with secrets are replaced.
    pub(super) fn arguments(&self, spec: &Spec) -> Vec<String> {
        let paths: BTreeMap<String, String> = self
            .maps
            .iter()
            .filter_map(|(map, files)| Some((mount_path(spec, map)?.trim_end_matches('/'), files)))
            .flat_map(|(mount, files)| {
                files.iter().map(move |file| (format!("{mount}/{file}"), format!("{FOLDER}/{file}")))
            })
            .collect();
        spec.driver_args.iter().map(|arg| paths.get(arg).unwrap_or(arg).clone()).collect()
    }

    /// Adds the init container and its volumes to a driver's pod, whose first container runs Spark. `image` is for pods
    /// whose image is set elsewhere.
    pub(super) fn add_to(&self, pod: &mut Value, image: &str) {
        if self.maps.is_empty() {
            return;
        }
        let driver = &mut pod["spec"]["containers"][0];
        let init = self.init_container(driver, image);
        append(
            driver,
            "volumeMounts",
            vec![json!({"name": FOLDER_VOLUME, "mountPath": FOLDER, "readOnly": true})],
        );
        let spec = &mut pod["spec"];
        append(spec, "initContainers", vec![init]);
        let memory = json!({"medium": "Memory", "sizeLimit": FOLDER_LIMIT});
        append(
            spec,
            "volumes",
            vec![
                json!({"name": FOLDER_VOLUME, "emptyDir": memory}),
                json!({"name": SOURCES_VOLUME, "projected": {"sources": self.sources()}}),
            ],
        );
    }

    fn init_container(&self, driver: &Value, image: &str) -> Value {
        let files = self.maps.values().flatten().map(String::as_str);
        // Kubernetes replaces `$(NAME)` in commands.
        let script = RENDER.replace("$(", "$$(");
        let command = ["/bin/bash", "-c", &script, CONTAINER].into_iter().chain(files);
        let mut container = json!({
            "name": CONTAINER,
            "image": image,
            "command": command.collect::<Vec<_>>(),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            // Those of the driver apply if they are known, so that the pod needs no more with this container.
            "resources": {
                "requests": {"cpu": "100m", "memory": "64Mi"},
                "limits": {"cpu": "100m", "memory": "64Mi"},
            },
            "volumeMounts": [
                {"name": SOURCES_VOLUME, "mountPath": SOURCES, "readOnly": true},
                {"name": FOLDER_VOLUME, "mountPath": FOLDER},
            ],
        });
        // The files must have the owner whom the driver has.
        for field in ["imagePullPolicy", "securityContext", "resources"] {
            if let Some(value) = driver.get(field).filter(|value| !value.is_null()) {
                container[field] = value.clone();
            }
        }
        container
    }

    fn sources(&self) -> Vec<Value> {
        let files = self.maps.iter().map(|(map, files)| {
            let items: Vec<Value> =
                files.iter().map(|file| json!({"key": file, "path": format!("files/{file}")})).collect();
            json!({"configMap": {"name": map, "items": items}})
        });
        let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for secret in &self.secrets {
            keys.entry(secret.name()).or_default().push(secret.key());
        }
        let secrets = keys.into_iter().map(|(name, keys)| {
            let items: Vec<Value> = keys
                .into_iter()
                .map(|key| json!({"key": key, "path": format!("secrets/{name}/{key}")}))
                .collect();
            json!({"secret": {"name": name, "items": items}})
        });
        files.chain(secrets).collect()
    }
}

/// Returns the path at which the driver's container mounts a config map.
fn mount_path<'s>(spec: &'s Spec, map: &str) -> Option<&'s str> {
    let volumes = items(&spec.driver_spec.pod_template_spec["spec"], "volumes");
    let mut volumes = volumes.filter(|volume| volume["configMap"]["name"] == map);
    let volume = volumes.next()?["name"].as_str()?;
    let mut mounts = containers(spec).flat_map(|container| items(container, "volumeMounts"));
    mounts.find(|mount| mount["name"] == volume)?["mountPath"].as_str()
}

/// Returns the names of the settings with references. Rejects references in settings that Spark copies into pods.
pub(super) fn settings(conf: &Conf) -> Result<Vec<String>> {
    let keys = references::settings_with_secrets(conf)?;
    for key in &keys {
        if let Some((_, help)) = EXPOSED.iter().find(|(prefix, _)| key.starts_with(prefix)) {
            let reason = format!("Spark would copy the secret into the pods of executors: {help}");
            return Err(Error::field(format!("spark.conf.{key}"), reason));
        }
    }
    Ok(keys)
}

/// Replaces references in variables of a pod's containers by references of Kubernetes. Rejects references elsewhere in
/// the template. `role` is the manifest's field, for messages.
pub(super) fn resolve_template(template: &mut Value, role: &str) -> Result<()> {
    for kind in ["containers", "initContainers"] {
        for container in template["spec"].get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
            resolve_environment(container, role)?;
        }
    }
    let place = "a part of the pod that users of its namespace can read";
    references::reject(&template.to_string(), role, place)
}

fn resolve_environment(container: &mut Value, role: &str) -> Result<()> {
    let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) else { return Ok(()) };
    let mut own: Vec<Value> = Vec::new();
    for variable in variables.iter_mut() {
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        let Some(text) = variable["value"].as_str().filter(|text| has_reference(text)) else { continue };
        let field = format!("{role}.env.{name}");
        let mut value = String::new();
        let pieces = pieces(text, &field)?;
        if let [Piece::Secret(secret)] = &*pieces {
            *variable = secret_variable(&name, secret, &field)?;
            continue;
        }
        for piece in pieces {
            match piece {
                Piece::Text(text) => value.push_str(text),
                // Kubernetes replaces the names of variables that are defined before.
                Piece::Secret(secret) => {
                    let name = format!("DCP_SECRET_{}", own.len());
                    value.extend(["$(", &name, ")"]);
                    own.push(secret_variable(&name, &secret, &field)?);
                }
            }
        }
        variable["value"] = json!(value);
    }
    variables.splice(0..0, own);
    Ok(())
}

fn secret_variable(name: &str, secret: &SecretKey, field: &str) -> Result<Value> {
    check_name(secret, field)?;
    let reference = json!({"name": secret.name(), "key": secret.key()});
    Ok(json!({"name": name, "valueFrom": {"secretKeyRef": reference}}))
}

/// Rejects a name that no secret of Kubernetes can have.
fn check_name(secret: &SecretKey, field: &str) -> Result<()> {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    let bytes = secret.name().as_bytes();
    let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(byte);
    let is_name = is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().all(is_inner);
    let reason = || {
        format!(
            "no secret of Kubernetes can have the name `{}`: use lower-case letters, digits, `-` and `.`",
            secret.name()
        )
    };
    is_name.then_some(()).ok_or_else(|| Error::field(field, reason()))
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
