//! The invariants of the backend, checked with each event of the API server and each status that a Gateway reports.

use std::collections::{BTreeMap, BTreeSet};

use dcp_gateway::{End, Phase, Status};
use jiff::Timestamp;
use serde_json::Value;

use crate::RECORDS;
use crate::cluster::Cluster;
use crate::server::{Call, Change, Event, Kind, Server, Verb};
use crate::world::time;

const GATE: &str = "dcp/record";
/// Maximum number of requests of a Gateway in a virtual minute.
const MAX_REQUESTS: u32 = 1500;

/// The history of one application.
#[derive(Debug, Default)]
pub(crate) struct Application {
    /// The driver that lost its gate.
    started: Option<String>,
    /// The number of processes that have started.
    processes: u32,
    /// A call of `delete` succeeded before a driver had started.
    was_deleted_before_start: bool,
    /// The end that a Gateway reported.
    end: Option<End>,
    /// The record was deleted, by `forget` or by another user: invariants 1 to 4 do not hold any more.
    pub(crate) is_disowned: bool,
    /// Gateways that received the driver's exit code 0, with the time.
    success_seen_by: BTreeMap<u64, Timestamp>,
    /// A call of `get` succeeded that a Gateway began after it had received the exit code 0.
    is_success_known: bool,
    /// The last step in which neither a record nor a pod that may run existed.
    absent_at: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) violations: Vec<String>,
    pub(crate) applications: BTreeMap<String, Application>,
    /// The number of changes of the state.
    pub(crate) step: u64,
    /// The requests of each Gateway in the current minute.
    requests: BTreeMap<u64, (i64, u32)>,
    /// Applications of which a process or a pod that may run exists.
    running: BTreeSet<String>,
}

impl Checks {
    pub(crate) fn fail(&mut self, invariant: u8, text: &str) {
        self.violations.push(format!("{} invariant {invariant}: {text}", time()));
    }

    fn application(&mut self, name: &str) -> &mut Application {
        self.applications.entry(name.to_owned()).or_default()
    }

