//! The facts about a pod that an application's status depends on.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus};

use super::{labels, queue};
use crate::{Evidence, Name, Obstacle, Reason, Source};

/// Maximum length of a message that is kept.
const MAX_MESSAGE_CHARS: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Driver,
    Executor,
}

/// The facts about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the facts are independent of each other")]
pub(super) struct PodFacts {
    pub(super) application: Name,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    /// The version of the pod's object. Versions of one pod grow.
    pub(super) version: Option<u64>,
    pub(super) role: Role,
    /// Spark's number of an executor.
    pub(super) number: Option<String>,
    pub(super) container: String,
    pub(super) gates: Vec<String>,
    /// The pod is to be deleted.
    pub(super) is_deleting: bool,
    /// None of its containers runs, or ever will.
    pub(super) is_over: bool,
    /// A container other than that of Spark runs.
    pub(super) has_running_sidecar: bool,
    /// The pod has a node, and the container of Spark has not started.
    pub(super) is_starting: bool,
    /// The container of Spark was started, so that it has a log.
    pub(super) has_log: bool,
    /// The time at which the container of Spark was started.
    pub(super) started: Option<Timestamp>,
    pub(super) address: Option<String>,
    /// The end of the container of Spark.
    pub(super) end: Option<ContainerEnd>,
    /// The failure of an init container, after which the container of Spark does not start.
    pub(super) init_failure: Option<String>,
    /// The obstacle to the start or to the end of the pod.
    pub(super) obstacle: Option<Obstacle>,
    /// The reason why Kubernetes ended the pod, with its message.
    pub(super) disruption: Option<(Reason, String)>,
    /// The exception that ended a driver.
    pub(super) exception: Option<String>,
}

/// The end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerEnd {
    pub(super) at: Option<Timestamp>,
    pub(super) exit_code: i32,
    pub(super) signal: Option<i32>,
    pub(super) is_out_of_memory: bool,
    pub(super) text: String,
}

impl PodFacts {
    /// Returns the facts about a pod of an application; nothing for other pods.
    pub(super) fn new(pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let label = |key: &str| metadata.labels.as_ref()?.get(key).cloned();
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).cloned();
        let (role, default_container) = role(&label(labels::ROLE)?)?;
        let container = annotation(labels::CONTAINER).unwrap_or_else(|| default_container.to_owned());
        let status = pod.status.clone().unwrap_or_default();
        let statuses = status.container_statuses.as_deref().unwrap_or_default();
        let own = statuses.iter().find(|it| it.name == container);
        let state = own.and_then(|it| it.state.as_ref());
        let end = state.and_then(|it| it.terminated.as_ref()).or_else(|| {
            // A node that returns reports the container as lost, and its last end beside it.
            own.and_then(|it| it.last_state.as_ref()?.terminated.as_ref())
        });
        let is_deleting = metadata.deletion_timestamp.is_some();
        let end = end.filter(|end| !(is_deleting && own.is_some_and(|own| was_never_created(own, end))));
        let running = state.and_then(|it| it.running.as_ref()?.started_at.as_ref());
        let started = running.or(end.and_then(|it| it.started_at.as_ref()));
        Some(Self {
            application: label(labels::APPLICATION)?.parse().ok()?,
            name: metadata.name.clone()?,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone()?,
            version: metadata.resource_version.as_ref().and_then(|version| version.parse().ok()),
            role,
            number: label(labels::EXECUTOR_NUMBER),
            end: end.map(|end| ContainerEnd::new(&container, end)),
            gates: gates(pod),
            is_deleting,
            has_running_sidecar: statuses.iter().any(|it| it.name != container && is_running(it)),
            is_over: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            is_starting: started.is_none() && end.is_none() && has_node(pod),
            has_log: own.is_some_and(has_log),
            started: started.map(|it| it.0),
            address: status.pod_ip.clone(),
            init_failure: init_failure(&status),
            obstacle: obstacle(pod, statuses),
            disruption: disruption(pod),
            exception: annotation(labels::EXIT_EXCEPTION).map(|text| shortened(first_line(&text))),
            container,
        })
    }

    /// Returns true if the pod can't start before the Gateway removes its gate.
    pub(super) fn is_gated(&self) -> bool {
        self.gates.iter().any(|gate| gate == labels::GATE)
    }

    /// Returns the evidence of an end that the pod has.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let who = match (self.role, &self.number) {
            (Role::Driver, _) => "driver".to_owned(),
            (Role::Executor, Some(number)) => format!("executor {number}"),
            (Role::Executor, None) => "executor".to_owned(),
        };
        let container = match self.role {
            Role::Driver => Source::Container,
            Role::Executor => Source::Executor,
        };
        let end = self.end.as_ref().map(|end| Evidence {
            source: container,
            reason: end.is_out_of_memory.then_some(Reason::OutOfMemory),
            text: format!("{who}: {}", end.text),
        });
        let init = self.init_failure.as_ref().map(|text| Evidence {
            source: container,
            reason: None,
            text: format!("{who}: {text}"),
        });
        let disruption = self.disruption.as_ref().map(|(reason, text)| Evidence {
            source: Source::Pod,
            reason: Some(*reason),
            text: format!("{who}: {text}"),
        });
        let exception = self.exception.as_ref().map(|text| Evidence {
            source: Source::Pod,
            reason: None,
            text: format!("{who}: {text}"),
        });
        disruption.into_iter().chain(init).chain(end).chain(exception).collect()
    }
}

