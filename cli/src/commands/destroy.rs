//! `dcp destroy`

use std::path::Path;

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
    args: &args::Destroy,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Destroy { target, select: patterns, consent } = args;
    let home = Workspace::find(project, &[])?;
    let project = home.target(target.as_deref())?;
    let control = Control::open(&home, &project)?;
    let state = control.state()?;
    let selection = Selection::by_name(patterns)?;
    select::check(&selection, &[], &state)?;
    select::reject_partial_groups(&selection, &state, &control)?;
    let comparison = compare(&[], &state, |domain, name| select::inclusion(&selection, domain, name));
    let plan = plan::finish(&comparison, &control, &home, &project, None)?;
    apply::confirm_and_apply(apply::ApplyCommand::Destroy, &plan, &control, consent, console)
}
