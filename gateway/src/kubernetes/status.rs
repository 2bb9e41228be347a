//! Derives the status of an application from its record and its pods, and the actions that are due. It is pure.
//!
//! An application has ended when its driver has ended and no pod of it is left that may run. Pods are the only proof
//! of this.

mod submitted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;

use super::facts::{PodFacts, Role};
use super::operator::Operator;
use super::record::Record;
use super::resource::Resource;
use crate::{Addresses, End, Evidence, Obstacle, Phase, Reason, Source, Status};

/// Maximum number of facts about executors that are kept for the end of an application.
const MAX_EVIDENCE: usize = 20;
/// Exit codes of a container that was stopped.
const SIGKILL_EXIT_CODE: i32 = 137;
const SIGTERM_EXIT_CODE: i32 = 143;
/// Maximum number of executors that are remembered after their pods do not exist any more. A list that is older than a
/// deletion arrives within seconds.
const MAX_GONE_EXECUTORS: usize = 1000;
/// Grace period of pods that dcp ends by itself, such as executors whose driver has ended.
pub(super) const END_GRACE_SECONDS: u32 = 5;

/// The pods of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pods {
    /// The pods that exist, by UID.
    present: BTreeMap<String, PodFacts>,
    /// The drivers that do not exist any more, with the last facts about those that were seen.
    gone_drivers: BTreeMap<String, Option<PodFacts>>,
    /// The UIDs of executors that do not exist any more, the latest at the end.
    gone_executors: VecDeque<String>,
    /// Evidence of executors that have ended abnormally.
    evidence: Vec<Evidence>,
    /// The custom resource from which an operator creates the driver.
    pub(super) resource: Resource,
    /// The obstacle to the start of a pod that its events show, with the pod's UID.
    pub(super) event_obstacle: Option<(String, Obstacle)>,
}

impl Pods {
    pub(super) fn insert(&mut self, pod: PodFacts) {
        // A list may be older than what the watch reported.
        let is_older = |known: &PodFacts| known.version > pod.version;
        if self.is_gone(&pod.uid) || self.present.get(&pod.uid).is_some_and(is_older) {
            return;
        }
        self.collect_evidence(&pod);
        self.present.insert(pod.uid.clone(), pod);
    }

    /// Notes that a pod does not exist any more.
    pub(super) fn remove(&mut self, pod: PodFacts) {
        self.collect_evidence(&pod);
        self.present.remove(&pod.uid);
        match pod.role {
            Role::Driver => drop(self.gone_drivers.insert(pod.uid.clone(), Some(pod))),
            Role::Executor if !self.is_gone(&pod.uid) => {
                self.gone_executors.push_back(pod.uid);
                if self.gone_executors.len() > MAX_GONE_EXECUTORS {
                    self.gone_executors.pop_front();
                }
            }
            Role::Executor => {}
        }
    }

    fn is_gone(&self, uid: &str) -> bool {
        self.gone_drivers.contains_key(uid) || self.gone_executors.iter().any(|gone| gone == uid)
    }

    /// Notes that a pod does not exist any more, of which the last facts are known.
    pub(super) fn remove_missing(&mut self, uid: &str) {
        if let Some(pod) = self.present.get(uid).cloned() {
            self.remove(pod);
        }
    }

    /// Returns true if a pod exists or existed.
    pub(super) fn is_known(&self, uid: &str) -> bool {
        self.present.contains_key(uid) || self.is_gone(uid)
    }

    /// Returns the UIDs of the pods that exist.
    pub(super) fn uids(&self) -> BTreeSet<String> {
        self.present.keys().cloned().collect()
    }

