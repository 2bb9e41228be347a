//! Events of Kubernetes about single pods: the obstacles that no status of a pod has, such as a missing config map.
//!
//! Only pods whose start takes longer are asked for, one list for each, and drivers whose end needs an explanation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::cluster::Cluster;
use super::facts::{PodFacts, shortened};
use crate::error::Result;
use crate::{End, Evidence, Name, Obstacle, Reason, Source};

/// Interval for reading the events of drivers whose containers do not start.
const INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of drivers whose events are read in one interval; the next interval continues with others.
const MAX_READS: usize = 20;
/// Maximum number of concurrent reads.
const MAX_CONCURRENT_READS: usize = 4;
/// Pause after events can't be read, such as without the right to do so.
const PAUSE: Duration = Duration::from_secs(30);
/// Maximum number of events of one pod that are read.
const MAX_EVENTS: u32 = 100;
/// Maximum number of events that explain an end.
const MAX_EVIDENCE: usize = 5;

/// The effect of an event on the start of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Obstacle(Reason),
    /// Earlier obstacles are gone.
    Progress,
    /// It explains an end only.
    Explanation,
}

fn effect(event: &Event) -> Option<Effect> {
    let message = event.message.as_deref().unwrap_or_default();
    match event.reason.as_deref()? {
        "FailedMount"
        | "FailedMapVolume"
        | "FailedAttachVolume"
        | "FailedCreatePodSandBox"
        | "FailedPodSandBoxStatus"
        | "NetworkNotReady"
        | "FailedCreatePodContainer" => Some(Effect::Obstacle(Reason::Preparation)),
        "Failed" if message.starts_with("Failed to pull image") => {
            Some(Effect::Obstacle(Reason::ImageUnavailable))
        }
        "Pulling" | "Pulled" | "Created" | "Started" => Some(Effect::Progress),
        "FailedScheduling"
        | "Preempted"
        | "Evicted"
        | "Evicting"
        | "TaintManagerEviction"
        | "NodeNotReady"
        | "Failed"
        | "BackOff"
        | "NodeAffinity"
        | "OutOfcpu"
        | "OutOfmemory"
        | "OutOfpods"
        | "FailedToRetrieveImagePullSecret" => Some(Effect::Explanation),
        _ => None,
    }
}

/// Returns the last change of an event. Kubernetes repeats an event by changing it.
fn version(event: &Event) -> u64 {
    event.metadata.resource_version.as_ref().and_then(|it| it.parse().ok()).unwrap_or_default()
}

fn text(event: &Event) -> String {
    let (reason, message) = (event.reason.as_deref(), event.message.as_deref());
    shortened(&format!("{}: {}", reason.unwrap_or_default(), message.unwrap_or_default()))
}

/// Returns the obstacle to the start of a pod that its events show.
fn obstacle(events: &[Event]) -> Option<Obstacle> {
    let effects = events.iter().filter_map(|event| Some((event, effect(event)?)));
    let (last, effect) =
        effects.filter(|(_, it)| *it != Effect::Explanation).max_by_key(|(event, _)| version(event))?;
    let Effect::Obstacle(reason) = effect else { return None };
    let evidence = Evidence { source: Source::Event, reason: None, text: text(last) };
    Some(Obstacle { reason, evidence: vec![evidence] })
}

/// Returns the events that may explain the end of a pod, the last ones.
fn explanation(mut events: Vec<Event>) -> Vec<Evidence> {
    events.retain(|event| !matches!(effect(event), None | Some(Effect::Progress)));
    events.sort_by_key(version);
    let first = events.len().saturating_sub(MAX_EVIDENCE);
    let evidence = |event: &Event| {
        let text = format!("driver: {}", text(event));
        Evidence { source: Source::Event, reason: None, text }
    };
    events[first..].iter().map(evidence).collect()
}

/// Returns true if the end of a driver needs an explanation by events: its program has not ended by itself.
fn needs_explanation(end: &End) -> bool {
    let is_of_program = matches!(end.reason, Reason::Exited | Reason::OutOfMemory) && end.exit_code.is_some();
    !end.succeeded && !is_of_program
}

/// Watches for obstacles in the events of drivers that do not start. Returns the name of an application whenever its
/// obstacle has changed.
pub(super) fn obstacles(cluster: Arc<Cluster>) -> BoxStream<'static, Result<Name>> {
    let state = (cluster, VecDeque::new());
    stream::unfold(state, |(cluster, mut queue)| async move {
        let is_readable = read_next(&cluster, &mut queue).await;
        let (changed, pause) = match is_readable {
            Some(changed) => (changed, INTERVAL),
            None => (Vec::new(), PAUSE),
        };
        if changed.is_empty() {
            tokio::time::sleep(pause).await;
        }
        Some((stream::iter(changed.into_iter().map(Ok)), (cluster, queue)))
    })
    .flatten()
    .boxed()
}