/// Returns the role of a pod by its label, and the name that its container has by default.
fn role(label: &str) -> Option<(Role, &'static str)> {
    match label {
        "driver" => Some((Role::Driver, labels::DRIVER_CONTAINER)),
        "executor" => Some((Role::Executor, labels::EXECUTOR_CONTAINER)),
        _ => None,
    }
}

impl ContainerEnd {
    fn new(container: &str, end: &ContainerStateTerminated) -> Self {
        let reason = end.reason.as_deref().unwrap_or("Unknown");
        let message = end.message.as_deref().map(|it| format!(": {}", shortened(it))).unwrap_or_default();
        Self {
            at: end.finished_at.as_ref().map(|it| it.0),
            exit_code: end.exit_code,
            signal: end.signal.filter(|signal| *signal != 0),
            is_out_of_memory: reason == "OOMKilled",
            text: format!(
                "container `{container}` ended with exit code {}, {reason}{message}",
                end.exit_code
            ),
        }
    }
}

/// Returns the failure of an init container.
fn init_failure(status: &PodStatus) -> Option<String> {
    let containers = status.init_container_statuses.iter().flatten();
    let ends = containers.filter_map(|it| Some((it, it.state.as_ref()?.terminated.as_ref()?)));
    let (container, end) = ends.into_iter().find(|(_, end)| end.exit_code != 0)?;
    Some(ContainerEnd::new(&container.name, end).text)
}

fn has_log(container: &ContainerStatus) -> bool {
    let states = [&container.state, &container.last_state].into_iter().flatten();
    let mut ends = states.filter_map(|state| state.terminated.as_ref());
    // A container that could not be started has an end too.
    is_running(container) || ends.any(|end| end.container_id.as_ref().is_some_and(|id| !id.is_empty()))
}

/// Returns true if the end of a container is that of one that was never created. A kubelet that does not find it, as its pod is
/// deleted before, reports the exit code 137.
fn was_never_created(container: &ContainerStatus, end: &ContainerStateTerminated) -> bool {
    let is_unknown = end.reason.as_deref() == Some("ContainerStatusUnknown");
    is_unknown && end.started_at.is_none() && container.container_id.as_deref().unwrap_or_default().is_empty()
}

