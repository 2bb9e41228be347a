//! Watches all applications of a cluster: their records, their pods and, if operators run them, their custom resources.
//!
//! The loop assesses an application with each change. Where an action is due, it reads the application anew from the
//! API server: that an application has ended is never concluded from the watch alone.

mod resources;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::facts::PodFacts;
use super::operator::Operator;
use super::record::{Content, Record};
use super::status::{Action, assess};
use super::{archive, events, labels};
use crate::error::{Error, Result};
use crate::event_task::{self, Sender};
use crate::{Change, Name, Phase, Status, WatchEvent};

/// Maximum time of one watch call, in seconds. A connection that was silently cut is noticed after it.
pub(super) const WATCH_SECONDS: u32 = 25;
/// Maximum number of applications that are read anew at the same time.
const MAX_READS: usize = 16;
/// Wait before an application is read anew whose operator has not completed the driver.
const ADOPTION_RETRY: Duration = Duration::from_secs(1);

/// An event of one of the watches.
#[expect(clippy::large_enum_variant, reason = "nearly all events are of pods, and none is kept")]
enum Input {
    Record(Event<ConfigMap>),
    /// An event of the pods of one scope: a namespace, or all of them.
    Pod(usize, Event<Pod>),
    Resource(resources::Source, Event<DynamicObject>),
    /// The events of an application's driver show another obstacle.
    Obstacle(Name),
}

/// The objects of one of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Records,
    Pods(usize),
}

type Inputs = SelectAll<BoxStream<'static, Result<Input>>>;

/// Returns the events of all applications.
pub(super) fn events(cluster: Arc<Cluster>) -> BoxStream<'static, Result<WatchEvent>> {
    event_task::stream(|sender| async move { Box::pin(Watch::new(cluster, sender).run()).await })
}

struct Watch {
    cluster: Arc<Cluster>,
    sender: Sender,
    inputs: Inputs,
    records: HashMap<Name, Record>,
    /// The statuses that were sent last.
    sent: HashMap<Name, Status>,
    /// The lists that have not ended once.
    unlisted: BTreeSet<Scope>,
    /// The namespace of each scope of pods; none for all.
    scopes: Vec<Option<String>>,
    /// During a list of pods, those that were known before and that it has not had so far, by UID.
    missing: Vec<Option<BTreeMap<String, Name>>>,
    /// The operators whose custom resources are watched.
    operators: BTreeSet<Operator>,
    /// During a list of custom resources, the applications that had one before, and have none so far.
    unconfirmed: HashMap<resources::Source, BTreeSet<Name>>,
    /// Applications to be read anew, in order.
    queue: VecDeque<Name>,
    queued: HashSet<Name>,
    /// Applications that are being read, and those of them that have changed since.
    reading: HashSet<Name>,
    again: HashSet<Name>,
    /// Applications that are reported again after a while.
    delays: FuturesUnordered<BoxFuture<'static, Name>>,
    delayed: HashSet<Name>,
}

impl Watch {
    fn new(cluster: Arc<Cluster>, sender: Sender) -> Self {
        Self {
            cluster,
            sender,
            inputs: SelectAll::new(),
            records: HashMap::new(),
            sent: HashMap::new(),
            unlisted: BTreeSet::new(),
            scopes: Vec::new(),
            missing: Vec::new(),
            operators: BTreeSet::new(),
            unconfirmed: HashMap::new(),
            queue: VecDeque::new(),
            queued: HashSet::new(),
            reading: HashSet::new(),
            again: HashSet::new(),
            delays: FuturesUnordered::new(),
            delayed: HashSet::new(),
        }
    }

