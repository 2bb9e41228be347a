//! `dcp drift`

use std::io::Write as _;
use std::path::Path;

use dcp_reconciler::apply::Target;
use dcp_reconciler::drift::{self, Drift, DriftKind, DriftReport};
use dcp_workspace::project::Workspace;

use crate::args::{self, Format};
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::out::{Console, GOOD, WARNING};
use crate::render::{format_count, sanitize};

pub(super) fn run(
    args: &args::Drift,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Drift { target, repair, output, detailed_exitcode } = args;
    let home = Workspace::find(project, &[])?;
    let project = home.target(target.as_deref())?;
    let control = Control::open(&home, &project)?;
    let state = control.state()?;
    let dags = control.dags()?;
    let target = Target { registry: &*control.registry, dags: &dags, scope: &control.scope };
    let failed = |error: dcp_reconciler::apply::Error| match error {
        dcp_reconciler::apply::Error::Dags(error) => crate::control::dags_failed(&error),
        other => Failure::new(other.to_string()),
    };
    let found = control.run(drift::find(target, &state)).map_err(failed)?;
    match output {
        Format::Json => {
            let text = serde_json::to_string_pretty(&found.drifts)
                .map_err(|error| Failure::new(format!("it can't be written as JSON: {error}")))?;
            writeln!(console.out, "{text}")?;
        }
        Format::Text => print_report(&found, *repair, console)?,
    }
    if *repair {
        let repaired = control.run(drift::repair(target, &found)).map_err(failed)?;
        if *output == Format::Text && repaired > 0 {
            writeln!(console.out, "{} put in place", format_count(repaired, "DAG file"))?;
        }
    }
    Ok(if *detailed_exitcode && !found.drifts.is_empty() { Verdict::Changes } else { Verdict::Success })
}

fn print_report(found: &DriftReport, repair: bool, console: &mut Console) -> Result<(), Failure> {
    let look = console.out.look;
    for Drift { file, kind, workload } in &found.drifts {
        let of = workload.as_ref().map(|id| format!("  ({id})")).unwrap_or_default();
        let what = match kind {
            DriftKind::Changed => "changed by hand",
            DriftKind::Missing => "missing",
            DriftKind::Extra => "made by dcp, but not applied here",
        };
        writeln!(console.out, "{} {}{}", look.paint(WARNING, what), sanitize(file), sanitize(&of))?;
    }
    let due = found.drifts.iter().any(|drift| drift.kind != DriftKind::Extra);
    if found.drifts.is_empty() {
        writeln!(console.out, "{}", look.paint(GOOD, "the DAG folder is as applied"))?;
    } else if due && !repair {
        writeln!(console.out, "\nto put them in place: dcp drift --repair")?;
    }
    // A reconciler corrects the drift of running jobs by itself.
    writeln!(console.out, "how continuous jobs are: dcp status")?;
    Ok(())
}
