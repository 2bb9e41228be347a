//! The objects of a driver that serves Spark Connect for a pool: the secret with its token, and the network policy that
//! lets only proxies of dcp reach its port.

use std::collections::BTreeMap;
use std::fmt::Display;

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::conf::Conf;
use super::{CONNECT_PORT, ConnectFrom, Settings, labels, metadata};
use crate::connect::{self, BINDING_PORT, SETTINGS, TOKEN_VARIABLE};
use crate::error::{Error, Result};
use crate::secrets::SecretValue;
use crate::{Name, SparkApplication};

/// The key of the secret that has the token.
const TOKEN_KEY: &str = "token";

/// The objects of a driver, without their owner. Debugging output does not have the token.
#[derive(Debug, Clone)]
pub(super) struct Connect {
    name: Name,
    token: SecretValue,
    policy: NetworkPolicy,
}

/// Returns the objects of an application, if it is the driver of a pool.
pub(super) fn of(
    application: &SparkApplication,
    settings: &Settings,
    name: &Name,
) -> Result<Option<Connect>> {
    let Some(token) = connect::token(application, settings.connect_key.as_ref())? else { return Ok(None) };
    if let Some(setting) = SETTINGS.iter().find(|setting| settings.conf.contains_key(**setting)) {
        return Err(Error::Invalid(format!(
            "the cluster `{}` has `{setting}` among its `settings`, and dcp sets the address and the token of a pool's \
             drivers: remove it from the clusters file",
            settings.name
        )));
    }
    let policy = policy(name, &settings.connect_from)?;
    Ok(Some(Connect { name: name.clone(), token, policy }))
}

impl Connect {
    /// Returns the secret and the network policy with an owner.
    pub(super) fn owned_by(&self, owner: &OwnerReference) -> (Secret, NetworkPolicy) {
        let mut secret = Secret {
            metadata: metadata(&self.name, object_name(&self.name)),
            string_data: Some(BTreeMap::from([(TOKEN_KEY.to_owned(), self.token.expose().to_owned())])),
            immutable: Some(true),
            ..Secret::default()
        };
        let mut policy = self.policy.clone();
        secret.metadata.owner_references = Some(vec![owner.clone()]);
        policy.metadata.owner_references = Some(vec![owner.clone()]);
        (secret, policy)
    }

    /// Sets the port of the driver. It listens on all addresses of its pod.
    pub(super) fn configure(conf: &mut Conf) {
        conf.insert(BINDING_PORT.to_owned(), CONNECT_PORT.to_string());
    }

    /// Returns the variable of the driver's container that has the token.
    pub(super) fn variable(name: &Name) -> Value {
        let reference = json!({"name": object_name(name), "key": TOKEN_KEY});
        json!({"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": reference}})
    }
}

fn object_name(name: impl Display) -> String {
    format!("{name}-connect")
}

/// Returns true if a pod is the driver of a pool: its token is that of its application.
pub(in crate::kubernetes) fn is_pool_driver(pod: &Pod) -> bool {
    let application = pod.metadata.labels.as_ref().and_then(|labels| labels.get(labels::APPLICATION));
    let Some(application) = application else { return false };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let variables = containers.flat_map(|container| container.env.iter().flatten());
    let mut tokens = variables.filter(|variable| variable.name == TOKEN_VARIABLE);
    tokens.any(|token| {
        let secret = token.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        secret.is_some_and(|secret| secret.name == object_name(application))
    })
}

/// Returns the policy of a driver's pod. It selects the pod, so that ports without a rule are closed: the port of Spark
/// Connect is open for proxies, and all other ports are open as they are without a policy.
fn policy(name: &Name, from: &ConnectFrom) -> Result<NetworkPolicy> {
    let namespaces = match &from.namespace {
        Some(namespace) => json!({"matchLabels": {labels::NAMESPACE_NAME: namespace}}),
        None => json!({}),
    };
    let mut proxies = vec![json!({
        "namespaceSelector": namespaces,
        "podSelector": {"matchLabels": {labels::COMPONENT: labels::PROXY}},
    })];
    proxies.extend(from.cidrs.iter().map(|cidr| json!({"ipBlock": {"cidr": cidr}})));
    let range =
        |protocol: &str, first: u16, last: u16| json!({"protocol": protocol, "port": first, "endPort": last});
    let others = [
        range("TCP", 1, CONNECT_PORT - 1),
        range("TCP", CONNECT_PORT + 1, u16::MAX),
        range("UDP", 1, u16::MAX),
        range("SCTP", 1, u16::MAX),
    ];
    let spec = json!({
        "podSelector": {"matchLabels": {labels::APPLICATION: name.as_str(), labels::ROLE: "driver"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": proxies, "ports": [{"protocol": "TCP", "port": CONNECT_PORT}]},
            {"ports": others},
        ],
    });
    let spec = serde_json::from_value(spec).map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(NetworkPolicy { metadata: metadata(name, object_name(name)), spec: Some(spec) })
}
