//! `dcp validate`

use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use dcp_compiler::compile::Goal;
use dcp_workspace::project::{Request, Timings, Workspace};

use crate::args::{ReportFormat, Validate};
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console};
use crate::progress::ReadProgress;
use crate::render::{self, Report};

pub(super) fn run(
    args: &Validate,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let home = Workspace::find(project, &args.selection.paths)?;
    let below = if args.selection.paths.is_empty() { home.projects_below() } else { Vec::new() };
    if below.is_empty() { one(args, &home, console) } else { each(args, &home, &below, console) }
}

/// Validates several projects separately: they are independent of each other.
fn each(
    args: &Validate,
    above: &Workspace,
    projects: &[PathBuf],
    console: &mut Console,
) -> Result<Verdict, Failure> {
    if matches!(args.output, ReportFormat::Json | ReportFormat::Sarif) {
        let message = format!("there are {} projects below this folder", projects.len());
        return Err(Failure::usage(message).help("name one by `--project`: a document is about one project"));
    }
    let mut verdict = Verdict::Success;
    for (index, folder) in projects.iter().enumerate() {
        if args.output == ReportFormat::Text {
            let shown = folder.strip_prefix(&above.root).unwrap_or(folder).display();
            let look = console.out.look;
            let space = if index > 0 { "\n" } else { "" };
            writeln!(console.out, "{space}{}", look.paint(BOLD, format!("project in `{shown}`")))?;
        }
        if one(args, &Workspace::find(Some(folder), &[])?, console)? == Verdict::Errors {
            verdict = Verdict::Errors;
        }
    }
    Ok(verdict)
}

fn one(args: &Validate, home: &Workspace, console: &mut Console) -> Result<Verdict, Failure> {
    let Validate { selection, output, deny_warnings, timings } = args;
    let listener = ReadProgress::new(console.watched());
    let on_file = |files| listener.file(files);
    let request = Request {
        paths: &selection.paths,
        target: selection.target.as_deref(),
        goal: Goal::Validate,
        on_file: Some(&on_file),
    };
    // The process ends soon, so its memory is not freed.
    let outcome = ManuallyDrop::new(home.validate_cached(request)?);
    drop(listener);
    let report =
        Report { outcome: &outcome, root: &home.root, quiet: console.quiet, deny_warnings: *deny_warnings };
    render::write(&report, *output, console.out.look, &mut console.out)?;
    if *timings {
        let Timings { discover, analyze, link } = outcome.timings;
        writeln!(console.err, "discover {discover:.1?}, analyze {analyze:.1?}, link {link:.1?}")?;
    }
    Ok(if report.failed() { Verdict::Errors } else { Verdict::Success })
}
