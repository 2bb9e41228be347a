//! Replays what real operators did on a real cluster: `tests/golden/kubernetes/recorded/README.md`.
//!
//! `CASE.txt` beside `CASE.jsonl` has the statuses that follow from the pods, and the reports of the operator.
//! `UPDATE_GOLDEN=1` writes them; read them before you commit them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::{Value, json};

use super::resource_tests::{OPERATORS, compare, golden};
use super::{APPLICATION_ID, Hint, Operator};
use crate::kubernetes::facts::{PodFacts, Role};
use crate::kubernetes::labels;
use crate::kubernetes::record::{Content, Record};
use crate::kubernetes::status::{Action, Pods, assess};
use crate::{End, Evidence, Phase, Status};

/// A version of an object, as a watch reported it.
#[derive(Deserialize)]
struct Version {
    at: Timestamp,
    kind: String,
    event: String,
    object: Value,
}

/// The state of a replay.
struct Replay {
    operator: Operator,
    start: Timestamp,
    record: Record,
    /// Spark's identifier of the application of the record's driver.
    id: String,
    pods: Pods,
    statuses: Vec<(Timestamp, Status)>,
    hints: Vec<(Timestamp, Option<Hint>)>,
}

fn versions(path: &Path) -> Vec<Version> {
    let text = fs::read_to_string(path).expect("a record can be read");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a version")).collect()
}

/// Returns the facts about a recorded pod, with what templates of dcp add: a label, and the gate. The operators of the
/// records started further drivers by themselves, which the gate prevents: such a driver waits and has no executors.
fn facts(object: &Value, record: &Record, id: &str) -> Option<PodFacts> {
    let mut object = object.clone();
    object["metadata"]["labels"][labels::APPLICATION] = json!(record.name);
    let is_other = object["metadata"]["labels"][APPLICATION_ID] != id;
    if is_other {
        object["spec"]["schedulingGates"] = json!([{"name": labels::GATE}]);
        object["status"] = json!({"phase": "Pending"});
    }
    let pod: Pod = serde_json::from_value(object).expect("it is a pod");
    let pod = PodFacts::new(&pod).expect("it is a pod of Spark");
    (!is_other || pod.role == Role::Driver).then_some(pod)
}

impl Replay {
    fn new(operator: Operator, versions: &[Version]) -> Self {
        let first = versions.first().expect("there are versions");
        let name = first.object["metadata"]["name"].as_str().expect("the first one is the application");
        let is_driver = |it: &&Version| it.object["metadata"]["labels"][labels::ROLE] == "driver";
        let driver = &versions.iter().find(is_driver).expect("there is a driver").object["metadata"];
        let text = |value: &Value| value.as_str().expect("it is text").to_owned();
        let content = Content { driver: Some(text(&driver["uid"])), ..Content::default() };
        let id = text(&driver["labels"][APPLICATION_ID]);
        let record = Record::new(name.parse().expect("the name is valid"), "default".to_owned(), content);
        let (pods, start) = (Pods::default(), first.at);
        Self { operator, start, record, id, pods, statuses: Vec::new(), hints: Vec::new() }
    }

    fn apply(&mut self, version: &Version) {
        match (version.kind.as_str(), version.event.as_str()) {
            ("SparkApplication", event) => {
                let hint = (event != "DELETED").then(|| self.operator.hint(&version.object));
                if self.hints.last().is_none_or(|(_, last)| *last != hint) {
                    self.hints.push((version.at, hint));
                }
            }
            ("Pod", event) => {
                let Some(pod) = facts(&version.object, &self.record, &self.id) else { return };
                if event == "DELETED" { self.pods.remove(pod) } else { self.pods.insert(pod) }
            }
            _ => return,
        }
        self.assess(version.at);
    }

    fn assess(&mut self, at: Timestamp) {
        let (status, actions) = assess(&self.record, &self.pods, at);
        let mut deleted = Vec::new();
        for action in actions {
            match action {
                Action::StoreDriverEnd { end, started } => {
                    (self.record.content.driver_end, self.record.content.started) = (Some(end), started);
                }
                Action::StoreEnd { end, started } => {
                    (self.record.content.end, self.record.content.started) = (Some(end), started);
                }
                Action::DeletePod { uid, .. } => deleted.push(uid),
                Action::Start { .. } | Action::Adopt { .. } | Action::DeleteResource { .. } => {}
            }
        }
        for pod in self.pods.iter().filter(|pod| !pod.is_over) {
            let is_gated = !pod.gates.is_empty();
            assert!(status.phase != Phase::Ended || is_gated, "an end, and {pod:?} may run");
            assert!(!is_gated || pod.is_deleting || deleted.contains(&pod.uid), "{pod:?} is left");
        }
        let hint = self.hints.last().and_then(|(_, hint)| hint.as_ref());
        let status = hint.map_or(status.clone(), |hint| hint.explain(status));
        if self.statuses.last().is_none_or(|(_, last)| *last != status) {
            self.statuses.push((at, status));
        }
    }

