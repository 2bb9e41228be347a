//! The calls to a cluster's API server about custom resources of operators.

use std::collections::BTreeSet;

use http::header::CONTENT_TYPE;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use super::client::{is_conflict, is_missing};
use super::cluster::Cluster;
use super::labels;
use super::operator::Operator;
use super::operators::{Objects, application_id, required_config_maps};
use super::record::{Content, Record};
use super::resource::{Resource, ResourceFacts};
use crate::Name;
use crate::error::{Error, Result};

/// Returns the custom resources of a namespace, or of all of them.
pub(super) fn api(client: Client, operator: Operator, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &operator.resource()),
        None => Api::all_with(client, &operator.resource()),
    }
}

impl Cluster {
    fn resources(&self, operator: Operator, namespace: &str) -> Api<DynamicObject> {
        api(self.client.clone(), operator, Some(namespace))
    }

    /// Translates an error about a custom resource.
    fn failed_resource(&self, operator: Operator, what: &str, error: &kube::Error) -> Error {
        match error {
            kube::Error::Api(status) if is_missing(error) && !status.message.starts_with("namespaces") => {
                let kind = operator.resource();
                Error::Unavailable(format!(
                    "cluster `{}`: {what}: it has no type `{}.{}/{}`: install the operator, or change `operator` of the \
                     cluster in the clusters file",
                    self.settings.name, kind.plural, kind.group, kind.version
                ))
            }
            _ => self.failed(what, error),
        }
    }

    /// Creates the custom resource of an application and all that its driver needs. Returns its UID.
    pub(super) async fn create_resource(&self, objects: &Objects, namespace: &str) -> Result<String> {
        let operator = objects.operator;
        let resource = match self.post(operator, namespace, &objects.resource).await {
            Ok(created) => created,
            Err(error) if is_conflict(&error) => {
                let name = objects.resource["metadata"]["name"].as_str().unwrap_or_default();
                let existing = self.resources(operator, namespace).get_opt(name).await;
                let existing =
                    existing.map_err(|error| self.failed("the custom resource can't be read", &error))?;
                let gone =
                    || Error::Unavailable(format!("the custom resource `{name}` was deleted meanwhile"));
                existing.ok_or_else(gone)?
            }
            Err(error) => {
                let what = "the custom resource can't be created";
                return Err(self.failed_resource(operator, what, &error));
            }
        };
        let Some(facts) = ResourceFacts::new(operator, &resource) else {
            return Err(Error::Conflict(format!(
                "there is a `SparkApplication` `{}` of another program in `{namespace}`",
                resource.name_any()
            )));
        };
        let (configs, service) = objects.owned_by(&facts.uid);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        for config in &configs {
            self.ensure(&maps, config, "the driver's config map can't be created").await?;
        }
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        self.ensure(&services, &service, "the driver's service can't be created").await?;
        Ok(facts.uid)
    }

    /// Sends a custom resource. The API server rejects unknown fields, which it would drop otherwise.
    async fn post(
        &self,
        operator: Operator,
        namespace: &str,
        resource: &Value,
    ) -> kube::Result<DynamicObject> {
        let url = self.resources(operator, namespace).resource_url().to_owned();
        let request = http::Request::post(format!("{url}?fieldValidation=Strict"))
            .header(CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(resource).map_err(kube::Error::SerdeError)?)
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }

    /// Reads the custom resource of an application.
    pub(super) async fn resource(&self, record: &Record) -> Result<Resource> {
        let Some(operator) = record.operator() else { return Ok(Resource::Unknown) };
        let found = self.resources(operator, &record.namespace).get_opt(record.name.as_str()).await;
        let found = found.map_err(|error| self.failed("the custom resource can't be read", &error))?;
        let facts = found.map(|found| ResourceFacts::new(operator, &found));
        Ok(match facts {
            Some(Some(facts)) => Resource::Present(facts),
            Some(None) | None => Resource::Missing,
        })
    }

