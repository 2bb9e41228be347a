//! Several clusters as one backend: chooses a cluster for each application, and passes calls on to it.
//!
//! The cluster of an application is stored before the application is created there, and never changes: an attempt that
//! can't be proved dead is not started elsewhere.

mod health;
mod orphans;
mod report;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::application::Placement;
use crate::compute::{Ability, Capabilities, Compute, Cursor, Log};
use crate::error::{Error, Result};
use crate::routing::{self, Decision, Health, Request, route};
use crate::{Name, Phase, SparkApplication, Status, WatchEvent, kubernetes};
use orphans::Sweep;
use report::History;

pub use orphans::{OrphanAction, Orphans, Unowned};
pub use report::{ClusterStatus, Report, Routing};

/// The capabilities of clusters of all kinds.
pub const CAPABILITIES: Capabilities = Capabilities {
    fields: &kubernetes::fields::FIELDS,
    abilities: &[Ability::Pods, Ability::Ui, Ability::Secrets, Ability::Drain, Ability::Connect],
};

/// The clusters of applications, in durable storage.
#[async_trait]
pub trait Bindings: fmt::Debug + Send + Sync {
    /// Binds an application, unless it is bound. Returns its binding.
    async fn bind(&self, name: &Name, binding: Binding) -> Result<Binding>;

    /// Returns the binding of an application, if it is bound.
    async fn binding(&self, name: &Name) -> Result<Option<Binding>>;

    /// Removes the binding of an application that is not needed any more.
    async fn unbind(&self, name: &Name) -> Result<()>;

    /// Returns the identity of the control plane: a random text that the storage got once.
    async fn identity(&self) -> Result<String>;

    /// Returns those of some applications that are bound to a cluster, or whose execution has not ended.
    async fn with_owner(&self, names: &[Name]) -> Result<HashSet<Name>>;
}

/// The binding of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    Cluster(String),
    /// It was stopped before it had a cluster, and gets none.
    Stopped,
}

/// The properties of a cluster that decide whether an application runs there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    pub region: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub weight: u32,
    pub capacity: Option<u32>,
    pub domains: Option<BTreeSet<String>>,
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct Member {
    /// The kind of cluster, for people.
    pub kind: &'static str,
    pub properties: Properties,
    pub orphans: Orphans,
    pub compute: Arc<dyn Compute>,
}

/// A cluster with what this process knows of it.
#[derive(Debug)]
struct Cluster {
    member: Member,
    /// Time and reason of the first failed check since the last successful one.
    unreachable: Mutex<Option<(Timestamp, String)>>,
    /// Applications that run or start there.
    live: Mutex<HashSet<Name>>,
    sweep: Mutex<Sweep>,
    /// The causes that were logged since logs were stored last.
    log_problems: Mutex<BTreeSet<String>>,
}

impl Cluster {
    fn new(member: Member) -> Self {
        Self {
            member,
            unreachable: Mutex::default(),
            live: Mutex::default(),
            sweep: Mutex::default(),
            log_problems: Mutex::default(),
        }
    }

    fn live(&self) -> MutexGuard<'_, HashSet<Name>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreachable(&self) -> MutexGuard<'_, Option<(Timestamp, String)>> {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_problems(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.log_problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) -> MutexGuard<'_, Sweep> {
        self.sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, name: &Name, status: Option<&Status>) {
        if status.is_some_and(|status| status.phase != Phase::Ended) {
            self.live().insert(name.clone());
        } else {
            self.live().remove(name);
        }
    }

    async fn status_of(&self, application: &Name) -> Result<Option<Status>> {
        let status = self.member.compute.get(application).await?;
        self.note(application, status.as_ref());
        Ok(status)
    }

    fn status(&self, name: &str) -> ClusterStatus {
        let unreachable = self.unreachable().clone();
        let health = unreachable.map_or(Health::Healthy, |(since, why)| Health::Unreachable { since, why });
        ClusterStatus {
            name: name.to_owned(),
            kind: self.member.kind.to_owned(),
            properties: self.member.properties.clone(),
            health,
            load: u32::try_from(self.live().len()).unwrap_or(u32::MAX),
            unowned: self.sweep().unowned.clone(),
            log_problem: self.member.compute.log_problem(),
        }
    }
}

