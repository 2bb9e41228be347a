//! The order of workloads: producers before consumers; deletions last, in reverse.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::dataset::Dataset;
use dcp_model::primitive::Kind;

use super::workload_version::{Planned, WorkloadVersion};
use super::{Renamed, Workload};
use crate::state::Action;

pub(super) fn ordered(planned: Vec<Planned>) -> Vec<Workload> {
    let (deleted, others): (Vec<Planned>, Vec<Planned>) =
        planned.into_iter().partition(|it| it.workload.action == Action::Delete);
    let mut last: Vec<Planned> = sorted(deleted, |it| &it.old);
    last.reverse();
    let (renamed, last): (Vec<Planned>, Vec<Planned>) =
        last.into_iter().partition(|it| it.workload.renamed.is_some());
    let mut renamed: BTreeMap<String, Workload> =
        renamed.into_iter().map(|it| (it.workload.id(), it.workload)).collect();
    let mut all = Vec::new();
    for it in sorted(others, |it| &it.new) {
        // The old name is deleted before the new one is created, as two jobs must not use one checkpoint.
        if let Some(Renamed::From(old)) = &it.workload.renamed {
            all.extend(renamed.remove(old));
        }
        all.push(it.workload);
    }
    all.extend(renamed.into_values());
    all.extend(last.into_iter().map(|it| it.workload));
    all
}

/// Sorts by data flow, then by name.
fn sorted(planned: Vec<Planned>, side: impl Fn(&Planned) -> &WorkloadVersion) -> Vec<Planned> {
    let dependencies = dependencies(&planned, &side);
    let mut remaining: BTreeMap<usize, Planned> = planned.into_iter().enumerate().collect();
    let mut ready: BTreeSet<usize> =
        remaining.keys().copied().filter(|it| dependencies[*it].is_empty()).collect();
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); dependencies.len()];
    let mut open_dependencies: Vec<usize> = dependencies.iter().map(BTreeSet::len).collect();
    for (consumer, producers) in dependencies.iter().enumerate() {
        for producer in producers {
            consumers[*producer].push(consumer);
        }
    }
    let mut sorted = Vec::with_capacity(remaining.len());
    // In a cycle, the first by name goes first.
    while let Some(next) = ready.pop_first().or_else(|| remaining.keys().next().copied()) {
        let Some(it) = remaining.remove(&next) else { continue };
        sorted.push(it);
        for consumer in &consumers[next] {
            open_dependencies[*consumer] -= 1;
            if open_dependencies[*consumer] == 0 && remaining.contains_key(consumer) {
                ready.insert(*consumer);
            }
        }
    }
    sorted
}

/// Returns, for each workload, the producers of its inputs and, for a group, the workloads of its tasks.
fn dependencies(planned: &[Planned], side: &impl Fn(&Planned) -> &WorkloadVersion) -> Vec<BTreeSet<usize>> {
    let mut writers: BTreeMap<&Dataset, Vec<usize>> = BTreeMap::new();
    for (index, it) in planned.iter().enumerate() {
        for dataset in side(it).job.iter().flat_map(|job| &job.outputs) {
            writers.entry(dataset).or_default().push(index);
        }
    }
    let job = |(index, it): (usize, &Planned)| {
        side(it).job.as_ref().map(|_| (format!("{}/{}", Kind::CoreEtlJob.name(), it.workload.id()), index))
    };
    let jobs: BTreeMap<String, usize> = planned.iter().enumerate().filter_map(job).collect();
    let of = |(index, it): (usize, &Planned)| -> BTreeSet<usize> {
        let inputs = side(it).job.iter().flat_map(|job| &job.inputs);
        let all = inputs.filter_map(|dataset| writers.get(dataset)).flatten().copied();
        let tasks = side(it).orchestrator.iter().filter(|it| it.dag.group).flat_map(|it| &it.dag.tasks);
        let tasks = tasks.filter_map(|task| jobs.get(&task.job)).copied();
        all.filter(|writer| *writer != index).chain(tasks).collect()
    };
    planned.iter().enumerate().map(of).collect()
}
