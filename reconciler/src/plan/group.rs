//! The plan of a group's DAG, task by task.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::dag::{Dag, Task};
use dcp_model::primitive::{Address, Body, Fingerprint, Kind, Orchestrator};

use super::workload_version::{FieldLocator, Planned, WorkloadDiff, WorkloadVersion, group_dag, steps};
use super::{Class, Consent, Live, Reason, Workload, reason};
use crate::state::Action;

/// The job kind that plans show for the DAG of a group.
pub(super) const JOB: &str = "group";

/// The groups of workloads, by the addresses of their jobs.
#[derive(Debug, Default)]
pub(super) struct GroupsByJob(BTreeMap<String, String>);

impl GroupsByJob {
    pub(super) fn add(&mut self, name: &str, body: &Body) {
        let tasks = group_dag(body).into_iter().flat_map(|it| &it.dag.tasks);
        self.0.extend(tasks.map(|task| (task.job.clone(), name.to_owned())));
    }

    pub(super) fn group(&self, domain: &str, name: &str) -> Option<String> {
        let (domain, name) = (domain.to_owned(), name.to_owned());
        self.0.get(&Address { domain, name, kind: Kind::CoreEtlJob }.to_string()).cloned()
    }
}

pub(super) fn describe(
    domain: &str,
    name: &str,
    sides: &WorkloadDiff<'_>,
    (old, new): (Option<Orchestrator>, Option<Orchestrator>),
    locate: &FieldLocator<'_>,
) -> Planned {
    let side = |orchestrator| WorkloadVersion { orchestrator, ..WorkloadVersion::default() };
    let (old, new) = (side(old), side(new));
    let (action, reasons) = match (&old.orchestrator, &new.orchestrator) {
        (None, _) => (Action::Create, Vec::new()),
        (Some(_), None) => (Action::Delete, Vec::new()),
        (Some(before), Some(after)) => {
            let mut reasons = tasks(&before.dag, &after.dag, domain, locate);
            // The first task has the run settings of the group.
            let first = after.dag.tasks.iter().find(|task| task.upstream.is_empty());
            let leader = first.map(|task| task.task_id.as_str()).unwrap_or_default();
            reasons.extend(reason::of_dag(&old, &new, &|path| locate(domain, leader, path)));
            (Action::Update, reasons)
        }
    };
    let shown = if new.orchestrator.is_some() { &new } else { &old };
    let workload = Workload {
        domain: domain.to_owned(),
        name: name.to_owned(),
        job: JOB.to_owned(),
        run: shown.run().unwrap_or_default().to_owned(),
        action,
        consent: Consent::NotNeeded,
        live: Live::NotContinuous,
        renamed: None,
        steps: steps(sides, action),
        reasons,
    };
    Planned { workload, old, new }
}

/// Returns the differences between tasks, ordered by name.
fn tasks(old: &Dag, new: &Dag, domain: &str, locate: &FieldLocator<'_>) -> Vec<Reason> {
    let by_id = |dag: &'_ Dag| -> BTreeMap<String, Task> {
        dag.tasks.iter().map(|task| (task.task_id.clone(), task.clone())).collect()
    };
    let (before, after) = (by_id(old), by_id(new));
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut found = Vec::new();
    for id in ids {
        for TaskChange { field, old, new, why } in task_changes(domain, id, before.get(id), after.get(id)) {
            let metadata = field.first().is_some_and(|first| *first == "metadata");
            let path: Vec<&str> =
                (!metadata).then_some("spec").into_iter().chain(field.iter().copied()).collect();
            found.push(Reason {
                field: field.join("."),
                what: Some(format!("task {id}")),
                old,
                new,
                diff: None,
                class: Class::InPlace,
                why,
                at: locate(domain, id, &path),
            });
        }
    }
    found
}

/// A change of a task, and the field of the manifest that it comes from.
struct TaskChange {
    field: &'static [&'static str],
    old: Option<String>,
    new: Option<String>,
    why: String,
}

fn task_changes(domain: &str, id: &str, old: Option<&Task>, new: Option<&Task>) -> Vec<TaskChange> {
    const GROUP: &[&str] = &["orchestrator", "group"];
    let change = |field, old, new, why| TaskChange { field, old, new, why };
    match (old, new) {
        (None, None) => Vec::new(),
        (None, Some(_)) => {
            vec![change(GROUP, None, Some(id.to_owned()), "the DAG gets a task for it".to_owned())]
        }
        (Some(_), None) => {
            vec![change(GROUP, Some(id.to_owned()), None, "the DAG has no task for it any more".to_owned())]
        }
        (Some(old), Some(new)) => {
            let mut changes = Vec::new();
            if old.fingerprint != new.fingerprint {
                let why = format!("`{domain}/{id}` changes, and its next run takes it as it then is");
                let (old, new) = (short(&old.fingerprint), short(&new.fingerprint));
                changes.push(change(&["metadata", "name"], Some(old), Some(new), why));
            }
            if old.upstream != new.upstream {
                let why = "tasks run in the order of what they read and write".to_owned();
                changes.push(change(&["inputs"], upstream_of(old), upstream_of(new), why));
            }
            changes
        }
    }
}

fn short(fingerprint: &str) -> String {
    Fingerprint::parse(fingerprint).map_or_else(|| fingerprint.to_owned(), |it| it.short().to_owned())
}

/// Returns the tasks that a task runs after.
fn upstream_of(task: &Task) -> Option<String> {
    (!task.upstream.is_empty()).then(|| format!("after {}", task.upstream.join(", ")))
}
