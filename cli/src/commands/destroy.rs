//! `dcp destroy`

use std::path::Path;

use dcp_reconciler::plan::compare;
use dcp_workspace::project::Workspace;

use super::{apply, plan};
use crate::args;
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::select::Select;

pub(super) fn run(
    args: &args::Destroy,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Destroy { target, select, consent } = args;
    let home = Workspace::find(project, &[])?;
    let project = home.target(target.as_deref())?;
    let control = Control::open(&home, &project)?;
    let state = control.state()?;
    let select = Select::by_name(select)?;
    select.check(&[], &state)?;
    select.reject_partial_groups(&state, &control)?;
    let comparison = compare(&[], &state, |domain, name| select.concern(domain, name));
    let plan = plan::finish(&comparison, &control, &home, &project, None)?;
    apply::confirm_and_apply(apply::ApplyCommand::Destroy, &plan, &control, consent, console)
}
