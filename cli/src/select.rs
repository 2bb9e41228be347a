//! Selection of workloads in view of the applied state.

use std::collections::BTreeSet;

use dcp_model::primitive::{Address, Body, Kind, Primitive};
use dcp_reconciler::plan::Inclusion;
use dcp_reconciler::state::{Entry, State};
use dcp_workspace::select::{Group, Selection};

use crate::control::Control;
use crate::failure::Failure;

/// Returns the applied groups: DAGs without a job of the same name.
fn applied_groups(state: &State, control: &Control) -> Result<Vec<Group>, Failure> {
    let alone = |(address, _): &(&Address, &Entry)| {
        let job = Address { kind: Kind::CoreEtlJob, ..Address::clone(address) };
        address.kind == Kind::Orchestrator && !state.entries.contains_key(&job)
    };
    let groups: Vec<(&Address, &Entry)> = state.entries.iter().filter(alone).collect();
    let texts = control.bodies(groups.iter().map(|(_, entry)| entry.fingerprint.clone()).collect())?;
    let group = |(address, entry): &(&Address, &Entry)| {
        let body = Body::parse(address.kind, texts.get(&entry.fingerprint)?).ok()?;
        Group::of(address, &body)
    };
    Ok(groups.iter().filter_map(group).collect())
}

/// Adds all current and former members of selected groups.
pub(crate) fn add_group_members(
    selection: &mut Selection,
    desired: &[Primitive],
    state: &State,
    control: &Control,
) -> Result<(), Failure> {
    if selection.is_unrestricted() {
        return Ok(());
    }
    let mut groups = applied_groups(state, control)?;
    groups.extend(desired.iter().filter_map(|it| Group::of(&it.address, &it.body)));
    Ok(selection.add_group_members(groups)?)
}

/// Rejects a selection of a part of an applied group.
pub(crate) fn reject_partial_groups(
    selection: &Selection,
    state: &State,
    control: &Control,
) -> Result<(), Failure> {
    Ok(selection.reject_partial_groups(&applied_groups(state, control)?)?)
}

/// Returns the treatment of a workload in a comparison without prior knowledge.
pub(crate) fn inclusion(selection: &Selection, domain: &str, name: &str) -> Inclusion {
    if selection.contains(domain, name) { Inclusion::Compared } else { Inclusion::Excluded }
}

/// Checks that every pattern matches a workload.
pub(crate) fn check(selection: &Selection, desired: &[Primitive], state: &State) -> Result<(), Failure> {
    let known = desired.iter().map(|it| &it.address).chain(state.entries.keys());
    let Some(pattern) = selection.unmatched_pattern(&known) else { return Ok(()) };
    let message = format!("there is no workload `{pattern}`, neither in the manifests nor applied");
    let ids: BTreeSet<String> = known.map(|address| format!("{}/{}", address.domain, address.name)).collect();
    let nearest = dcp_compiler::diag::nearest(pattern, ids.iter().map(String::as_str));
    Err(match nearest {
        Some(meant) => Failure::usage(message).help(format!("did you mean `{meant}`?")),
        None => Failure::usage(message).help("`dcp graph` lists those of the manifests"),
    })
}
