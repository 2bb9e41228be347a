//! Builds the objects of a driver, as Spark's own submitter would. It is pure.

mod budget;
pub(super) mod conf;
mod connect;
pub(super) mod pod;
mod template;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

use super::{ConnectFrom, Settings, labels, secrets};
use crate::application::LOG4J;
use crate::error::{Error, Result};
use crate::{Addresses, Name, SparkApplication, log4j};
use connect::Connect;
pub(super) use connect::is_pool_driver;

/// Folder of Spark's settings in the container of the driver.
const CONF_FOLDER: &str = "/opt/dcp/conf";
const PROPERTIES: &str = "spark.properties";
const EXECUTOR_TEMPLATE: &str = "executor.json";
/// Maximum size of a config map, with a reserve for its metadata.
pub(super) const MAX_CONFIG_BYTES: usize = 1_000_000;

/// Ports of a driver.
const RPC_PORT: u16 = 7078;
const BLOCK_MANAGER_PORT: u16 = 7079;
const UI_PORT: u16 = 4040;
const CONNECT_PORT: u16 = 15002;

/// The objects of an application.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    pub(super) namespace: String,
    pub(super) driver: Pod,
    config: ConfigMap,
    service: Service,
    budget: Option<PodDisruptionBudget>,
    connect: Option<Connect>,
    /// The addresses that the application has while its driver runs.
    pub(super) addresses: Addresses,
}

/// The objects that a driver's pod owns.
#[derive(Clone)]
pub(super) struct Owned {
    pub(super) config: ConfigMap,
    pub(super) service: Service,
    pub(super) budget: Option<PodDisruptionBudget>,
    /// The secret and the network policy of a driver that serves Spark Connect for a pool.
    pub(super) connect: Option<(Secret, NetworkPolicy)>,
}

impl Objects {
    /// Returns the objects that the driver's pod with a UID owns.
    pub(super) fn owned_by(&self, uid: &str) -> Owned {
        let owner = owner(self.driver.metadata.name.as_deref().unwrap_or_default(), uid);
        let (mut config, mut service) = (self.config.clone(), self.service.clone());
        let mut budget = self.budget.clone();
        let connect = self.connect.as_ref().map(|connect| connect.owned_by(&owner));
        if let Some(budget) = &mut budget {
            budget.metadata.owner_references = Some(vec![owner.clone()]);
        }
        config.metadata.owner_references = Some(vec![owner.clone()]);
        service.metadata.owner_references = Some(vec![owner]);
        Owned { config, service, budget, connect }
    }
}

/// Returns a reference to a driver's pod, for the objects that are deleted with it.
pub(super) fn owner(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

pub(super) fn driver_name(name: &Name) -> String {
    format!("{name}-driver")
}

fn service_name(name: &Name) -> String {
    format!("{name}-driver-svc")
}

/// Returns the name of a driver's service in the cluster.
pub(super) fn service_host(name: &Name, namespace: &str) -> String {
    format!("{}.{namespace}.svc", service_name(name))
}

fn config_name(name: &Name) -> String {
    format!("{name}-job")
}

/// Returns the objects of an application.
pub(super) fn objects(application: &SparkApplication, settings: &Settings) -> Result<Objects> {
    let name: Name = application.metadata.name.parse()?;
    let namespace = settings.namespace(&application.metadata.namespace)?;
    let connect = connect::of(application, settings, &name)?;
    let mut conf = conf::conf(application, settings, &name, &namespace)?;
    if connect.is_some() {
        Connect::configure(&mut conf);
    }
    let with_secrets = secrets::settings(&conf)?;
    let mut files = secrets::Files::of(application)?;
    files.add_settings(&conf, &with_secrets, &config_name(&name), PROPERTIES)?;
    files.redact(&mut conf, &with_secrets);
    let host = service_host(&name, &namespace);
    let addresses = conf::addresses(&conf, application.spec.main_class.as_deref(), name.as_str(), &host);
    let token = connect.as_ref().map(|_| Connect::variable(&name));
    let driver = pod::driver(application, settings, &conf, &name, &files, token)?;
    let mut data: BTreeMap<String, String> =
        application.spec.config_map_specs.iter().flat_map(|map| map.data.clone()).collect();
    data.insert(PROPERTIES.to_owned(), conf::properties(&conf));
    data.insert(
        EXECUTOR_TEMPLATE.to_owned(),
        pod::executor_template(application, settings, &name)?.to_string(),
    );
    if let Some(text) = application.spec.spark_conf.get(LOG4J) {
        data.insert(log4j::FILE.to_owned(), text.clone());
    }
    let size: usize = data.values().map(String::len).sum();
    if size > MAX_CONFIG_BYTES {
        return Err(Error::Invalid(format!(
            "the job with its settings has {size} bytes, and a config map has at most {MAX_CONFIG_BYTES}: put long SQL \
             into views or files"
        )));
    }
    let metadata = metadata(&name, config_name(&name));
    let config = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
    let service = service(&name)?;
    let budget = budget::of(application, &name);
    Ok(Objects { namespace, driver, config, service, budget, connect, addresses })
}

/// Returns the metadata of an object of an application.
pub(super) fn metadata(name: &Name, object: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(object),
        labels: Some(BTreeMap::from([(labels::APPLICATION.to_owned(), name.to_string())])),
        ..ObjectMeta::default()
    }
}

/// Returns the service of a driver, which selects its pod by labels.
pub(super) fn service(name: &Name) -> Result<Service> {
    let object = service_name(name);
    if object.len() > 63 {
        return Err(Error::Invalid(format!("the name `{name}` is too long for a service of its driver")));
    }
    let ports = [
        ("driver-rpc-port", RPC_PORT),
        ("blockmanager", BLOCK_MANAGER_PORT),
        ("spark-ui", UI_PORT),
        ("spark-connect", CONNECT_PORT),
    ];
    let ports = ports.map(|(port, number)| json!({"name": port, "port": number}));
    let spec = json!({
        "clusterIP": "None",
        "selector": {labels::APPLICATION: name.as_str(), labels::ROLE: "driver"},
        "ports": ports,
    });
    let spec = serde_json::from_value(spec).map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(Service { metadata: metadata(name, object), spec: Some(spec), ..Service::default() })
}

#[cfg(test)]
mod golden_tests;