/// Several clusters as one backend. Clones share them.
#[derive(Debug, Clone)]
pub struct Clusters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clusters: Mutex<BTreeMap<String, Arc<Cluster>>>,
    bindings: Arc<dyn Bindings>,
    clock: fn() -> Timestamp,
    log: fn(&str),
    /// Notified when the clusters have changed.
    changed: Notify,
    history: History,
}

impl Clusters {
    /// Creates the backend. Until it is dropped, it checks the health of its clusters, and ends applications without an
    /// owner. `log` gets messages for people.
    pub fn new(
        members: BTreeMap<String, Member>,
        bindings: Arc<dyn Bindings>,
        clock: fn() -> Timestamp,
        log: fn(&str),
    ) -> Self {
        let clusters = members.into_iter().map(|(name, member)| (name, Arc::new(Cluster::new(member))));
        let clusters = Mutex::new(clusters.collect());
        let inner = Arc::new(Inner {
            clusters,
            bindings,
            clock,
            log,
            changed: Notify::new(),
            history: History::default(),
        });
        tokio::spawn(health::check_all(Arc::downgrade(&inner)));
        tokio::spawn(orphans::sweep_all(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Replaces the clusters. One whose settings have not changed has to be the same [`Member::compute`].
    pub fn replace(&self, members: BTreeMap<String, Member>) {
        let mut clusters = self.0.clusters();
        let old = std::mem::take(&mut *clusters);
        *clusters = members
            .into_iter()
            .map(|(name, member)| {
                let known = old.get(&name).filter(|it| Arc::ptr_eq(&it.member.compute, &member.compute));
                let cluster = Cluster::new(member);
                if let Some(known) = known {
                    cluster.live().clone_from(&known.live());
                    cluster.unreachable().clone_from(&known.unreachable());
                    cluster.sweep().clone_from(&known.sweep());
                    cluster.log_problems().clone_from(&known.log_problems());
                }
                (name, Arc::new(cluster))
            })
            .collect();
        drop(clusters);
        self.0.changed.notify_waiters();
    }

    /// Returns the state of all clusters.
    pub fn statuses(&self) -> Vec<ClusterStatus> {
        self.0.clusters().iter().map(|(name, cluster)| cluster.status(name)).collect()
    }

    /// Returns the state of all clusters, and the latest choices of this process.
    pub fn report(&self) -> Report {
        Report { clusters: self.statuses(), routings: self.0.history.newest_first() }
    }

    /// Returns the cluster that an application would get now, with the reasons.
    pub fn route(&self, application: &SparkApplication) -> Decision {
        let of_application = placed(application);
        let clusters: Vec<routing::Cluster> = self
            .0
            .clusters()
            .iter()
            .map(|(name, cluster)| {
                let rejection = cluster.member.compute.accepts(&of_application).err();
                routed(cluster.status(name), rejection.map(|error| error.to_string()))
            })
            .collect();
        let request = Request {
            application: &application.metadata.name,
            domain: &application.metadata.namespace,
            placement: &application.placement,
        };
        route(&request, &clusters)
    }
}

fn routed(status: ClusterStatus, rejection: Option<String>) -> routing::Cluster {
    let ClusterStatus { name, properties, health, load, .. } = status;
    let Properties { region, tags, weight, capacity, domains } = properties;
    routing::Cluster { name, region, tags, weight, capacity, domains, health, load, rejection }
}

impl Inner {
    fn clusters(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Cluster>>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cluster(&self, name: &str) -> Result<Arc<Cluster>> {
        self.clusters().get(name).cloned().ok_or_else(|| {
            Error::Unavailable(format!(
                "the cluster `{name}` is not in the clusters file any more, and an application may run there: add it again \
                 with the weight 0"
            ))
        })
    }

    /// Returns the cluster of an application, if it has one.
    async fn bound(&self, name: &Name) -> Result<Option<Arc<Cluster>>> {
        match self.bindings.binding(name).await? {
            Some(Binding::Cluster(cluster)) => self.cluster(&cluster).map(Some),
            Some(Binding::Stopped) | None => Ok(None),
        }
    }
}

impl Clusters {
    /// Chooses a cluster for an application and binds it, unless it is bound meanwhile.
    async fn choose(&self, name: &Name, application: &SparkApplication) -> Result<Binding> {
        let decision = self.route(application);
        let remember = || {
            self.0.history.add((self.0.clock)(), name, &application.metadata.namespace, &decision);
        };
        let Some(chosen) = decision.chosen.clone() else {
            remember();
            return Err(Error::Unavailable(format!("no cluster is suitable now: {decision}")));
        };
        let chosen = Binding::Cluster(chosen);
        let bound = self.0.bindings.bind(name, chosen.clone()).await?;
        if bound == chosen {
            remember();
        }
        Ok(bound)
    }
}

/// Returns an application without the placement, which was decided.
fn placed(application: &SparkApplication) -> SparkApplication {
    SparkApplication { placement: Placement::default(), ..application.clone() }
}

#[async_trait]
impl Compute for Clusters {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    /// Accepts what one of the suitable clusters accepts.
    fn accepts(&self, application: &SparkApplication) -> Result<()> {
        let decision = self.route(application);
        if decision.reasons.values().any(|reason| !reason.is_permanent()) {
            return Ok(());
        }
        let clusters = self.0.clusters();
        if let (Some(only), 1) = (clusters.values().next(), clusters.len()) {
            // Its error names the field.
            only.member.compute.accepts(&placed(application))?;
        }
        Err(Error::field("placement", format!("no cluster is suitable: {decision}")))
    }

    async fn create(&self, application: &SparkApplication) -> Result<()> {
        let name: Name = application.metadata.name.parse()?;
        let binding = match self.0.bindings.binding(&name).await? {
            Some(binding) => binding,
            None => self.choose(&name, application).await?,
        };
        let Binding::Cluster(cluster) = binding else { return Ok(()) };
        let cluster = self.0.cluster(&cluster)?;
        cluster.live().insert(name.clone());
        let created = cluster.member.compute.create(&placed(application)).await;
        if matches!(created, Err(Error::Field { .. } | Error::Invalid(_) | Error::Conflict(_))) {
            cluster.live().remove(&name);
        }
        created
    }

    async fn get(&self, name: &Name) -> Result<Option<Status>> {
        match self.0.bindings.binding(name).await? {
            None => Ok(None),
            Some(Binding::Stopped) => Ok(Some(Status::stopped_before_start((self.0.clock)()))),
            Some(Binding::Cluster(cluster)) => {
                let status = self.0.cluster(&cluster)?.status_of(name).await?;
                Ok(status.map(|status| Status { cluster: Some(cluster), ..status }))
            }
        }
    }

    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>> {
        watch::events(&self.0)
    }

    async fn delete(&self, name: &Name, grace: Duration) -> Result<()> {
        // A creator that continues later finds this binding, and starts nothing.
        match self.0.bindings.bind(name, Binding::Stopped).await? {
            Binding::Stopped => Ok(()),
            Binding::Cluster(cluster) => self.0.cluster(&cluster)?.member.compute.delete(name, grace).await,
        }
    }

    async fn logs(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        match self.0.bound(name).await? {
            Some(cluster) => cluster.member.compute.logs(name, after, limit).await,
            None => self.kept_log(name, after, limit).await,
        }
    }

    /// Looks at all clusters: a forgotten application has no cluster any more.
    async fn kept_log(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        let clusters: Vec<Arc<Cluster>> = self.0.clusters().values().cloned().collect();
        let mut result = Ok(Log { next: after.clone(), bytes: Vec::new() });
        for cluster in clusters {
            match cluster.member.compute.kept_log(name, after, limit).await {
                Ok(log) if !log.bytes.is_empty() => return Ok(log),
                Ok(_) => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }

    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>> {
        match self.0.bound(name).await? {
            Some(cluster) => cluster.member.compute.tail(name, limit).await,
            None => Ok(Vec::new()),
        }
    }

    async fn forget(&self, name: &Name) -> Result<()> {
        if let Some(cluster) = self.0.bound(name).await? {
            cluster.member.compute.forget(name).await?;
            cluster.live().remove(name);
        }
        self.0.bindings.unbind(name).await
    }
}

#[cfg(test)]
mod tests;
