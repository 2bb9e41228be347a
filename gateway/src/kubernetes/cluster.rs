//! The calls to a cluster's API server about one application.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, VersionMatch};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::archive::Archive;
use super::client::{exceeded_quota, failed, is_conflict, is_missing};
use super::facts::{PodFacts, Role};
use super::record::{Content, Record};
use super::resource::Resource;
use super::status::{Action, END_GRACE_SECONDS, Pods, assess, remains};
use super::store::Store;
use super::{Settings, labels, native};
use crate::error::{Error, Result};
use crate::{Name, Phase, Status};

/// Maximum number of attempts to change an object that others change at the same time.
const MAX_CONFLICTS: usize = 10;

pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) settings: Settings,
    /// What the watch knows about pods.
    pub(super) store: Store,
    /// The stored logs of drivers, if they are stored.
    pub(super) archive: Option<Arc<Archive>>,
    pub(super) clock: fn() -> Timestamp,
}

impl Cluster {
    pub(super) fn records(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.settings.records)
    }

    pub(super) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn failed(&self, what: &str, error: &kube::Error) -> Error {
        failed(&self.settings.name, what, error)
    }

    pub(super) async fn record(&self, name: &Name) -> Result<Option<Record>> {
        let found = self.records().get_opt(name.as_str()).await;
        let found = found.map_err(|error| self.failed("the record can't be read", &error))?;
        found.as_ref().map(Record::from_object).transpose()
    }

    /// Stores a new record; returns the existing one if there is one.
    pub(super) async fn create_record(&self, record: &Record) -> Result<Record> {
        let record = Record { control_plane: self.settings.control_plane.clone(), ..record.clone() };
        match self.records().create(&PostParams::default(), &record.to_object()).await {
            Ok(created) => Record::from_object(&created),
            Err(error) if is_conflict(&error) => {
                let gone =
                    || Error::Unavailable(format!("the record of `{}` was deleted meanwhile", record.name));
                self.record(&record.name).await?.ok_or_else(gone)
            }
            Err(error) => Err(self.failed("the record can't be stored", &error)),
        }
    }

    /// Changes a record, unless `change` returns false. Returns the record afterwards.
    pub(super) async fn change_record(
        &self,
        mut record: Record,
        change: impl Fn(&mut Content) -> bool,
    ) -> Result<Record> {
        for _ in 0..MAX_CONFLICTS {
            if !change(&mut record.content) {
                return Ok(record);
            }
            let name = record.name.clone();
            match self.records().replace(name.as_str(), &PostParams::default(), &record.to_object()).await {
                Ok(stored) => return Record::from_object(&stored),
                Err(error) if is_conflict(&error) => {
                    let gone = || Error::Unavailable(format!("the record of `{name}` was deleted meanwhile"));
                    record = self.record(&name).await?.ok_or_else(gone)?;
                }
                Err(error) => return Err(self.failed("the record can't be changed", &error)),
            }
        }
        Err(Error::Unavailable(format!("the record of `{}` is changed too often", record.name)))
    }

    /// Creates an object of a driver, or does nothing if it exists.
    pub(super) async fn ensure<K>(&self, api: &Api<K>, object: &K, what: &str) -> Result<()>
    where
        K: kube::Resource + serde::Serialize + serde::de::DeserializeOwned + Clone + fmt::Debug,
    {
        match api.create(&PostParams::default(), object).await {
            Ok(_) => return Ok(()),
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(self.failed(what, &error)),
        }
        let name = object.name_any();
        // dcp reads no content of a secret.
        let existing = api.get_metadata_opt(&name).await.map_err(|error| self.failed(what, &error))?;
        let owner = |metadata: &ObjectMeta| Some(metadata.owner_references.as_ref()?.first()?.uid.clone());
        // An object of an earlier driver is about to be removed.
        if existing.is_some_and(|existing| owner(&existing.metadata) == owner(object.meta())) {
            return Ok(());
        }
        Err(Error::Unavailable(format!("{what}: `{name}` is not one of this driver")))
    }

    /// Creates the pod of a driver, gated, and all that it needs. Returns its UID.
    pub(super) async fn create_objects(&self, objects: &native::Objects, namespace: &str) -> Result<String> {
        let pods = self.pods(namespace);
        let driver = match pods.create(&PostParams::default(), &objects.driver).await {
            Ok(created) => created,
            Err(error) if is_conflict(&error) => {
                let name = objects.driver.metadata.name.as_deref().unwrap_or_default();
                let existing = pods.get_opt(name).await;
                let existing =
                    existing.map_err(|error| self.failed("the driver's pod can't be read", &error))?;
                existing
                    .ok_or_else(|| Error::Unavailable(format!("the pod `{name}` was deleted meanwhile")))?
            }
            Err(error) => return Err(self.not_created(namespace, &error)),
        };
        let label = |pod: &Pod| pod.metadata.labels.as_ref()?.get(labels::APPLICATION).cloned();
        let (Some(uid), true) = (driver.metadata.uid.clone(), label(&driver) == label(&objects.driver))
        else {
            let name = driver.metadata.name.unwrap_or_default();
            return Err(Error::Conflict(format!(
                "there is a pod `{name}` of another program in `{namespace}`"
            )));
        };
        self.create_owned(objects.owned_by(&uid), namespace).await?;
        Ok(uid)
    }

    /// Creates the objects that a driver's pod owns.
    async fn create_owned(&self, owned: native::Owned, namespace: &str) -> Result<()> {
        let native::Owned { config, service, budget, connect } = owned;
        let configs: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        if let Some(budget) = &budget {
            let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), namespace);
            self.ensure(&budgets, budget, "the driver's disruption budget can't be created").await?;
        }
        if let Some((secret, policy)) = &connect {
            let policies: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), namespace);
            self.ensure(&policies, policy, "the driver's network policy can't be created").await?;
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
            self.ensure(&secrets, secret, "the secret with the driver's token can't be created").await?;
        }
        futures_util::try_join!(
            self.ensure(&configs, &config, "the driver's config map can't be created"),
            self.ensure(&services, &service, "the driver's service can't be created"),
        )?;
        Ok(())
    }

    fn not_created(&self, namespace: &str, error: &kube::Error) -> Error {
        match exceeded_quota(error) {
            Some(quota) => Error::Unavailable(format!(
                "cluster `{}`: the quota of the namespace `{namespace}` is exceeded: {quota}",
                self.settings.name
            )),
            None => self.failed("the driver's pod can't be created", error),
        }
    }

    /// Removes the scheduling gate of a driver that its record names.
    pub(super) async fn start(&self, namespace: &str, name: &str, uid: &str) -> Result<()> {
        let pods = self.pods(namespace);
        for _ in 0..MAX_CONFLICTS {
            let found = pods.get_opt(name).await;
            let pod = match found.map_err(|error| self.failed("the driver's pod can't be read", &error))? {
                Some(pod) if pod.metadata.uid.as_deref() == Some(uid) => pod,
                _ => return Ok(()),
            };
            let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.clone()).unwrap_or_default();
            if !gates.iter().any(|gate| gate.name == labels::GATE) {
                return Ok(());
            }
            let rest: Vec<_> = gates.into_iter().filter(|gate| gate.name != labels::GATE).collect();
            let patch = json!({
                "metadata": {"uid": uid, "resourceVersion": pod.metadata.resource_version},
                "spec": {"schedulingGates": if rest.is_empty() { json!(null) } else { json!(rest) }},
            });
            match pods.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => return Ok(()),
                Err(error) if is_missing(&error) => return Ok(()),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(self.failed("the driver can't be started", &error)),
            }
        }
        Err(Error::Unavailable(format!("the pod `{name}` is changed too often")))
    }

    /// Requests the deletion of a pod, unless another one has its name now.
    pub(super) async fn delete_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        grace_seconds: u32,
    ) -> Result<()> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams {
            // Without a grace period, the pod's object would vanish while its containers still run.
            grace_period_seconds: Some(grace_seconds.max(1)),
            preconditions: Some(preconditions),
            ..DeleteParams::background()
        };
        let pods = self.pods(namespace);
        match pods.delete(name, &params).await {
            Err(error) => {
                let is_gone = self.is_gone(&pods, (name, uid), &error).await?;
                is_gone.then_some(()).ok_or_else(|| self.failed("a pod can't be deleted", &error))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Returns true if an object that can't be deleted does not exist any more. A conflict is no proof of it: the API
    /// server reports it if another object has the name, and an admission webhook may use it for any reason.
    pub(super) async fn is_gone<K>(
        &self,
        api: &Api<K>,
        (name, uid): (&str, &str),
        error: &kube::Error,
    ) -> Result<bool>
    where
        K: serde::de::DeserializeOwned + Clone + fmt::Debug,
    {
        if !is_conflict(error) {
            return Ok(is_missing(error));
        }
        let found = api.get_metadata_opt(name).await;
        let found = found.map_err(|error| self.failed("an object can't be read", &error))?;
        Ok(found.is_none_or(|object| object.metadata.uid.as_deref() != Some(uid)))
    }

    /// Performs the actions that are due, and returns the record if it was changed. Returns an error if one fails; they
    /// are repeated with the next status.
    pub(super) async fn perform(
        &self,
        record: &Record,
        pods: &Pods,
        actions: Vec<Action>,
    ) -> Result<Option<Record>> {
        let driver = record.content.driver.as_deref().and_then(|uid| pods.driver(uid));
        let mut changed = None;
        for action in actions {
            changed = self.perform_one(record, driver, action).await?.or(changed);
        }
        Ok(changed)
    }

    async fn perform_one(
        &self,
        record: &Record,
        driver: Option<&PodFacts>,
        action: Action,
    ) -> Result<Option<Record>> {
        match action {
            Action::DeletePod { namespace, name, uid, grace_seconds } => {
                let logged = driver.filter(|driver| driver.uid == uid && driver.has_log);
                if let (Some(archive), Some(driver)) = (&self.archive, logged) {
                    archive.follow_before_deletion(driver).await;
                }
                self.delete_pod(&namespace, &name, &uid, grace_seconds).await?;
            }
            Action::Start { namespace, name, uid } => self.start(&namespace, &name, &uid).await?,
            Action::Adopt { namespace, name, uid, has_given_up } => {
                let driver = (namespace.as_str(), name.as_str(), uid.as_str());
                return self.adopt(record, driver, has_given_up).await;
            }
            Action::DeleteResource { operator, namespace, uid } => {
                self.delete_resource(operator, &namespace, &record.name, &uid).await?;
            }
            Action::StoreDriverEnd { end, started } => {
                let end = self.explained(end, driver).await;
                let store = |content: &mut Content| content.store_driver_end(&end, started);
                return self.change_record(record.clone(), store).await.map(Some);
            }
            Action::StoreEnd { end, started } => {
                let end = self.explained(end, driver).await;
                // Another Gateway may have found a driver meanwhile.
                let is_same = |content: &Content| content.driver == record.content.driver;
                let store = |content: &mut Content| is_same(content) && content.store_end(&end, started);
                return self.change_record(record.clone(), store).await.map(Some);
            }
        }
        Ok(None)
    }

    /// Lists the pods of an application. With a version, the list can be as old as that, and the API server returns it
    /// from its cache. Else it may read all pods of the namespace from its database.
    pub(super) async fn list_pods(
        &self,
        name: &Name,
        scopes: &[Api<Pod>],
        not_older_than: Option<u64>,
    ) -> Result<Vec<PodFacts>> {
        let mut params = ListParams::default().labels(&format!("{}={name}", labels::APPLICATION));
        if let Some(version) = not_older_than {
            params = params.at(&version.to_string()).matching(VersionMatch::NotOlderThan);
        }
        let mut found = Vec::new();
        for api in scopes {
            let list = api.list(&params).await;
            let list = list.map_err(|error| self.failed("the pods can't be listed", &error))?;
            found.extend(list.items.iter().filter_map(PodFacts::new));
        }
        Ok(found)
    }

    /// Reads an application, performs the actions that are due, and returns its status.
    pub(super) async fn status(&self, name: &Name) -> Result<Option<Status>> {
        let known = self.store.get(name);
        let Some(record) = self.record(name).await? else {
            return self.status_without_record(name, &known).await;
        };
        // A report of an operator about a driver is older than the list of pods.
        let resource = self.resource(&record).await?;
        let version = version_of_list(&record, &resource, &known);
        let listed = self.list_pods(name, &self.scopes(&record), version).await?;
        let driver = record.content.driver.as_deref();
        let mut pods = self.store.change(name, |pods| {
            pods.add_list(listed, &known.uids(), driver);
            pods.resource.update(resource.clone());
        });
        pods.resource = resource;
        let stalled = pods.stalled_drivers().next().cloned();
        // Events are additional: an application has a status without them.
        if let Some(driver) = stalled
            && self.read_obstacle(&driver).await.unwrap_or_default()
        {
            pods.event_obstacle = self.store.get(name).event_obstacle;
        }
        self.settle(record, &pods).await.map(Some)
    }

    /// Performs the actions that are due, and returns the status. An end is returned after it was stored: another Gateway
    /// may have requested a stop meanwhile, or may have stored another end.
    async fn settle(&self, mut record: Record, pods: &Pods) -> Result<Status> {
        for _ in 0..MAX_CONFLICTS {
            let (status, actions) = assess(&record, pods, (self.clock)());
            let Some(changed) = self.perform(&record, pods, actions).await? else { return Ok(status) };
            record = changed;
            let (status, _) = assess(&record, pods, (self.clock)());
            if status.end.is_none() || record.content.end.is_some() {
                return Ok(status);
            }
        }
        Err(Error::Unavailable(format!("the record of `{}` is changed too often", record.name)))
    }

    /// Ends the pods of an application whose record was deleted. It has ended when none is left.
    pub(super) async fn status_without_record(&self, name: &Name, known: &Pods) -> Result<Option<Status>> {
        let scopes = match self.settings.namespaces.all() {
            Some(namespaces) => namespaces.iter().map(|namespace| self.pods(namespace)).collect(),
            None => vec![Api::all(self.client.clone())],
        };
        let pods = self.list_pods(name, &scopes, None).await?;
        if self.record(name).await?.is_some() {
            return Err(Error::Unavailable(format!("the record of `{name}` was created meanwhile")));
        }
        for pod in pods.iter().filter(|pod| !pod.is_deleting) {
            let is_logged = pod.role == Role::Driver && pod.has_log;
            if let Some(archive) = self.archive.as_ref().filter(|_| is_logged) {
                archive.follow_before_deletion(pod).await;
            }
            self.delete_pod(&pod.namespace, &pod.name, &pod.uid, END_GRACE_SECONDS).await?;
        }
        self.delete_unrecorded(name, &known.resource).await?;
        let Some(obstacle) = pods.iter().find(|pod| !pod.is_over).map(remains) else {
            self.store.remove_unchanged(name, known);
            return Ok(None);
        };
        Ok(Some(Status { obstacle: Some(obstacle), ..Status::new(Phase::Running) }))
    }

    /// Returns the namespace of an application's pods; none if it never had pods.
    pub(super) fn scopes(&self, record: &Record) -> Vec<Api<Pod>> {
        let namespace = Some(&record.namespace).filter(|namespace| !namespace.is_empty());
        namespace.into_iter().map(|namespace| self.pods(namespace)).collect()
    }
}

/// Returns the version of the newest object that was read. A list of pods of at least this version has all pods that
/// existed when one of these objects changed last. Returns none if the list has to be current, as the deletion of a missing
/// custom resource has no version here.
pub(super) fn version_of_list(record: &Record, resource: &Resource, known: &Pods) -> Option<u64> {
    let record = record.version.as_ref()?.parse().ok()?;
    let resource = match resource {
        Resource::Unknown => 0,
        Resource::Present(resource) => resource.version?,
        Resource::Missing => return None,
    };
    let pods = known.iter().try_fold(0, |newest, pod| Some(pod.version?.max(newest)))?;
    Some(pods.max(resource).max(record))
}

#[cfg(test)]
mod tests;
