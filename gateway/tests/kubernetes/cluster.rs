//! A double of the cluster behind the API server: scheduler, kubelets, garbage collector, nodes, operator and other users.
//!
//! A process is a fact that the API server does not know: it may run on while its pod's object is gone.

mod kubelet;
mod operator;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::server::{Key, Kind};
use crate::world::{State, time};

pub(crate) const SIDECAR: &str = "sidecar";
const NODES: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Running,
    Ended(i32),
}

/// The containers of a pod that has started.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) application: String,
    pub(crate) is_driver: bool,
    key: Key,
    node: usize,
    started: Timestamp,
    pub(crate) main: Run,
    pub(crate) sidecar: Option<Run>,
    /// It runs on after the end of its driver.
    is_stubborn: bool,
    /// The API server knows of its end.
    is_reported: bool,
    executors: u32,
}

impl Process {
    pub(crate) fn runs(&self) -> bool {
        self.main == Run::Running || self.sidecar == Some(Run::Running)
    }
}

#[derive(Debug, Clone, Copy, Default)]
enum Node {
    #[default]
    Up,
    Down {
        until: Timestamp,
        dies: bool,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// By the UID of the pod.
    pub(crate) processes: BTreeMap<String, Process>,
    nodes: [Node; NODES],
    operator: operator::Operator,
    /// Drivers do not end by themselves any more, and the operator makes no fault.
    pub(crate) is_calm: bool,
}

impl Cluster {
    fn is_up(&self, node: usize) -> bool {
        matches!(self.nodes[node], Node::Up)
    }
}

impl State {
    /// Lets the cluster act once.
    pub(crate) fn step_cluster(&mut self) {
        for key in self.server.all(Kind::Pod) {
            self.step_pod(&key);
        }
        self.step_operator();
        self.step_orphans();
        self.collect_garbage();
        for node in 0..NODES {
            self.step_node(node);
        }
        if self.random.chance(self.rates.users) {
            self.act_as_user();
        }
        if self.random.chance(self.rates.watches) {
            let kept = self.random.between(0, 5);
            self.server.compacted = self.server.compacted.max(self.server.version.saturating_sub(kept));
        }
        self.observe();
    }

    /// Ends the processes of pods whose objects are gone.
    fn step_orphans(&mut self) {
        let uids: Vec<String> = self.cluster.processes.keys().cloned().collect();
        for uid in uids.into_iter().filter(|uid| !self.server.has_uid(uid)) {
            let node = self.cluster.processes[&uid].node;
            if self.cluster.is_up(node) && self.random.chance(300) {
                self.cluster.processes.remove(&uid);
            }
        }
    }

    /// Deletes objects whose owner is gone.
    fn collect_garbage(&mut self) {
        let owned = |(key, object): (&Key, &Value)| {
            let owner = object["metadata"]["ownerReferences"][0]["uid"].as_str()?;
            (!self.server.has_uid(owner)).then(|| key.clone())
        };
        let garbage: Vec<Key> = self.server.objects.iter().filter_map(owned).collect();
        for key in garbage {
            if self.random.chance(300) {
                self.server.delete(&key, &Value::Null);
            }
        }
    }

    fn step_node(&mut self, node: usize) {
        match self.cluster.nodes[node] {
            Node::Up if self.random.chance(self.rates.nodes) => {
                let seconds = i64::try_from(self.random.between(10, 90)).expect("it fits");
                let until = time() + SignedDuration::from_secs(seconds);
                self.cluster.nodes[node] = Node::Down { until, dies: self.random.chance(500) };
                self.note(|| format!("node {node} does not respond"));
                self.mark_pods(node, &json!({"type": "Ready", "status": "False", "reason": "NodeNotReady"}));
            }
            Node::Down { until, dies } if until <= time() => {
                self.note(|| format!("node {node} {}", if dies { "is lost" } else { "returns" }));
                self.cluster.nodes[node] = Node::Up;
                if dies {
                    self.lose_pods(node);
                } else {
                    self.mark_pods(node, &json!({"type": "Ready", "status": "True"}));
                }
            }
            _ => {}
        }
    }

    fn pods_of_node(&self, node: usize) -> Vec<Key> {
        let name = node_name(node);
        let pods = self.server.objects.iter().filter(|(_, object)| object["spec"]["nodeName"] == *name);
        pods.map(|(key, _)| key.clone()).collect()
    }

    fn mark_pods(&mut self, node: usize, condition: &Value) {
        for key in self.pods_of_node(node) {
            let mut pod = self.server.objects[&key].clone();
            pod["status"]["conditions"] = json!([condition]);
            self.server.store(&key, pod);
        }
    }

    /// Removes the pods of a node that was lost, as the pod garbage collector does.
    fn lose_pods(&mut self, node: usize) {
        self.cluster.processes.retain(|_, process| process.node != node);
        for key in self.pods_of_node(node) {
            let mut pod = self.server.objects[&key].clone();
            if !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
                let reason = "DeletionByPodGC";
                pod["status"]["phase"] = json!("Failed");
                pod["status"]["conditions"] = json!([{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "lost"}]);
                self.server.store(&key, pod);
            }
            self.server.remove(&key);
        }
    }

    /// Deletes a pod, a custom resource or a record as another user.
    fn act_as_user(&mut self) {
        let is_target = |key: &&Key| {
            matches!(key.kind, Kind::Pod | Kind::SparkApplication) || key.namespace == crate::RECORDS
        };
        let targets: Vec<Key> = self.server.objects.keys().filter(is_target).cloned().collect();
        if targets.is_empty() {
            return;
        }
        let key = targets[self.random.index(targets.len())].clone();
        if key.kind == Kind::ConfigMap && !self.random.chance(200) {
            return;
        }
        self.note(|| format!("another user deletes {:?} {}", key.kind, key.name));
        let grace = self.random.pick(&[1, 5, 30]);
        self.server.delete(&key, &json!({"gracePeriodSeconds": grace}));
    }
}

fn node_name(node: usize) -> String {
    format!("node-{node}")
}

fn node_of(pod: &Value) -> Option<usize> {
    pod["spec"]["nodeName"].as_str()?.strip_prefix("node-")?.parse().ok()
}
