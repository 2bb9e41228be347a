//! `dcp rollback`

use std::path::Path;

use dcp_model::primitive::{Body, Fingerprint, Primitive};
use dcp_reconciler::plan::compare;
use dcp_workspace::project::Workspace;
use dcp_workspace::select::Selection;

use super::{apply, plan};
use crate::args;
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::select;

pub(super) fn run(
    args: &args::Rollback,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Rollback { serial, target, select: patterns, consent } = args;
    let home = Workspace::find(project, &[])?;
    let project = home.target(target.as_deref())?;
    let control = Control::open(&home, &project)?;
    let state = control.state()?;
    if *serial > state.base.serial {
        let message = format!("there is no serial {serial} yet: the last one is {}", state.base.serial);
        return Err(Failure::usage(message).help("`dcp history` lists those that there were"));
    }
    let desired = primitives_at(&control, *serial)?;
    let mut selection = Selection::by_name(patterns)?;
    select::check(&selection, &desired, &state)?;
    select::add_group_members(&mut selection, &desired, &state, &control)?;
    let comparison = compare(&desired, &state, |domain, name| select::inclusion(&selection, domain, name));
    let plan = plan::finish(&comparison, &control, &home, &project, None)?;
    apply::confirm_and_apply(apply::ApplyCommand::Rollback, &plan, &control, consent, console)
}

/// Returns the primitives that were applied at a serial.
fn primitives_at(control: &Control, serial: u64) -> Result<Vec<Primitive>, Failure> {
    let failed = |error| crate::control::registry_failed(&error);
    let state = control.run(control.registry.state_at(&control.scope, serial)).map_err(failed)?;
    let wanted: Vec<Fingerprint> = state.entries.values().map(|entry| entry.fingerprint.clone()).collect();
    let texts = control.bodies(wanted)?;
    let mut desired = Vec::with_capacity(state.entries.len());
    for (address, entry) in state.entries {
        let text = texts.get(&entry.fingerprint).map(String::as_str).unwrap_or_default();
        let body = Body::parse(address.kind, text).map_err(|error| {
            let message = format!("`{address}` as it was at serial {serial} can't be read: {error}");
            Failure::new(message).help("it was written by another version of dcp: use that one")
        })?;
        desired.push(Primitive { address, fingerprint: entry.fingerprint, body });
    }
    Ok(desired)
}
