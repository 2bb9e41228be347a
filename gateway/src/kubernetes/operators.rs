//! Applications that an operator of the cluster runs. It is pure.
//!
//! The Gateway creates a custom resource, and the operator creates the driver's pod from it. The pod has the scheduling
//! gate of [`labels::GATE`] by its template, so that an operator can't start a driver: the Gateway removes the gate from
//! the pod that the application's record names. Pods decide about an application's status. The operator's own status is
//! a [`Hint`]: it explains why no driver pod appears.

mod apache;
mod hint;
mod kubeflow;
mod submission;
mod template;

#[cfg(test)]
mod hint_tests;
#[cfg(test)]
mod recorded_tests;
#[cfg(test)]
mod resource_tests;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::facts::{PodFacts, Role};
use super::native;
use super::native::conf::addresses;
use super::operator::{KIND, Operator};
use super::{Settings, labels};
use crate::error::{Error, Result};
use crate::{Addresses, Name, SparkApplication};
pub(super) use hint::Hint;
use submission::Submission;

/// Spark's label of a pod: its identifier of the application.
const APPLICATION_ID: &str = "spark-app-selector";

impl Operator {
    /// Reads the status of a custom resource.
    pub(super) fn hint(self, resource: &Value) -> Hint {
        match self {
            Operator::Apache => apache::hint(resource),
            Operator::Kubeflow => kubeflow::hint(resource),
        }
    }

    /// Returns the objects of an application. Rejects each field that the operator would ignore.
    pub(super) fn objects(self, application: &SparkApplication, settings: &Settings) -> Result<Objects> {
        let name: Name = application.metadata.name.parse()?;
        let service = native::service(&name)?;
        let namespace = settings.namespace(&application.metadata.namespace)?;
        let submission = Submission::new(application, settings)?;
        let host = native::service_host(&name, &namespace);
        let addresses = addresses(&submission.conf, application.spec.main_class.as_deref(), "", &host);
        let spec = match self {
            Operator::Apache => apache::spec(&name, submission),
            Operator::Kubeflow => kubeflow::spec(&name, submission)?,
        };
        let mut labels = application.metadata.labels.clone();
        labels.insert(labels::APPLICATION.to_owned(), name.to_string());
        let own = settings.control_plane.clone();
        labels.extend(own.map(|own| (labels::CONTROL_PLANE.to_owned(), own)));
        let api_version = self.resource().api_version;
        let mut resource = json!({
            "apiVersion": api_version,
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": spec,
        });
        if !application.metadata.annotations.is_empty() {
            resource["metadata"]["annotations"] = json!(application.metadata.annotations);
        }
        let configs = configs(application, &name)?;
        Ok(Objects { operator: self, name, namespace, resource, configs, service, addresses })
    }
}

/// The objects of an application.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    pub(super) operator: Operator,
    name: Name,
    pub(super) namespace: String,
    /// The custom resource; it has the application's name.
    pub(super) resource: Value,
    configs: Vec<ConfigMap>,
    service: Service,
    /// The addresses of the application while its driver runs. That of the event log lacks Spark's identifier of the
    /// application, which [`application_id`] returns.
    pub(super) addresses: Addresses,
}

impl Objects {
    /// Returns the config maps and the service that a driver needs before it starts, owned by the custom resource.
    pub(super) fn owned_by(&self, uid: &str) -> (Vec<ConfigMap>, Service) {
        let owner = OwnerReference {
            api_version: self.operator.resource().api_version,
            kind: KIND.to_owned(),
            name: self.name.to_string(),
            uid: uid.to_owned(),
            controller: None,
            block_owner_deletion: None,
        };
        let (mut configs, mut service) = (self.configs.clone(), self.service.clone());
        for config in &mut configs {
            config.metadata.owner_references = Some(vec![owner.clone()]);
        }
        service.metadata.owner_references = Some(vec![owner]);
        (configs, service)
    }
}

/// Returns the identifier that Spark chose for an application.
pub(super) fn application_id(driver: &Pod) -> Option<&str> {
    driver.metadata.labels.as_ref()?.get(APPLICATION_ID).map(String::as_str)
}

/// Returns the driver pod that the record of an application should name. A pod without the gate may run already, so it
/// is preferred.
pub(super) fn candidate<'p>(pods: impl IntoIterator<Item = &'p PodFacts>) -> Option<&'p PodFacts> {
    let drivers = pods.into_iter().filter(|pod| pod.role == Role::Driver);
    let usable = drivers.filter(|pod| !pod.is_gated() || !pod.is_deleting);
    usable.min_by(|a, b| (a.is_gated(), &a.uid).cmp(&(b.is_gated(), &b.uid)))
}

/// Returns the config maps without which the containers of a pod can't start. They are missing if an operator was
/// stopped while it submitted.
pub(super) fn required_config_maps(pod: &Pod) -> Vec<&str> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let maps = volumes.iter().filter_map(|volume| volume.config_map.as_ref());
    maps.filter(|map| map.optional != Some(true)).map(|map| map.name.as_str()).collect()
}

/// Returns the config maps with the files of the job.
fn configs(application: &SparkApplication, name: &Name) -> Result<Vec<ConfigMap>> {
    let maps = application.spec.config_map_specs.iter();
    maps.map(|map| {
        let size: usize = map.data.values().map(String::len).sum();
        if size > native::MAX_CONFIG_BYTES {
            return Err(Error::Invalid(format!(
                "the job has {size} bytes, and a config map has at most {}: put long SQL into views or files",
                native::MAX_CONFIG_BYTES
            )));
        }
        let metadata = native::metadata(name, map.name.clone());
        Ok(ConfigMap { metadata, data: Some(map.data.clone()), ..ConfigMap::default() })
    })
    .collect()
}
