//! `dcp validate`

use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::path::Path;

use dcp_compiler::compile::Goal;

use crate::args::Validate;
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::project::{Home, Request, Timings};
use crate::render::{self, Report};

pub(super) fn run(
    args: &Validate,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let Validate { selection, output, deny_warnings, timings } = args;
    let home = Home::find(project, &selection.paths)?;
    let request = Request {
        paths: &selection.paths,
        target: selection.target.as_deref(),
        goal: Goal::Validate,
        watched: console.watched(),
    };
    // The process is about to end: to take all of this apart would be time lost.
    let outcome = ManuallyDrop::new(home.compile(request)?);
    let report =
        Report { outcome: &outcome, root: &home.root, quiet: console.quiet, deny_warnings: *deny_warnings };
    render::write(&report, *output, console.out.look, &mut console.out)?;
    if *timings {
        let Timings { discover, analyze, link } = outcome.timings;
        writeln!(console.err, "discover {discover:.1?}, analyze {analyze:.1?}, link {link:.1?}")?;
    }
    Ok(if report.failed() { Verdict::Errors } else { Verdict::Fine })
}