/// Reads the events of the next drivers. Returns the applications whose obstacles have changed; none if they can't be
/// read.
async fn read_next(cluster: &Cluster, queue: &mut VecDeque<PodFacts>) -> Option<Vec<Name>> {
    if queue.is_empty() {
        queue.extend(cluster.store.stalled_drivers());
    }
    let drivers: Vec<PodFacts> = queue.drain(..queue.len().min(MAX_READS)).collect();
    let reads = drivers.into_iter().map(|driver| async move {
        let changed = cluster.read_obstacle(&driver).await?;
        Ok(changed.then_some(driver.application))
    });
    let changed = stream::iter(reads).buffer_unordered(MAX_CONCURRENT_READS).try_collect::<Vec<_>>();
    let changed: kube::Result<Vec<_>> = changed.await;
    changed.ok().map(|changed| changed.into_iter().flatten().collect())
}

impl Cluster {
    async fn events(&self, pod: &PodFacts) -> kube::Result<Vec<Event>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &pod.namespace);
        let selector = format!("involvedObject.uid={}", pod.uid);
        let params = ListParams::default().fields(&selector).limit(MAX_EVENTS);
        Ok(api.list(&params).await?.items)
    }

    /// Reads the obstacle to the start of a driver from its events. Returns true if it has changed.
    pub(super) async fn read_obstacle(&self, driver: &PodFacts) -> kube::Result<bool> {
        let obstacle = obstacle(&self.events(driver).await?);
        let mut is_changed = false;
        self.store.change(&driver.application, |pods| {
            is_changed = pods.set_event_obstacle(&driver.uid, obstacle);
        });
        Ok(is_changed)
    }

    /// Adds the events of a driver to the evidence of its end, if it needs an explanation and they can be read.
    pub(super) async fn explained(&self, end: End, driver: Option<&PodFacts>) -> End {
        let Some(driver) = driver.filter(|_| needs_explanation(&end)) else { return end };
        let events = self.events(driver).await.unwrap_or_default();
        let mut evidence = end.evidence;
        evidence.extend(explanation(events));
        End { evidence, ..end }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn event(version: u64, reason: &str, message: &str) -> Event {
        let event = json!({
            "metadata": {"name": "e", "resourceVersion": version.to_string()},
            "involvedObject": {}, "reason": reason, "message": message,
        });
        serde_json::from_value(event).unwrap()
    }

    fn missing(version: u64) -> Event {
        event(
            version,
            "FailedMount",
            "MountVolume.SetUp failed for volume \"v\" : configmap \"absent\" not found",
        )
    }

    #[test]
    fn a_missing_config_map_is_an_obstacle() {
        let events = [event(2, "Scheduled", "assigned"), missing(3)];
        let obstacle = obstacle(&events).expect("there is an obstacle");
        assert_eq!(
            obstacle.to_string(),
            "a step before the driver failed: FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \
             \"absent\" not found"
        );
    }

    #[test]
    fn an_obstacle_is_gone_once_a_later_step_has_begun() {
        assert_eq!(obstacle(&[event(4, "Pulling", "image"), missing(3)]), None);
        assert!(obstacle(&[event(4, "Pulling", "image"), missing(5)]).is_some());
        assert_eq!(obstacle(&[event(4, "FailedScheduling", "0/1 nodes")]), None);
    }

    #[test]
    fn an_end_has_the_last_events_and_shortened_texts() {
        let events = (0..20).map(|version| event(version, "FailedMount", &"x".repeat(9000))).collect();
        let evidence = explanation(events);
        assert_eq!(evidence.len(), MAX_EVIDENCE);
        assert!(
            evidence.iter().all(|it| it.text.len() < 600 && it.text.starts_with("driver: FailedMount: x"))
        );
    }

    #[test]
    fn an_exit_code_needs_no_explanation_by_events() {
        let exited = |code| End::exited(Timestamp::UNIX_EPOCH, code, None);
        assert!(!needs_explanation(&exited(Some(0))));
        assert!(!needs_explanation(&exited(Some(1))));
        assert!(needs_explanation(&End::stopped_before_start(Timestamp::UNIX_EPOCH)));
        assert!(needs_explanation(&End { reason: Reason::Evicted, ..exited(Some(143)) }));
    }
}
