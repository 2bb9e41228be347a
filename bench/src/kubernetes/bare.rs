//! A bare client that creates the objects of applications, and nothing else.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use dcp_runner::execution::Id;
use dcp_tests::cluster::RECORDS;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::{CLIENTS, NAMESPACE, rate};
use crate::runner::Result;

/// The objects of one application, as the Gateway created them.
#[derive(Clone)]
pub(super) struct Objects {
    record: ConfigMap,
    driver: Pod,
    config: ConfigMap,
    service: Service,
}

impl Objects {
    pub(super) async fn read(client: &Client, id: &Id) -> Result<Self> {
        let name = format!("dcp-{id}-1");
        let records: Api<ConfigMap> = Api::namespaced(client.clone(), RECORDS);
        let configs: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
        // These are created after the pod.
        let config = wait_for(&configs, &format!("{name}-job")).await?;
        let mut service = wait_for(&services, &format!("{name}-driver-svc")).await?;
        if let Some(spec) = &mut service.spec {
            // All of them are `None`, or they are assigned.
            spec.cluster_ips = None;
        }
        let driver = pods.get(&format!("{name}-driver")).await?;
        Ok(Self { record: records.get(&name).await?, driver, config, service })
    }

    /// Returns the applications per second whose objects are created by concurrent clients.
    pub(super) async fn rate(&self, client: &Client, round: usize, count: usize) -> Result<f64> {
        let (objects, begun) = (Arc::new(self.clone()), Instant::now());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (objects, client) = (Arc::clone(&objects), client.clone());
            clients.spawn(async move {
                for number in (number..count).step_by(CLIENTS) {
                    objects.create(&client, &format!("bare-{round}-{number}")).await?;
                }
                Ok::<_, kube::Error>(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        Ok(rate(count, begun.elapsed()))
    }

    async fn create(&self, client: &Client, name: &str) -> kube::Result<()> {
        let Self { record, driver, config, service } = self;
        create(client, RECORDS, record, name, None).await?;
        // Without the label, the Runner does not take it for one of its drivers.
        let pod = create(client, NAMESPACE, driver, &format!("{name}-driver"), None).await?;
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: format!("{name}-driver"),
            uid: pod.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        };
        let (config_name, service_name) = (format!("{name}-job"), format!("{name}-driver-svc"));
        futures_util::try_join!(
            create(client, NAMESPACE, config, &config_name, Some(&owner)),
            create(client, NAMESPACE, service, &service_name, Some(&owner)),
        )?;
        Ok(())
    }
}

/// Creates a copy of an object, without labels.
async fn create<K>(
    client: &Client,
    namespace: &str,
    object: &K,
    name: &str,
    owner: Option<&OwnerReference>,
) -> kube::Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    let mut copy = object.clone();
    *copy.meta_mut() = ObjectMeta {
        name: Some(name.to_owned()),
        owner_references: owner.map(|owner| vec![owner.clone()]),
        ..ObjectMeta::default()
    };
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &copy).await
}

async fn wait_for<K>(api: &Api<K>, name: &str) -> Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let deadline = Instant::now() + super::TIMEOUT;
    while Instant::now() < deadline {
        if let Some(found) = api.get_opt(name).await? {
            return Ok(found);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(format!("`{name}` does not appear").into())
}
