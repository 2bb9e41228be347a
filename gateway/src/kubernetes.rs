//! `kubernetes`: Spark on one cluster.
//!
//! The Gateway creates the driver's pod with its service and config map, as Spark's own submitter would, without a JVM
//! for each submit. The driver creates the pods of its executors. On a cluster with an operator, the Gateway creates a
//! custom resource instead, and starts the driver that the operator creates ([`operators`]).
//!
//! | object | name | namespace | purpose |
//! | --- | --- | --- | --- |
//! | config map | the application's name | dcp's | the [`record`], which decides whether a driver may start |
//! | pod | `NAME-driver` | the domain's | the driver; it owns the objects below and its executors |
//! | config map | `NAME-job` | the domain's | Spark's settings, the template of executors, dcp's programs |
//! | service | `NAME-driver-svc` | the domain's | the driver's name for other programs |
//! | secret, network policy | `NAME-connect` | the domain's | the token of a driver that serves Spark Connect for a pool, and its callers |

mod archive;
mod client;
mod cluster;
pub mod doctor;
mod events;
mod facts;
pub mod fields;
mod labels;
mod lines;
mod lists;
mod logs;
mod memory;
mod native;
mod operator;
mod operators;
mod ownership;
mod permissions;
mod pod_log;
mod policy;
mod queue;
mod record;
mod references;
mod resource;
mod retry;
mod secret_keys;
mod secrets;
mod servers;
mod settings;
mod status;
mod store;
mod submit;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use kube::api::DeleteParams;

use crate::application::Placement;
use crate::compute::{Ability, Capabilities, Compute, Cursor, Log};
use crate::error::{Error, Result};
use crate::{Addresses, Name, OrphanMark, Recorded, SparkApplication, Status, WatchEvent};
use archive::Archive;
use client::is_missing;
use cluster::{Cluster, version_of_list};
use facts::Role;
use record::{Content, CustomResource, Record, Stop, fingerprint};
use resource::Resource;
use status::{END_GRACE_SECONDS, Pods};
use store::Store;

pub use client::{Credentials, connect};
pub use kube::Client;
pub use operator::Operator;
pub use secret_keys::Keys;
pub use servers::{ConnectServer, ServerEvent, connect_servers};
pub use settings::{Allow, ConnectFrom, Namespaces, Queue, QueueKind, Settings};

/// The backend of one cluster.
#[derive(Clone)]
pub struct Kubernetes(Arc<Cluster>);

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kubernetes").field(&self.0.settings.name).finish()
    }
}

impl Kubernetes {
    pub fn new(client: Client, settings: Settings, clock: fn() -> Timestamp) -> Self {
        Self(Arc::new(Cluster { client, settings, store: Store::default(), archive: None, clock }))
    }

    /// Creates a backend that stores the logs of drivers below a URL.
    pub fn with_logs(
        client: Client,
        settings: Settings,
        clock: fn() -> Timestamp,
        logs: &str,
    ) -> Result<Self> {
        let objects = dcp_objects::Objects::open(logs).map_err(|error| Error::Invalid(error.to_string()))?;
        let archive = Some(Arc::new(Archive::new(objects, settings.name.clone(), client.clone())));
        Ok(Self(Arc::new(Cluster { client, settings, store: Store::default(), archive, clock })))
    }

    /// Validates an application, and returns its objects for an operator or for the Gateway itself.
    fn objects(&self, application: &SparkApplication, operator: Option<Operator>) -> Result<Objects> {
        let settings = &self.0.settings;
        fields::FIELDS.check(application)?;
        if application.placement != Placement::default() {
            let reason = "one cluster has no regions and no clusters to choose from";
            return Err(Error::field("placement", reason));
        }
        references::check(application)?;
        policy::check(application, settings)?;
        match operator {
            None => native::objects(application, settings).map(Box::new).map(Objects::Native),
            Some(operator) => operator.objects(application, settings).map(Box::new).map(Objects::Operator),
        }
    }

    /// Creates the driver's pod, names it in the record, and starts it.
    async fn create_driver(&self, record: Record, objects: &native::Objects) -> Result<()> {
        let cluster = &*self.0;
        let record = match &record.content.driver {
            Some(_) => record,
            None => {
                let uid = cluster.create_objects(objects, &record.namespace).await?;
                let claim = |content: &mut Content| content.claim(&uid, "", None);
                cluster.change_record(record, claim).await?
            }
        };
        // This is another pod than the own one if a second creator came first, or none after a stop.
        let Some(uid) = &record.content.driver else { return Ok(()) };
        cluster.start(&record.namespace, &native::driver_name(&record.name), uid).await
    }

    /// Creates the custom resource, and notes that all objects exist. A driver that appears is adopted by its status.
    async fn submit(&self, record: Record, objects: &operators::Objects) -> Result<()> {
        let has_uid = |content: &Content| content.resource.as_ref().is_some_and(|it| it.uid.is_some());
        if has_uid(&record.content) {
            return Ok(());
        }
        let uid = self.0.create_resource(objects, &record.namespace).await?;
        let note = |content: &mut Content| match &mut content.resource {
            Some(CustomResource { uid: own @ None, .. }) if content.end.is_none() => {
                *own = Some(uid.clone());
                true
            }
            _ => false,
        };
        self.0.change_record(record, note).await.map(drop)
    }
}

/// The objects of an application.
#[derive(Debug)]
enum Objects {
    Native(Box<native::Objects>),
    Operator(Box<operators::Objects>),
}

impl Objects {
    fn namespace(&self) -> &str {
        match self {
            Self::Native(objects) => &objects.namespace,
            Self::Operator(objects) => &objects.namespace,
        }
    }