    /// Adds the pods of a complete list. A pod that was known `before` the list was read and that the list does not
    /// have is gone, and so is the driver of the record.
    pub(super) fn add_list(&mut self, all: Vec<PodFacts>, before: &BTreeSet<String>, driver: Option<&str>) {
        let is_listed = |uid: &str| all.iter().any(|pod| pod.uid == uid);
        for uid in before.iter().filter(|uid| !is_listed(uid)) {
            self.remove_missing(uid);
        }
        if let Some(uid) = driver.filter(|uid| !is_listed(uid)) {
            self.remove_missing(uid);
            self.gone_drivers.entry(uid.to_owned()).or_default();
        }
        for pod in all {
            self.insert(pod);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PodFacts> {
        self.present.values()
    }

    /// Stores the obstacle that the events of a driver show. Returns true if it has changed.
    pub(super) fn set_event_obstacle(&mut self, driver: &str, obstacle: Option<Obstacle>) -> bool {
        let obstacle = obstacle.map(|obstacle| (driver.to_owned(), obstacle));
        let is_changed = self.event_obstacle != obstacle;
        self.event_obstacle = obstacle;
        is_changed
    }

    /// Returns the drivers that have a node and do not start, without an obstacle in their status.
    pub(super) fn stalled_drivers(&self) -> impl Iterator<Item = &PodFacts> {
        let is_stalled = |pod: &&PodFacts| {
            pod.role == Role::Driver
                && pod.is_starting
                && !pod.is_over
                && !pod.is_deleting
                && pod.obstacle.is_none()
        };
        self.present.values().filter(is_stalled)
    }

    /// Returns the drivers that exist and have a log.
    pub(super) fn drivers_with_logs(&self) -> impl Iterator<Item = &PodFacts> {
        self.present.values().filter(|pod| pod.role == Role::Driver && pod.has_log)
    }

    /// Returns the last facts about a driver.
    pub(super) fn driver(&self, uid: &str) -> Option<&PodFacts> {
        self.present.get(uid).or_else(|| self.gone_drivers.get(uid)?.as_ref())
    }

    fn collect_evidence(&mut self, pod: &PodFacts) {
        let is_abnormal = pod.disruption.is_some()
            || pod.end.as_ref().is_some_and(|end| end.exit_code != 0 || end.is_out_of_memory);
        if pod.role == Role::Driver || !is_abnormal {
            return;
        }
        for evidence in pod.evidence() {
            if self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(&evidence) {
                self.evidence.push(evidence);
            }
        }
    }
}

/// An action that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    DeletePod {
        namespace: String,
        name: String,
        uid: String,
        grace_seconds: u32,
    },
    /// Name a driver that an operator has created in the record, and remove its scheduling gate.
    Adopt {
        namespace: String,
        name: String,
        uid: String,
        /// The operator completes the driver no more, if it is incomplete.
        has_given_up: bool,
    },
    /// Delete the custom resource.
    DeleteResource {
        operator: Operator,
        namespace: String,
        uid: String,
    },
    /// Remove the scheduling gate of the driver.
    Start {
        namespace: String,
        name: String,
        uid: String,
    },
    /// Store the end of the driver before its pod may be deleted.
    StoreDriverEnd {
        end: End,
        started: Option<Timestamp>,
    },
    StoreEnd {
        end: End,
        started: Option<Timestamp>,
    },
}

/// Returns the status of an application, and the actions that are due.
pub(super) fn assess(record: &Record, pods: &Pods, now: Timestamp) -> (Status, Vec<Action>) {
    let (status, actions) = assess_pods(record, pods, now);
    let all = &record.content.addresses;
    let is_up = status.phase == Phase::Running && status.obstacle.is_none();
    let addresses = if is_up {
        Addresses { connect: connect_address(record, pods), ..all.clone() }
    } else {
        Addresses { event_log: all.event_log.clone(), ..Addresses::default() }
    };
    (Status { addresses, ..status }, actions)
}

/// Returns the address at which a driver serves Spark Connect, with the IP address of its pod, so that clients need no name service.
/// The address lasts as long as the driver: the pod of a driver never starts a second time.
fn connect_address(record: &Record, pods: &Pods) -> Option<String> {
    let (_, port) = record.content.addresses.connect.as_ref()?.rsplit_once(':')?;
    let host: IpAddr = pods.driver(record.content.driver.as_ref()?)?.address.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(host, port.parse().ok()?).to_string())
}

