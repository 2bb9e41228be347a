//! Compares desired and applied primitives by fingerprint, so that only bodies that differ are read.

use std::collections::{BTreeMap, HashMap};

use dcp_model::primitive::{Address, Body, Fingerprint, Orchestrator, Primitive};

use super::group::{self, GroupsByJob};
use super::workload_version::{FieldLocator, WorkloadDiff, WorkloadVersion};
use super::{Plan, order, rename, workload};
use crate::state::{Scope, State};

/// All differences between two states.
#[derive(Debug)]
pub struct Comparison<'a> {
    state: &'a State,
    workloads: BTreeMap<(&'a str, &'a str), WorkloadDiff<'a>>,
    unchanged: u64,
    left_out: u64,
}

/// The inclusion of a workload in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inclusion {
    Compared,
    /// The applied primitives are known to be the desired ones, which are not given.
    Unchanged,
    /// The plan leaves the workload out.
    Excluded,
}

/// Compares desired with applied primitives, workload by workload.
pub fn compare<'a>(
    desired: &'a [Primitive],
    state: &'a State,
    inclusion: impl Fn(&str, &str) -> Inclusion,
) -> Comparison<'a> {
    let mut workloads: BTreeMap<(&str, &str), WorkloadDiff<'_>> = BTreeMap::new();
    let (mut unchanged, mut left_out) = (0, 0);
    let mut unchanged_workload = None;
    for (address, entry) in &state.entries {
        let workload = (address.domain.as_str(), address.name.as_str());
        // The addresses of a workload follow each other, and unchanged workloads need no comparison.
        if unchanged_workload == Some(workload) {
            continue;
        }
        if inclusion(workload.0, workload.1) == Inclusion::Unchanged {
            unchanged_workload = Some(workload);
            unchanged += 1;
            continue;
        }
        workloads.entry(workload).or_default().addresses.entry(address).or_default().0 = Some(entry);
    }
    for primitive in desired {
        let address = &primitive.address;
        let sides = workloads.entry((&address.domain, &address.name)).or_default();
        sides.addresses.entry(address).or_default().1 = Some(primitive);
    }
    workloads.retain(|(domain, name), sides| match inclusion(domain, name) {
        Inclusion::Excluded => {
            left_out += 1;
            false
        }
        Inclusion::Compared | Inclusion::Unchanged if sides.differs() => true,
        Inclusion::Compared | Inclusion::Unchanged => {
            unchanged += 1;
            false
        }
    });
    Comparison { state, workloads, unchanged, left_out }
}

/// The inputs of a plan beside the two sides.
pub struct Context<'a> {
    pub scope: Scope,
    /// The commit of the repository that the manifests were read from.
    pub commit: Option<String>,
    pub locate: &'a FieldLocator<'a>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Comparison<'_> {
    /// Returns whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty()
    }

    /// Returns the applied bodies that a plan has to read.
    pub fn needed_bodies(&self) -> Vec<Fingerprint> {
        let sides = self.workloads.values().flat_map(|sides| sides.addresses.values());
        let mut needed_bodies: Vec<Fingerprint> =
            sides.filter_map(|(old, _)| Some(old.as_ref()?.fingerprint.clone())).collect();
        needed_bodies.sort_unstable();
        needed_bodies.dedup();
        needed_bodies
    }

    /// Returns the applied body at each address of a workload that differs.
    fn bodies(
        &self,
        texts: &HashMap<Fingerprint, String>,
    ) -> Result<BTreeMap<&Address, Body>, UnreadableBody> {
        let mut bodies = BTreeMap::new();
        for (&address, (old, _)) in self.workloads.values().flat_map(|sides| &sides.addresses) {
            let Some(entry) = old else { continue };
            let unreadable = |why: String| UnreadableBody { address: address.to_string(), why };
            let text =
                texts.get(&entry.fingerprint).ok_or_else(|| unreadable("it is not there".to_owned()))?;
            let body = Body::parse(address.kind, text).map_err(|error| unreadable(error.to_string()))?;
            bodies.insert(address, body);
        }
        Ok(bodies)
    }

    /// Returns the groups of the workloads that differ, as applied and as desired.
    fn groups(&self, old: &BTreeMap<&Address, Body>) -> (GroupsByJob, GroupsByJob) {
        let (mut before, mut after) = (GroupsByJob::default(), GroupsByJob::default());
        for (address, body) in old {
            before.add(&address.name, body);
        }
        for new in self.workloads.values().flat_map(|sides| sides.addresses.values()).filter_map(|it| it.1) {
            after.add(&new.address.name, &new.body);
        }
        (before, after)
    }

    /// Makes the plan from the texts of the [needed](Self::needed_bodies) bodies.
    pub fn plan(
        &self,
        texts: &HashMap<Fingerprint, String>,
        context: &Context<'_>,
    ) -> Result<Plan, UnreadableBody> {
        let old = self.bodies(texts)?;
        let (before, after) = self.groups(&old);
        let mut planned = Vec::with_capacity(self.workloads.len());
        for (&(domain, name), sides) in &self.workloads {
            let (of_group, own) = sides.split(&old);
            if !of_group.addresses.is_empty() {
                let sides = orchestrators(&of_group, &old);
                planned.push(group::describe(domain, name, &of_group, sides, context.locate));
            }
            if own.differs() {
                let bodies = own.addresses.keys().filter_map(|address| old.get(address).cloned());
                let before = WorkloadVersion::of(bodies, before.group(domain, name));
                let bodies = own.addresses.values().filter_map(|(_, new)| Some((*new)?.body.clone()));
                let after = WorkloadVersion::of(bodies, after.group(domain, name));
                let place = |path: &[&str]| (context.locate)(domain, name, path);
                planned.push(workload::describe(domain, name, &own, (before, after), &place));
            }
        }
        rename::recognise(&mut planned);
        let workloads = order::ordered(planned);
        Ok(Plan {
            scope: context.scope.clone(),
            base: self.state.base.clone(),
            applied: self.state.applied.clone(),
            commit: context.commit.clone(),
            workloads,
            unchanged: self.unchanged,
            left_out: self.left_out,
            given_up: Vec::new(),
        })
    }
}

/// Returns the applied and the desired DAG of a group.
fn orchestrators(
    of_group: &WorkloadDiff<'_>,
    old: &BTreeMap<&Address, Body>,
) -> (Option<Orchestrator>, Option<Orchestrator>) {
    let orchestrator = |body: &Body| match body {
        Body::Orchestrator(it) => Some(Orchestrator::clone(it)),
        Body::CoreEtlJob(_) | Body::ContinuousJob(_) | Body::Pool(_) => None,
    };
    let mut before = of_group.addresses.keys().filter_map(|address| old.get(address));
    let mut after = of_group.addresses.values().filter_map(|(_, new)| Some(&(*new)?.body));
    (before.find_map(orchestrator), after.find_map(orchestrator))
}

/// An applied body that can't be read, as another version of dcp wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what is applied at `{address}` can't be read: {why}")]
pub struct UnreadableBody {
    pub address: String,
    pub why: String,
}