fn has_node(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

fn gates(pod: &Pod) -> Vec<String> {
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    gates.into_iter().flatten().map(|gate| gate.name.clone()).collect()
}

/// Returns the obstacle that keeps a pod from its start, or from its end.
fn obstacle(pod: &Pod, containers: &[ContainerStatus]) -> Option<Obstacle> {
    if let Some(obstacle) = queue_obstacle(pod) {
        return Some(obstacle);
    }
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let condition = |kind: &str| conditions.iter().find(|it| it.type_ == kind && it.status != "True");
    if let Some(unscheduled) = condition("PodScheduled")
        && unscheduled.reason.as_deref() == Some("Unschedulable")
    {
        let text = unscheduled.message.as_deref().unwrap_or_default();
        return Some(found(Source::Pod, Reason::Unschedulable, text));
    }
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    if let Some(obstacle) = init.iter().chain(containers).find_map(container_obstacle) {
        return Some(obstacle);
    }
    if let Some(unready) = condition("Ready")
        && unready.reason.as_deref() == Some("NodeNotReady")
    {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        return Some(found(Source::Pod, Reason::NodeLost, &format!("the node `{node}` does not respond")));
    }
    None
}

/// Returns the obstacle of a pod that another program keeps from the scheduler. dcp removes its own gate at once.
fn queue_obstacle(pod: &Pod) -> Option<Obstacle> {
    let gate = gates(pod).into_iter().find(|gate| gate != labels::GATE)?;
    let labels = pod.metadata.labels.as_ref();
    let queue = [queue::KUEUE, queue::YUNIKORN].into_iter().find_map(|key| labels?.get(key));
    let text = match queue {
        Some(queue) => format!("the queue `{queue}` has not admitted it (scheduling gate `{gate}`)"),
        None => format!("the scheduling gate `{gate}` is set"),
    };
    Some(found(Source::Pod, Reason::Queued, &text))
}

/// Returns the obstacle to the start of a container.
fn container_obstacle(container: &ContainerStatus) -> Option<Obstacle> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let (reason, message) = (waiting.reason.as_deref()?, waiting.message.as_deref().unwrap_or_default());
    let kind = match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => Reason::ImageUnavailable,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "CrashLoopBackOff" => {
            Reason::Preparation
        }
        _ => return None,
    };
    // Both reasons alternate for the same failure.
    let (reason, message) = match message.split_once("ErrImagePull: ") {
        Some((_, cause)) if reason == "ImagePullBackOff" => ("ErrImagePull", cause),
        _ => (reason, message),
    };
    Some(found(Source::Container, kind, &format!("`{}`: {reason}: {message}", container.name)))
}

fn found(source: Source, reason: Reason, text: &str) -> Obstacle {
    Obstacle { reason, evidence: vec![Evidence { source, reason: None, text: shortened(text) }] }
}

/// Returns the reason why Kubernetes ended a pod.
fn disruption(pod: &Pod) -> Option<(Reason, String)> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let target = conditions.iter().find(|it| it.type_ == "DisruptionTarget" && it.status == "True");
    let (reason, message) = match target {
        Some(target) => (target.reason.as_deref(), target.message.as_deref()),
        None => (status.reason.as_deref(), status.message.as_deref()),
    };
    let kind = match reason? {
        "PreemptionByScheduler"
        | "EvictionByEvictionAPI"
        | "TerminationByKubelet"
        | "Evicted"
        | "Preempting"
        | "Preempted" => Reason::Evicted,
        "DeletionByPodGC" | "DeletionByTaintManager" | "NodeLost" | "NodeShutdown" | "Terminated" => {
            Reason::NodeLost
        }
        "UnexpectedAdmissionError" | "OutOfcpu" | "OutOfmemory" | "OutOfpods" | "NodeAffinity" => {
            Reason::Unschedulable
        }
        _ => return None,
    };
    Some((kind, format!("{}: {}", reason.unwrap_or_default(), shortened(message.unwrap_or_default()))))
}

fn is_running(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Shortens a message of a cluster.
pub(super) fn shortened(text: &str) -> String {
    text.trim().chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_container_that_never_started_has_no_log() {
        let has = |state: Value| {
            let status = json!({"name": "spark", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": state});
            has_log(&serde_json::from_value(status).unwrap())
        };
        assert!(!has(json!({"waiting": {"reason": "ContainerCreating"}})));
        assert!(!has(json!({"terminated": {"exitCode": 128, "reason": "ContainerCannotRun"}})));
        assert!(has(json!({"terminated": {"exitCode": 0, "containerID": "containerd://1"}})));
        assert!(has(json!({"running": {}})));
    }
}