fn assess_pods(record: &Record, pods: &Pods, now: Timestamp) -> (Status, Vec<Action>) {
    if let Some(end) = &record.content.end {
        // An executor may have been created while its driver ended.
        let remaining = pods.iter().filter(|pod| !pod.is_over && !pod.is_deleting);
        let resource = submitted::superfluous(record, pods).map(|it| Action::DeleteResource {
            operator: it.operator,
            namespace: it.namespace.clone(),
            uid: it.uid.clone(),
        });
        let actions = remaining.map(kill).chain(resource).collect();
        return (ended(end.clone(), record.content.started), actions);
    }
    let Some(driver_uid) = &record.content.driver else { return not_started(record, pods, now) };
    // A pod of a creator that was overtaken by another one never starts.
    let mut actions: Vec<Action> =
        pods.iter().filter(|pod| pod.role == Role::Driver && pod.uid != *driver_uid).map(kill).collect();
    let driver = pods.present.get(driver_uid);
    let status = match driver {
        Some(driver) if driver.end.is_none() && !driver.is_over => {
            actions.extend(actions_of_living(record, driver));
            living(driver, pods)
        }
        // The watch has not seen it yet.
        None if !pods.gone_drivers.contains_key(driver_uid) => Status::new(Phase::Pending),
        _ => {
            let (status, more) = after_driver(record, pods.driver(driver_uid), pods, now);
            actions.extend(more);
            status
        }
    };
    (status, actions)
}

/// Returns the status of an application whose driver has ended or is gone, and the actions that are due.
fn after_driver(
    record: &Record,
    driver: Option<&PodFacts>,
    pods: &Pods,
    now: Timestamp,
) -> (Status, Vec<Action>) {
    let mut actions = Vec::new();
    let remaining: Vec<&PodFacts> = pods.iter().filter(|pod| !pod.is_over).collect();
    let started = driver.and_then(|it| it.started).or(record.content.started);
    let Some(first) = remaining.first() else {
        let end = end(record, driver, pods, now);
        actions.push(Action::StoreEnd { end: end.clone(), started });
        return (ended(end, started), actions);
    };
    if driver.is_some_and(|it| it.end.is_some()) && record.content.driver_end.is_none() {
        let end = end(record, driver, pods, now);
        actions.push(Action::StoreDriverEnd { end, started });
    }
    // The driver's own pod is about to be over, unless a sidecar runs on.
    let must_end =
        |pod: &&&PodFacts| !pod.is_deleting && (pod.role == Role::Executor || pod.has_running_sidecar);
    actions.extend(remaining.iter().filter(must_end).map(|pod| kill(pod)));
    let obstacle = Some(remains(first));
    (Status { started, obstacle, ..Status::new(Phase::Running) }, actions)
}

fn ended(end: End, started: Option<Timestamp>) -> Status {
    Status { started, end: Some(end), ..Status::new(Phase::Ended) }
}

/// Returns the status of an application whose driver was not started yet.
fn not_started(record: &Record, pods: &Pods, now: Timestamp) -> (Status, Vec<Action>) {
    if record.content.stop.is_none() {
        if let Some(own) = &record.content.resource {
            return submitted::submitted(record, own, pods, now);
        }
        let obstacle = pods.iter().find_map(|pod| pod.obstacle.clone());
        return (Status { obstacle, ..Status::new(Phase::Pending) }, Vec::new());
    }
    // Another user may have removed the gate.
    if let Some(first) = pods.iter().find(|pod| !pod.is_over && !pod.is_gated()) {
        let status = Status { obstacle: Some(remains(first)), ..Status::new(Phase::Running) };
        return (status, pods.iter().filter(|pod| !pod.is_deleting).map(kill).collect());
    }
    let end = End::stopped_before_start(now);
    let actions =
        pods.iter().map(kill).chain([Action::StoreEnd { end: end.clone(), started: None }]).collect();
    (ended(end, None), actions)
}

fn living(driver: &PodFacts, pods: &Pods) -> Status {
    let phase = if driver.started.is_some() { Phase::Running } else { Phase::Pending };
    let in_events = pods.event_obstacle.as_ref().filter(|(uid, _)| driver.is_starting && *uid == driver.uid);
    let obstacle = driver.obstacle.clone().or_else(|| in_events.map(|(_, obstacle)| obstacle.clone()));
    Status { started: driver.started, obstacle, ..Status::new(phase) }
}