    /// Checks a request before it is applied.
    pub(crate) fn before(&mut self, instance: u64, call: &Call, server: &Server) {
        let minute = time().as_second() / 60;
        let count = self.requests.entry(instance).or_default();
        if count.0 != minute {
            *count = (minute, 0);
        }
        count.1 += 1;
        if count.1 == MAX_REQUESTS {
            self.fail(7, &format!("Gateway {instance} sent {MAX_REQUESTS} requests in a minute"));
        }
        if let Verb::Replace(key, object) = &call.verb {
            let before = server.objects.get(key).map(record).unwrap_or_default();
            let after = record(object);
            let has_failed = before["end"].is_null() && after["end"]["succeeded"] == false;
            let application = self.application(&key.name);
            let seen = application.success_seen_by.get(&instance).filter(|_| !application.is_disowned);
            // The end has the time of the decision, after which the request may have been delayed.
            let decided = after["end"]["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
            if has_failed && seen.is_some_and(|seen| decided.is_some_and(|decided| *seen < decided)) {
                self.fail(4, &format!("Gateway {instance} saw {} succeed, and stores a failure", key.name));
            }
        }
    }

    /// Checks a change of the API server.
    pub(crate) fn event(&mut self, event: &Event) {
        if event.key.namespace == RECORDS {
            if event.change == Change::Deleted {
                self.application(&event.key.name).is_disowned = true;
            }
            return;
        }
        if event.key.kind != Kind::Pod || event.change == Change::Deleted || !is_driver(&event.object) {
            return;
        }
        let gates = event.object["spec"]["schedulingGates"].as_array();
        if gates.is_some_and(|gates| gates.iter().any(|gate| gate["name"] == GATE)) {
            return;
        }
        let uid = event.object["metadata"]["uid"].as_str().expect("an object has a UID").to_owned();
        let name = name_of(&event.object);
        let application = self.application(&name);
        if application.is_disowned || application.started.as_ref() == Some(&uid) {
            return;
        }
        let before = application.started.replace(uid.clone());
        let was_deleted = application.was_deleted_before_start;
        if let Some(before) = before {
            self.fail(1, &format!("{name} starts a second driver: {before}, then {uid}"));
        }
        if was_deleted {
            self.fail(2, &format!("{name} starts after it was deleted"));
        }
    }

    /// Checks the start of a process.
    pub(crate) fn starts(&mut self, name: &str, pod: &str) {
        let application = self.application(name);
        application.processes += 1;
        if application.end.is_some() && !application.is_disowned {
            self.fail(3, &format!("{pod} starts after its application has ended"));
        }
    }

    /// Notes which applications exist after a change.
    pub(crate) fn update(&mut self, server: &Server, cluster: &Cluster) {
        self.step += 1;
        self.running.clear();
        let processes = cluster.processes.values().filter(|process| process.runs());
        self.running.extend(processes.map(|process| process.application.clone()));
        let pods = server.objects.iter().filter(|(key, pod)| key.kind == Kind::Pod && may_run(pod));
        self.running.extend(pods.map(|(_, pod)| name_of(pod)));
        let recorded = |name: &str| {
            server.objects.contains_key(&crate::server::Key::new(Kind::ConfigMap, RECORDS, name))
        };
        for (name, application) in &mut self.applications {
            if !self.running.contains(name) && !recorded(name) {
                application.absent_at = self.step;
            }
        }
    }

    /// Notes an object that a Gateway received.
    pub(crate) fn delivered(&mut self, instance: u64, object: &Value) {
        let main = &object["status"]["containerStatuses"][0]["state"]["terminated"];
        if main["exitCode"] == 0 && is_driver(object) {
            self.application(&name_of(object)).success_seen_by.entry(instance).or_insert_with(time);
        }
    }

    /// Checks a status that a Gateway returned or sent. An end may have been reported `before` its call, or by its watch.
    pub(crate) fn status(&mut self, instance: u64, name: &str, status: &Status, before: Option<&End>) {
        if self.application(name).is_disowned {
            return;
        }
        if status.phase == Phase::Ended && self.is_running(name) {
            self.fail(3, &format!("{name} has ended by Gateway {instance}, and a pod may run"));
        }
        let application = self.application(name);
        let known = application.is_success_known;
        let Some(end) = &status.end else {
            if let Some(end) = before {
                self.fail(
                    3,
                    &format!("{name} had ended by {end:?}, and Gateway {instance} reports {status:?}"),
                );
            }
            return;
        };
        let (is_new, has_run) = (application.end.is_none(), application.processes > 0);
        let first = application.end.get_or_insert_with(|| end.clone()).clone();
        if first != *end {
            self.fail(3, &format!("{name} has another end by Gateway {instance}: {first:?}, then {end:?}"));
        }
        if end.exit_code.is_some() && !has_run {
            self.fail(4, &format!("{name} has never run, and Gateway {instance} reports {end:?}"));
        }
        if is_new && known && !end.succeeded {
            self.fail(4, &format!("{name} succeeded, and Gateway {instance} reports {end:?}"));
        }
    }

    /// Returns true if a process or a pod that may run exists.
    pub(crate) fn is_running(&self, name: &str) -> bool {
        self.running.contains(name)
    }

    /// Returns true if a Gateway received the driver's exit code 0.
    pub(crate) fn has_seen_success(&mut self, instance: u64, name: &str) -> bool {
        self.application(name).success_seen_by.contains_key(&instance)
    }

    pub(crate) fn set_success_known(&mut self, name: &str) {
        self.application(name).is_success_known = true;
    }

    /// Returns the end that was reported so far.
    pub(crate) fn end(&mut self, name: &str) -> Option<End> {
        self.application(name).end.clone()
    }

    /// Checks that a Gateway may not know an application. Its call began in a step.
    pub(crate) fn unknown(&mut self, instance: u64, name: &str, began: u64) {
        let step = self.step;
        let application = self.application(name);
        if application.absent_at < began && application.absent_at < step {
            self.fail(5, &format!("{name} exists, and Gateway {instance} does not know it"));
        }
    }

    /// Notes that a call of `delete` succeeded.
    pub(crate) fn deleted(&mut self, name: &str) {
        let application = self.application(name);
        application.was_deleted_before_start |= application.started.is_none();
    }
}

fn may_run(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    let is_over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    gates.is_none_or(Vec::is_empty) && !is_over
}

fn is_driver(object: &Value) -> bool {
    object["metadata"]["labels"]["spark-role"] == "driver"
}

fn name_of(object: &Value) -> String {
    object["metadata"]["labels"]["dcp/application"].as_str().expect("pods have labels").to_owned()
}

/// Returns the content of a record.
pub(crate) fn record(object: &Value) -> Value {
    let text = object["data"]["record"].as_str().expect("a record has a content");
    serde_json::from_str(text).expect("the content is JSON")
}