    /// Requests the deletion of a custom resource. An operator may have to agree, which is not waited for.
    pub(super) async fn delete_resource(
        &self,
        operator: Operator,
        namespace: &str,
        name: &Name,
        uid: &str,
    ) -> Result<()> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let resources = self.resources(operator, namespace);
        match resources.delete(name.as_str(), &params).await {
            Err(error) => {
                let is_gone = self.is_gone(&resources, (name.as_str(), uid), &error).await?;
                let failed = || self.failed("the custom resource can't be deleted", &error);
                is_gone.then_some(()).ok_or_else(failed)
            }
            Ok(_) => Ok(()),
        }
    }

    /// Deletes the custom resource of an application that is not needed any more.
    pub(super) async fn forget_resource(&self, record: &Record) -> Result<()> {
        match self.resource(record).await? {
            Resource::Present(it) if !it.is_deleting => {
                self.delete_resource(it.operator, &it.namespace, &record.name, &it.uid).await
            }
            _ => Ok(()),
        }
    }

    /// Deletes the custom resources of an application without a record.
    pub(super) async fn delete_unrecorded(&self, name: &Name, known: &Resource) -> Result<()> {
        let known = match known {
            Resource::Present(it) => Some(it.operator),
            Resource::Unknown | Resource::Missing => None,
        };
        let operators: BTreeSet<Operator> = self.settings.operator.into_iter().chain(known).collect();
        for operator in operators {
            self.delete_unrecorded_of(name, operator).await?;
        }
        Ok(())
    }

    async fn delete_unrecorded_of(&self, name: &Name, operator: Operator) -> Result<()> {
        let scopes: Vec<Api<DynamicObject>> = match self.settings.namespaces.all() {
            Some(namespaces) => namespaces.iter().map(|it| self.resources(operator, it)).collect(),
            None => vec![api(self.client.clone(), operator, None)],
        };
        let selector = format!("{}={name}", labels::APPLICATION);
        let mut found = Vec::new();
        for api in scopes {
            match api.list(&ListParams::default().labels(&selector)).await {
                Ok(list) => {
                    found.extend(list.items.iter().filter_map(|it| ResourceFacts::new(operator, it)));
                }
                // The operator is not installed.
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(self.failed("the custom resources can't be listed", &error)),
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        if self.record(name).await?.is_some() {
            return Err(Error::Unavailable(format!("the record of `{name}` was created meanwhile")));
        }
        for it in found.iter().filter(|it| !it.is_deleting) {
            self.delete_resource(operator, &it.namespace, name, &it.uid).await?;
        }
        Ok(())
    }

    /// Names a driver that an operator has created in the record, and starts it. Returns the record if it was changed.
    ///
    /// A driver whose config maps are missing waits for them. If the operator has given up, it is deleted.
    pub(super) async fn adopt(
        &self,
        record: &Record,
        (namespace, name, uid): (&str, &str, &str),
        has_given_up: bool,
    ) -> Result<Option<Record>> {
        let found = self.pods(namespace).get_opt(name).await;
        let found = found.map_err(|error| self.failed("the driver's pod can't be read", &error))?;
        let Some(pod) = found.filter(|pod| pod.metadata.uid.as_deref() == Some(uid)) else { return Ok(None) };
        let is_gated = pod
            .spec
            .as_ref()
            .is_some_and(|spec| spec.scheduling_gates.iter().flatten().any(|gate| gate.name == labels::GATE));
        if is_gated && !self.has_config_maps(namespace, &required_config_maps(&pod)).await? {
            if has_given_up {
                self.delete_pod(namespace, name, uid, super::END_GRACE_SECONDS).await?;
            }
            return Ok(None);
        }
        let claim = |content: &mut Content| content.claim(uid, name, application_id(&pod));
        let record = self.change_record(record.clone(), claim).await?;
        if record.content.driver.as_deref() == Some(uid) {
            self.start(namespace, name, uid).await?;
        }
        Ok(Some(record))
    }

    async fn has_config_maps(&self, namespace: &str, names: &[&str]) -> Result<bool> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        for name in names {
            let found = maps.get_metadata_opt(name).await;
            let found = found.map_err(|error| self.failed("a config map can't be read", &error))?;
            if found.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
