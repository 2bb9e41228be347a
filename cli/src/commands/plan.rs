//! `dcp plan`

use std::io::Write as _;
use std::path::Path;

use dcp_compiler::compile::Goal;
use dcp_compiler::place;
use dcp_compiler::project::Project;
use dcp_reconciler::plan::{Comparison, Context, Place, Plan, compare};
use jiff::Timestamp;

use crate::args::{self, PlanFormat};
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::git;
use crate::out::{Console, Look};
use crate::project::{Home, Outcome, Request};
use crate::render::{self, Report};
use crate::select::Select;
use crate::write;

pub(super) fn run(
    args: &args::Plan,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Plan { selection, select, since, out, output, detailed_exitcode } = args;
    let home = Home::find(project, &selection.paths)?;
    let Some(planned) = plan(&home, selection, select, since.as_deref(), console)? else {
        return Ok(Verdict::Errors);
    };
    let plan = &planned.plan;
    if let Some(path) = out {
        write::replace(path, plan.save().as_bytes(), None)
            .map_err(|error| Failure::at(path, "written", &error))?;
    }
    let look = console.out.look;
    match output {
        PlanFormat::Text => show(plan, look, console)?,
        PlanFormat::Json => write!(console.out, "{}", plan.save())?,
        PlanFormat::Markdown => write!(console.out, "{}", render::plan::markdown(plan))?,
        PlanFormat::Github => {
            write!(console.out, "{}", render::plan::github(plan, &render::prefix(&home.root)))?;
        }
    }
    if *output == PlanFormat::Text && !console.quiet && !plan.is_empty() {
        let next = match out {
            Some(path) => format!("plan saved to {0}; apply exactly this: dcp apply {0}", path.display()),
            None => "nothing was changed; to apply: dcp apply".to_owned(),
        };
        writeln!(console.out, "\n{next}")?;
    }
    Ok(if *detailed_exitcode && !plan.is_empty() { Verdict::Changes } else { Verdict::Fine })
}

/// Shows a plan to people.
pub(super) fn show(plan: &Plan, look: Look, console: &mut Console) -> Result<(), Failure> {
    let now = look.terminal.then(Timestamp::now);
    render::plan::text(plan, now, look, &mut console.out)?;
    Ok(())
}

/// A plan, and where it can be applied.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) control: Control,
}

/// Compiles, and compares with what is applied. Nothing where the manifests have errors, which are told.
pub(super) fn plan(
    home: &Home,
    selection: &args::Selection,
    select: &[String],
    since: Option<&str>,
    console: &mut Console,
) -> Result<Option<Planned>, Failure> {
    let request = Request {
        paths: &selection.paths,
        target: selection.target.as_deref(),
        goal: Goal::Compile,
        watched: console.watched(),
    };
    let outcome = home.compile(request)?;
    let report = Report { outcome: &outcome, root: &home.root, quiet: true, deny_warnings: false };
    render::write_found(&report, console.err.look, &mut console.err)?;
    if report.failed() {
        writeln!(console.err, "nothing was planned")?;
        return Ok(None);
    }
    let project = home.project(selection.target.as_deref());
    let control = Control::open(home, &project)?;
    let state = control.state()?;
    let select = Select::new(select, since, &selection.paths, home, &outcome)?;
    let primitives = &outcome.compilation.primitives;
    let comparison = compare(primitives, &state, |domain, name| select.concerns(domain, name));
    select.check(primitives, &state)?;
    let plan = finish(&comparison, &control, home, &project, Some(&outcome))?;
    Ok(Some(Planned { plan, control }))
}

/// Makes a plan of a comparison.
pub(super) fn finish(
    comparison: &Comparison<'_>,
    control: &Control,
    home: &Home,
    project: &Project<'_>,
    outcome: Option<&Outcome>,
) -> Result<Plan, Failure> {
    let texts = control.bodies(comparison.wanted())?;
    let place = |domain: &str, name: &str, path: &[&str]| {
        let compilation = &outcome?.compilation;
        let node = compilation.graph.nodes.iter().find(|node| node.domain == domain && node.name == name)?;
        let span = place::find(compilation, project, node, path)?;
        let (line, column) = compilation.sources.position(span.file, span.start);
        Some(Place { path: compilation.sources.get(span.file).path.to_string(), line, column })
    };
    // To ask git takes longer than all of a plan that says nothing.
    let commit = if comparison.is_empty() { None } else { git::commit(&home.root) };
    let context = Context { scope: control.scope.clone(), commit, place: &place };
    comparison.plan(&texts, &context).map_err(|error| {
        Failure::new(error.to_string())
            .help("it was written by another version of dcp: use that one or a newer one")
    })
}
