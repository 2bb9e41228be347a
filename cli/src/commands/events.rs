//! `dcp events`

use std::io::Write as _;
use std::path::Path;

use dcp_reconciler::reconcile::Executions;
use dcp_workspace::project::Workspace;
use serde_json::{Value, json};

use crate::args::{self, Format};
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::jobs::Jobs;
use crate::out::Console;
use crate::render::jobs;

pub(super) fn run(
    args: &args::Events,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let address = Jobs::address(&args.workload)?;
    let home = Workspace::find(project, &[])?;
    let project = home.target(args.target.as_deref())?;
    let control = Control::open(&home, &project)?;
    let continuous_jobs = control.continuous_jobs(Executions::None)?;
    let events = control.run(continuous_jobs.events(&control.scope, &address, args.limit));
    let events = events.map_err(|error| crate::control::registry_failed(&error))?;
    match args.output {
        Format::Json => {
            let all: Value = events.iter().map(|it| json!({"at": it.at, "message": it.message})).collect();
            writeln!(console.out, "{all:#}")?;
        }
        Format::Text if events.is_empty() => {
            writeln!(console.out, "nothing was decided about `{}` yet", args.workload)?;
        }
        Format::Text => {
            for line in jobs::events(&events, console.out.look) {
                writeln!(console.out, "{line}")?;
            }
        }
    }
    Ok(Verdict::Success)
}
