//! The status of an application that an operator runs, until its record names a driver.

use jiff::Timestamp;

use super::super::facts::{PodFacts, Role};
use super::super::operators::candidate;
use super::super::record::{CustomResource, Record};
use super::super::resource::{Resource, ResourceFacts};
use super::{Action, Pods, ended, kill};
use crate::{End, Evidence, Phase, Reason, Source, Status};

/// Returns the status of an application without a driver and without a request to stop.
pub(super) fn submitted(
    record: &Record,
    own: &CustomResource,
    pods: &Pods,
    now: Timestamp,
) -> (Status, Vec<Action>) {
    // Its creator has not created everything yet, and continues.
    let Some(uid) = &own.uid else { return (pending(pods), Vec::new()) };
    if let Some(driver) = candidate(pods.iter()) {
        return (pending(pods), vec![adopt(driver, has_given_up(uid, pods))]);
    }
    let left: Vec<&PodFacts> = pods.iter().filter(|pod| !pod.is_over).collect();
    if !left.is_empty() {
        let executors = left.iter().filter(|pod| pod.role == Role::Executor && !pod.is_deleting);
        return (pending(pods), executors.map(|pod| kill(pod)).collect());
    }
    match end(uid, &pods.resource, now) {
        Some(end) => {
            let store = Action::StoreEnd { end: end.clone(), started: None };
            (ended(end, record.content.started), vec![store])
        }
        None => (pending(pods), Vec::new()),
    }
}

fn pending(pods: &Pods) -> Status {
    let obstacle = pods.iter().find_map(|pod| pod.obstacle.clone());
    let status = Status { obstacle, ..Status::new(Phase::Pending) };
    match &pods.resource {
        // The driver may still start.
        Resource::Present(resource) if candidate(pods.iter()).is_none() => resource.hint.explain(status),
        _ => status,
    }
}

fn adopt(driver: &PodFacts, has_given_up: bool) -> Action {
    let (namespace, name, uid) = (driver.namespace.clone(), driver.name.clone(), driver.uid.clone());
    Action::Adopt { namespace, name, uid, has_given_up }
}

/// Returns true if the operator completes no driver any more.
fn has_given_up(uid: &str, pods: &Pods) -> bool {
    match &pods.resource {
        Resource::Unknown => false,
        Resource::Missing => true,
        Resource::Present(resource) => resource.uid != uid || resource.has_given_up(),
    }
}

/// Returns the end of an application that has no pod, and gets none any more.
fn end(uid: &str, resource: &Resource, now: Timestamp) -> Option<End> {
    match resource {
        Resource::Unknown => None,
        Resource::Present(resource) if resource.uid == uid => resource.hint.end_without_driver(now),
        Resource::Missing | Resource::Present(_) => {
            let text = "the custom resource was deleted before the driver's pod was created".to_owned();
            let evidence = vec![Evidence { source: Source::Backend, reason: None, text }];
            Some(End { reason: Reason::Deleted, evidence, ..End::exited(now, None, None) })
        }
    }
}

/// Returns the custom resource of an application that has ended, if it has to be deleted: it is not needed any more, or
/// it was created after the end. That of a driver that has ended by itself stays, as its pod and log do.
pub(super) fn superfluous<'p>(record: &Record, pods: &'p Pods) -> Option<&'p ResourceFacts> {
    let Resource::Present(found) = &pods.resource else { return None };
    let content = &record.content;
    let own = content.resource.as_ref().and_then(|resource| resource.uid.as_ref());
    let is_needed = content.stop.is_none() && content.driver.is_some() && own == Some(&found.uid);
    (!is_needed && !found.is_deleting).then_some(found)
}

#[cfg(test)]
mod tests;