    /// Returns the content of a new record.
    fn content(&self, application: &SparkApplication) -> Content {
        let (addresses, resource) = match self {
            Self::Native(objects) => (objects.addresses.clone(), None),
            Self::Operator(objects) => {
                let Addresses { event_log, .. } = objects.addresses.clone();
                let operator = objects.operator;
                let resource = CustomResource { operator, uid: None, driver_pod: None, event_log };
                (Addresses { event_log: None, ..objects.addresses.clone() }, Some(resource))
            }
        };
        Content { application: Some(fingerprint(application)), addresses, resource, ..Content::default() }
    }
}

#[async_trait]
impl Compute for Kubernetes {
    fn capabilities(&self) -> Capabilities {
        const ABILITIES: &[Ability] =
            &[Ability::Pods, Ability::Ui, Ability::Secrets, Ability::Drain, Ability::Connect];
        Capabilities { fields: &fields::FIELDS, abilities: ABILITIES }
    }

    fn accepts(&self, application: &SparkApplication) -> Result<()> {
        self.objects(application, self.0.settings.operator).map(drop)
    }

    async fn check(&self) -> Result<()> {
        let version = self.0.client.apiserver_version().await;
        version.map(drop).map_err(|error| self.0.failed("its version can't be read", &error))
    }

    async fn create(&self, application: &SparkApplication) -> Result<()> {
        let cluster = &*self.0;
        let operator = cluster.settings.operator;
        let objects = self.objects(application, operator)?;
        let name: Name = application.metadata.name.parse()?;
        let content = objects.content(application);
        let own = content.application.clone();
        let record =
            cluster.create_record(&Record::new(name, objects.namespace().to_owned(), content)).await?;
        cluster.check_owner(&record)?;
        match &record.content {
            Content { application: Some(other), .. } if Some(other) != own.as_ref() => {
                let message = format!("`{}` is there already, and is another application", record.name);
                return Err(Error::Conflict(message));
            }
            // It was stopped before it was created, or has ended.
            Content { application: None, .. }
            | Content { end: Some(_), .. }
            | Content { driver: None, stop: Some(_), .. } => return Ok(()),
            _ => {}
        }
        // The settings may have changed since the record was stored.
        let recorded = record.operator();
        let objects = if recorded == operator { objects } else { self.objects(application, recorded)? };
        match &objects {
            Objects::Native(objects) => self.create_driver(record, objects).await,
            Objects::Operator(objects) => self.submit(record, objects).await,
        }
    }

    async fn get(&self, name: &Name) -> Result<Option<Status>> {
        self.0.status(name).await
    }

    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>> {
        watch::events(Arc::clone(&self.0))
    }

    async fn delete(&self, name: &Name, grace: Duration) -> Result<()> {
        let cluster = &*self.0;
        let grace_seconds = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX);
        let stop = Stop { at: (cluster.clock)(), grace_seconds };
        let content = Content { stop: Some(stop.clone()), ..Content::default() };
        let record = match cluster.record(name).await? {
            Some(record) => record,
            // A creator that continues later finds this record, and starts nothing.
            None => cluster.create_record(&Record::new(name.clone(), String::new(), content)).await?,
        };
        let request = |content: &mut Content| {
            let is_new = content.stop.is_none() && content.end.is_none();
            if is_new {
                content.stop = Some(stop.clone());
            }
            is_new
        };
        let record = cluster.change_record(record, request).await?;
        if record.content.application.is_some() && record.content.end.is_none() {
            cluster.status(name).await?;
        }
        Ok(())
    }

    async fn logs(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        self.0.read_log(name, after, limit).await
    }

    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>> {
        self.0.tail(name, limit).await
    }

    async fn kept_log(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        self.0.read_stored_log(name, after, limit).await
    }

    async fn forget(&self, name: &Name) -> Result<()> {
        let cluster = &*self.0;
        let Some(record) = cluster.record(name).await? else { return Ok(()) };
        let status = cluster.status(name).await?;
        if status.is_some_and(|it| it.end.is_none()) {
            return Err(Error::Unavailable(format!("`{name}` has not ended")));
        }
        // The objects of the driver go with its pod.
        let resource = if record.operator().is_some() { Resource::Missing } else { Resource::Unknown };
        let version = version_of_list(&record, &resource, &Pods::default());
        for pod in cluster.list_pods(name, &cluster.scopes(&record), version).await? {
            if let Some(archive) =
                cluster.archive.as_ref().filter(|_| pod.has_log && pod.role == Role::Driver)
            {
                archive.finish(&pod).await?;
            }
            cluster.delete_pod(&pod.namespace, &pod.name, &pod.uid, END_GRACE_SECONDS).await?;
        }
        cluster.forget_resource(&record).await?;
        match cluster.records().delete(name.as_str(), &DeleteParams::default()).await {
            Err(error) if !is_missing(&error) => Err(cluster.failed("the record can't be deleted", &error)),
            _ => {
                cluster.store.remove(name);
                if let Some(archive) = &cluster.archive {
                    archive.remove(name);
                }
                Ok(())
            }
        }
    }

    fn log_problem(&self) -> Option<String> {
        self.0.archive.as_ref()?.problem()
    }

    async fn recorded(&self) -> Result<Vec<Recorded>> {
        self.0.recorded().await
    }

    async fn set_mark(&self, recorded: &Recorded, mark: OrphanMark) -> Result<bool> {
        let changed = self.0.change_listed(recorded, |record| record.mark = Some(mark)).await?;
        Ok(changed.is_some())
    }

    async fn stop_recorded(&self, recorded: &Recorded, grace: Duration) -> Result<bool> {
        self.0.stop_listed(recorded, grace).await
    }
}