    async fn run(&mut self) -> Result<()> {
        let _copies = self.copy_logs();
        self.add_inputs();
        let mut reads = FuturesUnordered::new();
        loop {
            while reads.len() < MAX_READS
                && self.unlisted.is_empty()
                && let Some(name) = self.queue.pop_front()
            {
                self.queued.remove(&name);
                self.reading.insert(name.clone());
                let cluster = Arc::clone(&self.cluster);
                reads.push(async move {
                    let status = cluster.status(&name).await;
                    (name, status)
                });
            }
            // The order is fixed, so that one input has one result. Reads are few, and never keep inputs from their turn.
            tokio::select! {
                biased;
                Some((name, status)) = reads.next() => self.handle_read(name, status?).await?,
                Some(name) = self.delays.next() => {
                    self.delayed.remove(&name);
                    self.report(&name).await?;
                }
                input = self.inputs.next() => match input {
                    Some(input) => self.handle(input?).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Copies the logs of drivers, if they are stored, until the returned set is dropped.
    fn copy_logs(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(archive) = &self.cluster.archive {
            let cluster = Arc::downgrade(&self.cluster);
            let drivers = move || Some(cluster.upgrade()?.store.drivers_with_logs());
            tasks.spawn(archive::run(Arc::clone(archive), drivers));
        }
        tasks
    }

    fn add_inputs(&mut self) {
        let cluster = &self.cluster;
        let config = watcher::Config::default().labels(labels::APPLICATION).timeout(WATCH_SECONDS);
        let failed = failed(&cluster.settings.name);
        let records = watcher(cluster.records(), config.clone());
        self.inputs.push(keep_going(records).map_ok(Input::Record).map_err(failed.clone()).boxed());
        self.scopes = match cluster.settings.namespaces.all() {
            Some(namespaces) => namespaces.into_iter().map(Some).collect(),
            None => vec![None],
        };
        let api = |scope: &Option<String>| match scope {
            Some(namespace) => cluster.pods(namespace),
            None => Api::all(cluster.client.clone()),
        };
        let pods: Vec<Api<Pod>> = self.scopes.iter().map(api).collect();
        self.unlisted = (0..pods.len()).map(Scope::Pods).chain([Scope::Records]).collect();
        self.missing = pods.iter().map(|_| None).collect();
        for (scope, api) in pods.into_iter().enumerate() {
            let events = keep_going(watcher(api, config.clone()));
            let input = move |event| Input::Pod(scope, event);
            self.inputs.push(events.map_ok(input).map_err(failed.clone()).boxed());
        }
        if let Some(operator) = cluster.settings.operator {
            self.watch_resources(operator);
        }
        self.inputs.push(events::obstacles(Arc::clone(&self.cluster)).map_ok(Input::Obstacle).boxed());
    }

    async fn handle(&mut self, input: Input) -> Result<()> {
        match input {
            Input::Record(event) => self.handle_record(event).await,
            Input::Pod(scope, event) => self.handle_pod(scope, event).await,
            Input::Resource(source, event) => self.handle_resource(source, event).await,
            Input::Obstacle(name) => self.report(&name).await,
        }
    }

    async fn handle_record(&mut self, event: Event<ConfigMap>) -> Result<()> {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                // A config map of another program has no effect on applications.
                let Ok(record) = Record::from_object(&object) else { return Ok(()) };
                let name = record.name.clone();
                if let Some(operator) = record.operator() {
                    self.watch_resources(operator);
                }
                self.records.insert(name.clone(), record);
                self.report(&name).await
            }
            Event::Delete(object) => {
                let Some(Ok(name)) = object.metadata.name.as_deref().map(str::parse::<Name>) else {
                    return Ok(());
                };
                self.records.remove(&name);
                self.enqueue(&name);
                Ok(())
            }
            Event::Init if self.unlisted.contains(&Scope::Records) => Ok(()),
            // An application may have been forgotten meanwhile.
            Event::Init => Err(Error::Unavailable("changes of records may have been lost".to_owned())),
            Event::InitDone => self.listed(Scope::Records).await,
        }
    }

    async fn handle_pod(&mut self, scope: usize, event: Event<Pod>) -> Result<()> {
        match event {
            Event::Init => {
                let known = self.cluster.store.present(self.scopes[scope].as_deref());
                self.missing[scope] = Some(known);
                Ok(())
            }
            Event::InitApply(pod) | Event::Apply(pod) => {
                let Some((name, facts)) = facts(&pod) else { return Ok(()) };
                if let Some(missing) = &mut self.missing[scope] {
                    missing.remove(&facts.uid);
                }
                self.cluster.store.change(&name, |pods| pods.insert(facts));
                self.report(&name).await
            }
            Event::Delete(pod) => {
                let Some((name, facts)) = facts(&pod) else { return Ok(()) };
                self.cluster.store.change(&name, |pods| pods.remove(facts));
                self.report(&name).await
            }
            Event::InitDone => {
                self.remove_missing(scope).await?;
                self.listed(Scope::Pods(scope)).await
            }
        }
    }

    /// Removes the pods that were known before a list and that it does not have.
    async fn remove_missing(&mut self, scope: usize) -> Result<()> {
        for (uid, name) in self.missing[scope].take().unwrap_or_default() {
            self.cluster.store.change(&name, |pods| pods.remove_missing(&uid));
            self.report(&name).await?;
        }
        Ok(())
    }

    /// Handles the end of a list. After the last one, all applications that have not ended are reported.
    async fn listed(&mut self, scope: Scope) -> Result<()> {
        let is_first = self.unlisted.remove(&scope);
        if !self.unlisted.is_empty() {
            return Ok(());
        }
        self.read_unseen();
        if !is_first {
            return Ok(());
        }
        let names: BTreeSet<Name> = self.records.keys().cloned().chain(self.cluster.store.names()).collect();
        for name in names {
            let has_ended = self.records.get(&name).is_some_and(|it| it.content.end.is_some());
            if !has_ended || !self.cluster.store.get(&name).is_empty() {
                self.report(&name).await?;
            }
        }
        self.emit(WatchEvent::Listed).await
    }

    /// Reads the applications whose drivers no list has: they may have ended while no watch saw them.
    fn read_unseen(&mut self) {
        let is_unseen = |(name, record): &(&Name, &Record)| {
            let Content { driver: Some(uid), end: None, .. } = &record.content else { return false };
            !self.cluster.store.get(name).is_known(uid)
        };
        let unseen: BTreeSet<Name> =
            self.records.iter().filter(is_unseen).map(|(name, _)| name.clone()).collect();
        for name in &unseen {
            self.enqueue(name);
        }
    }

    /// Sends the status of an application if it has changed, and reads it anew if an action is due.
    async fn report(&mut self, name: &Name) -> Result<()> {
        if !self.unlisted.is_empty() {
            return Ok(());
        }
        let Some(record) = self.records.get(name) else {
            self.enqueue(name);
            return Ok(());
        };
        let (status, actions) = assess(record, &self.cluster.store.get(name), (self.cluster.clock)());
        if !actions.is_empty() {
            self.enqueue(name);
        }
        self.send_certain(name.clone(), status).await
    }

    /// Sends a status. An end is sent after it was stored.
    async fn send_certain(&mut self, name: Name, status: Status) -> Result<()> {
        let is_stored = self.records.get(&name).is_some_and(|record| record.content.end.is_some());
        if status.phase == Phase::Ended && !is_stored {
            return Ok(());
        }
        self.send(name, Some(status)).await
    }

    /// Sends what the watch and a read know of an application. The status that was read may be older than that.
    async fn handle_read(&mut self, name: Name, read: Option<Status>) -> Result<()> {
        self.reading.remove(&name);
        if self.again.remove(&name) {
            self.enqueue(&name);
        }
        let Some(record) = self.records.get(&name) else {
            // The event of a record with an end will come.
            let is_later = read.as_ref().is_some_and(|status| status.phase == Phase::Ended);
            return if is_later { Ok(()) } else { self.send(name, read).await };
        };
        let (status, actions) = assess(record, &self.cluster.store.get(&name), (self.cluster.clock)());
        // The API server sends no event when the operator has completed the driver.
        if actions.iter().any(|action| matches!(action, Action::Adopt { .. })) {
            self.delay(name.clone());
        }
        self.send_certain(name, status).await
    }

    fn delay(&mut self, name: Name) {
        if self.delayed.insert(name.clone()) {
            let delay = async move {
                tokio::time::sleep(ADOPTION_RETRY).await;
                name
            };
            self.delays.push(delay.boxed());
        }
    }

    fn enqueue(&mut self, name: &Name) {
        if self.reading.contains(name) {
            self.again.insert(name.clone());
        } else if self.queued.insert(name.clone()) {
            self.queue.push_back(name.clone());
        }
    }

    async fn send(&mut self, name: Name, status: Option<Status>) -> Result<()> {
        match &status {
            Some(status) if self.sent.get(&name) == Some(status) => return Ok(()),
            Some(status) => {
                self.sent.insert(name.clone(), status.clone());
            }
            None => {
                self.sent.remove(&name);
            }
        }
        self.emit(WatchEvent::Changed(Change { name, status })).await
    }

    async fn emit(&mut self, event: WatchEvent) -> Result<()> {
        let closed = |_| Error::Unavailable("the watch is not read any more".to_owned());
        self.sender.send(Ok(event)).await.map_err(closed)
    }
}

/// Translates an error of a watch.
fn failed(cluster: &str) -> impl Fn(watcher::Error) -> Error + Clone + Send + 'static {
    let cluster = cluster.to_owned();
    move |error| Error::Unavailable(format!("cluster `{cluster}` can't be watched: {error}"))
}

/// Continues a watch whose position is too old for the server: the watcher lists all objects again.
fn keep_going<K: Send + 'static>(
    events: impl futures_util::Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
) -> impl futures_util::Stream<Item = watcher::Result<Event<K>>> + Send {
    events.filter(|event| {
        let is_too_old = matches!(event, Err(watcher::Error::WatchError(status)) if status.code == 410);
        std::future::ready(!is_too_old)
    })
}

/// Returns the application of a pod, and the facts about it.
fn facts(pod: &Pod) -> Option<(Name, PodFacts)> {
    let facts = PodFacts::new(pod)?;
    Some((facts.application.clone(), facts))
}