fn actions_of_living(record: &Record, driver: &PodFacts) -> Option<Action> {
    let (namespace, name, uid) = (driver.namespace.clone(), driver.name.clone(), driver.uid.clone());
    match &record.content.stop {
        Some(stop) if !driver.is_deleting => {
            Some(Action::DeletePod { namespace, name, uid, grace_seconds: stop.grace_seconds })
        }
        None if driver.is_gated() => Some(Action::Start { namespace, name, uid }),
        _ => None,
    }
}

fn kill(pod: &PodFacts) -> Action {
    let (namespace, name, uid) = (pod.namespace.clone(), pod.name.clone(), pod.uid.clone());
    Action::DeletePod { namespace, name, uid, grace_seconds: END_GRACE_SECONDS }
}

/// Returns the obstacle to the end of an application whose driver has ended.
pub(super) fn remains(pod: &PodFacts) -> Obstacle {
    let text = format!("the driver has ended, and the pod `{}` may still run", pod.name);
    let evidence = Evidence { source: Source::Pod, reason: None, text };
    match &pod.obstacle {
        Some(obstacle) => {
            let evidence = [vec![evidence], obstacle.evidence.clone()].concat();
            Obstacle { reason: obstacle.reason, evidence }
        }
        None => Obstacle { reason: Reason::Ending, evidence: vec![evidence] },
    }
}

/// Returns true if another user deleted the pod of a driver. A pod with a sidecar is deleted after its driver's end too.
fn was_deleted(driver: &PodFacts) -> bool {
    match &driver.end {
        Some(end) => driver.is_deleting && matches!(end.exit_code, SIGKILL_EXIT_CODE | SIGTERM_EXIT_CODE),
        None => true,
    }
}

/// Returns the reason for the end of a driver.
fn reason(driver: &PodFacts, stopped: bool) -> Reason {
    let container = driver.end.as_ref();
    let has_failed_before_start = container.is_none() && !driver.is_deleting && driver.init_failure.is_some();
    if container.is_some_and(|end| end.exit_code == 0) {
        // A stream drains and exits with 0 when its pod is evicted.
        driver.disruption.as_ref().map_or(Reason::Exited, |(reason, _)| *reason)
    } else if container.is_some_and(|end| end.is_out_of_memory) {
        Reason::OutOfMemory
    } else if let Some((reason, _)) = &driver.disruption {
        *reason
    } else if !stopped && has_failed_before_start {
        Reason::Preparation
    } else if !stopped && was_deleted(driver) {
        Reason::Deleted
    } else if container.is_none() && driver.started.is_none() {
        Reason::NotStarted
    } else {
        Reason::Exited
    }
}

/// Returns the end of an application none of whose pods can run any more.
fn end(record: &Record, driver: Option<&PodFacts>, pods: &Pods, now: Timestamp) -> End {
    let stopped = record.content.stop.is_some();
    if let Some(end) = &record.content.driver_end
        && driver.is_none_or(|driver| driver.end.is_none())
    {
        return End { stopped, ..end.clone() };
    }
    let Some(driver) = driver else {
        let text = "the driver's pod was deleted while no Gateway watched it".to_owned();
        let evidence = vec![Evidence { source: Source::Pod, reason: None, text }];
        let reason = if stopped { Reason::Exited } else { Reason::Deleted };
        return End { at: now, succeeded: false, stopped, exit_code: None, signal: None, reason, evidence };
    };
    let container = driver.end.as_ref();
    let exit_code = container.map(|end| end.exit_code);
    let succeeded = exit_code == Some(0);
    let reason = reason(driver, stopped);
    let mut evidence = if reason == Reason::Exited && succeeded {
        Vec::new()
    } else {
        [driver.evidence(), pods.evidence.clone()].concat()
    };
    if !succeeded && !stopped && driver.is_deleting && pods.resource == Resource::Missing {
        let text = "the custom resource of the application was deleted".to_owned();
        evidence.push(Evidence { source: Source::Backend, reason: None, text });
    }
    let signal = container.and_then(|end| end.signal);
    let at = container.and_then(|end| end.at).unwrap_or(now);
    End { at, succeeded, stopped, exit_code, signal, reason, evidence }
}

#[cfg(test)]
mod tests;