    fn seconds(&self, at: Timestamp) -> String {
        let millis = at.as_millisecond() - self.start.as_millisecond();
        #[expect(clippy::cast_precision_loss, reason = "a record has a few minutes")]
        let seconds = millis as f64 / 1000.0;
        format!("{seconds:.1} s")
    }

    /// Returns the first time at which the operator reported what a status says.
    fn reported(&self, status: &Status) -> Option<Timestamp> {
        let says = |hint: &Hint| match (status.phase, hint) {
            (Phase::Pending, hint) => match &status.obstacle {
                Some(obstacle) => hint.obstacle().is_some_and(|it| it.reason == obstacle.reason),
                None => matches!(hint, Hint::Submitting | Hint::DriverRequested),
            },
            (Phase::Ended, Hint::Ended { succeeded, .. }) => {
                *succeeded == status.end.as_ref().map(|end| end.succeeded)
            }
            (Phase::Running | Phase::Ended, _) => false,
        };
        self.hints.iter().find(|(_, hint)| hint.as_ref().is_some_and(says)).map(|(at, _)| *at)
    }

    fn describe(&self) -> String {
        let mut text = "known at | operator at | status\n".to_owned();
        for (at, status) in &self.statuses {
            let reported = self.reported(status).map_or_else(|| "-".to_owned(), |at| self.seconds(at));
            let status = self.describe_status(status);
            let _ = writeln!(text, "{:>8} | {reported:>11} | {status}", self.seconds(*at));
        }
        text.push_str("\noperator\n");
        for (at, hint) in &self.hints {
            let hint = hint.as_ref().map_or_else(|| "deleted".to_owned(), describe_hint);
            let _ = writeln!(text, "{:>8} | {hint}", self.seconds(*at));
        }
        text
    }

    fn describe_status(&self, status: &Status) -> String {
        let mut text = format!("{:?}", status.phase).to_lowercase();
        if let Some(started) = status.started {
            let _ = write!(text, ", driver started at {}", self.seconds(started));
        }
        if let Some(obstacle) = &status.obstacle {
            let _ = write!(text, ", obstacle {:?}{}", obstacle.reason, describe_evidence(&obstacle.evidence));
        }
        let Some(End { at, succeeded, exit_code, signal, reason, evidence, .. }) = &status.end else {
            return text;
        };
        let result = if *succeeded { "success" } else { "failure" };
        let _ = write!(text, ", {result} at {}: {reason:?}", self.seconds(*at));
        for (name, value) in [("exit code", exit_code), ("signal", signal)] {
            let _ = value.map(|value| write!(text, ", {name} {value}"));
        }
        text + &describe_evidence(evidence)
    }
}

fn describe_evidence(evidence: &[Evidence]) -> String {
    let lines = evidence.iter().map(|evidence| {
        let reason = evidence.reason.map(|reason| format!(", {reason:?}")).unwrap_or_default();
        format!("\n{:24}| {:?}{reason}: {}", "", evidence.source, evidence.text.replace('\n', " "))
    });
    lines.collect()
}

fn describe_hint(hint: &Hint) -> String {
    match hint {
        Hint::Submitting => "submitting".to_owned(),
        Hint::DriverRequested => "driver requested".to_owned(),
        Hint::Suspended => "suspended".to_owned(),
        Hint::SubmissionFailed { message } => format!("submission failed: {message}"),
        Hint::Ended { succeeded, message } => {
            let result = match succeeded {
                Some(true) => "with success",
                Some(false) => "with a failure",
                None => "without a result",
            };
            let message = message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
            format!("ended {result}{message}")
        }
    }
}

#[test]
fn recorded_cases_match_the_golden_files() {
    let mut count = 0;
    for (operator, folder) in OPERATORS {
        let folder = fs::read_dir(golden().join("recorded").join(folder)).expect("there are records");
        for entry in folder {
            let path = entry.expect("the folder can be listed").path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let versions = versions(&path);
                let mut replay = Replay::new(operator, &versions);
                for version in &versions {
                    replay.apply(version);
                }
                compare(&path.with_extension("txt"), &replay.describe());
                count += 1;
            }
        }
    }
    assert_eq!(count, 45);
}

#[test]
fn recorded_pods_without_a_record_never_end_or_start() {
    for (operator, folder) in OPERATORS {
        let path = golden().join("recorded").join(folder).join("01-success.jsonl");
        let versions = versions(&path);
        let mut replay = Replay::new(operator, &versions);
        replay.record.content.driver = None;
        for version in &versions {
            replay.apply(version);
        }
        let is_pending = |(_, status): &(Timestamp, Status)| status.phase == Phase::Pending;
        assert!(!replay.statuses.is_empty() && replay.statuses.iter().all(is_pending), "{folder}");
    }
}
