//! `dcp plan`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::path::Path;

use dcp_compiler::compile::Goal;
use dcp_compiler::place;
use dcp_compiler::project::Project;
use dcp_model::primitive::Primitive;
use dcp_reconciler::plan::{Comparison, Context, Inclusion, Plan, SourceLocation, compare};
use dcp_reconciler::state::{Scope, State};
use dcp_workspace::cache::{self, Cache, CachedFiles};
use dcp_workspace::git;
use dcp_workspace::load::Entry;
use dcp_workspace::project::{OnFile, Outcome, Request, Workspace};
use dcp_workspace::select::Selection;
use jiff::Timestamp;

use crate::args::{self, PlanFormat};
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::jobs;
use crate::out::{Console, Look, NOTE};
use crate::pools;
use crate::progress::ReadProgress;
use crate::render::{self, Report, titled};
use crate::select;
use crate::write;

pub(super) fn run(
    args: &args::Plan,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Plan { selection, select, since, out, output, detailed_exitcode } = args;
    let home = Workspace::find(project, &selection.paths)?;
    let Some(planned) = plan(&home, selection, select, since.as_deref(), console)? else {
        return Ok(Verdict::Errors);
    };
    let plan = &planned.plan;
    if let Some(message) = planned.hidden.message(&plan.scope).filter(|_| !console.quiet) {
        writeln!(console.err, "{}", titled(0, "note:", NOTE, &message, console.err.look))?;
    }
    if let Some(path) = out {
        write::replace_private(path, plan.save().as_bytes())
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
    Ok(if *detailed_exitcode && !plan.is_empty() { Verdict::Changes } else { Verdict::Success })
}

/// Shows a plan to people.
pub(super) fn show(plan: &Plan, look: Look, console: &mut Console) -> Result<(), Failure> {
    let now = look.terminal.then(Timestamp::now);
    render::plan::text(plan, now, look, &mut console.out)?;
    Ok(())
}

/// A plan, and the registry that it can be applied to.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) control: Control,
    pub(super) hidden: Hidden,
}

/// Compiles the manifests, and compares them with the applied state. Errors of the manifests are printed, and
/// there is no plan.
pub(super) fn plan(
    home: &Workspace,
    selection: &args::Selection,
    select: &[String],
    since: Option<&str>,
    console: &mut Console,
) -> Result<Option<Planned>, Failure> {
    let target = selection.target.as_deref();
    let project = home.project(target);
    let find = || home.entries(&selection.paths);
    let (cache, entries) = rayon::join(|| Cache::load(&home.tree, home.text(), target), find);
    // The process ends soon, so its memory is not freed: that would take about as long as reading the files.
    let mut cache = ManuallyDrop::new(cache);
    let (opened, known) = applied_files(home, &project, cache.as_ref(), entries);
    let known = ManuallyDrop::new(known);
    let whole = selection.paths.is_empty();
    let same = known.complete && whole && since.is_none();
    let outcome = if same { None } else { Some(compile(home, selection, &known, console)?) };
    let outcome = ManuallyDrop::new(outcome);
    if outcome.as_ref().is_some_and(|outcome| outcome.compilation.has_errors()) {
        writeln!(console.err, "nothing was planned")?;
        return Ok(None);
    }
    let (control, state) = opened.unwrap_or_else(|| open(home, &project))?;
    let state = ManuallyDrop::new(state);
    let mut selected = match &*outcome {
        Some(outcome) => Selection::new(select, since, &selection.paths, home, outcome)?,
        None => Selection::by_name(select)?,
    };
    let primitives = outcome.as_ref().map_or(&[][..], |outcome| &outcome.compilation.primitives);
    select::add_group_members(&mut selected, primitives, &state, &control)?;
    let inclusion = |domain: &str, name: &str| match select::inclusion(&selected, domain, name) {
        _ if !state.shows(domain) => Inclusion::Excluded,
        Inclusion::Compared if known.has(domain, name) => Inclusion::Unchanged,
        inclusion => inclusion,
    };
    let hidden = Hidden::new(primitives, &state, &selected);
    let comparison = ManuallyDrop::new(compare(primitives, &state, inclusion));
    select::check(&selected, primitives, &state)?;
    let plan = finish(&comparison, &control, home, &project, outcome.as_ref())?;
    if let Some(cache) = cache.as_mut().filter(|_| whole) {
        match outcome.as_ref() {
            Some(outcome) => cache.store(&home.tree, &known, &outcome.compilation, &outcome.fresh),
            None => cache.store_stamps(&home.tree, &known),
        }
    }
    Ok(Some(Planned { plan, control, hidden }))
}

type Opened = Result<(Control, State), Failure>;

/// Finds the unchanged files whose primitives are applied, as they need no new primitives. Opens the registry if the
/// cache can know such files.
fn applied_files(
    home: &Workspace,
    project: &Project<'_>,
    cache: Option<&Cache>,
    entries: Vec<Entry>,
) -> (Option<Opened>, CachedFiles) {
    let Some(cache) = cache.filter(|cache| cache.has_primitives()) else {
        return (None, CachedFiles::none(entries));
    };
    let look = || cache.unchanged_files(&home.tree, entries);
    let (opened, known) = rayon::join(|| open(home, project), look);
    let known = match &opened {
        Ok((_, state)) => cache::only_applied(
            known,
            state.entries.iter().map(|(address, entry)| (address, &entry.fingerprint)),
        ),
        Err(_) => CachedFiles::default(),
    };
    (Some(opened), known)
}

/// Opens the registry, and reads the applied state.
fn open(home: &Workspace, project: &Project<'_>) -> Opened {
    let control = Control::open(home, project)?;
    let state = control.state()?;
    Ok((control, state))
}

/// Compiles the manifests, and prints their diagnostics.
fn compile(
    home: &Workspace,
    selection: &args::Selection,
    known: &CachedFiles,
    console: &mut Console,
) -> Result<Outcome, Failure> {
    let target = selection.target.as_deref();
    let listener = ReadProgress::new(console.watched());
    let on_file = |files| listener.file(files);
    let on_file: Option<OnFile<'_>> = Some(&on_file);
    let request = Request { paths: &selection.paths, target, goal: Goal::Compile, on_file };
    let outcome = home.compile_except(request, known)?;
    drop(listener);
    let report = Report { outcome: &outcome, root: &home.root, quiet: true, deny_warnings: false };
    render::write_found(&report, console.err.look, &mut console.err)?;
    Ok(outcome)
}

/// Workloads that were selected, and are not planned, as the caller may not read what is applied of them.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    count: usize,
    domains: BTreeSet<String>,
}

impl Hidden {
    fn new(primitives: &[Primitive], state: &State, selection: &Selection) -> Self {
        let hidden = primitives.iter().map(|it| &it.address).filter(|address| {
            !state.shows(&address.domain) && selection.contains(&address.domain, &address.name)
        });
        let workloads: BTreeSet<(&str, &str)> = hidden.map(|it| (&*it.domain, &*it.name)).collect();
        let domains = workloads.iter().map(|(domain, _)| (*domain).to_owned()).collect();
        Self { count: workloads.len(), domains }
    }

    /// Returns what is not planned, and why; none if everything is.
    pub(super) fn message(&self, scope: &Scope) -> Option<String> {
        let domains: Vec<String> = self.domains.iter().map(|domain| format!("`{domain}`")).collect();
        let count = match self.count {
            0 => return None,
            1 => "1 workload is".to_owned(),
            count => format!("{count} workloads are"),
        };
        Some(format!("{count} not planned, as you have no role in `{scope}` for {}", domains.join(", ")))
    }
}

/// Creates a plan from a comparison, and adds the state of the running jobs that it changes.
pub(super) fn finish(
    comparison: &Comparison<'_>,
    control: &Control,
    home: &Workspace,
    project: &Project<'_>,
    outcome: Option<&Outcome>,
) -> Result<Plan, Failure> {
    let texts = control.bodies(comparison.needed_bodies())?;
    let place = |domain: &str, name: &str, path: &[&str]| {
        let compilation = &outcome?.compilation;
        let node = compilation.graph.nodes.iter().find(|node| node.domain == domain && node.name == name)?;
        let span = place::find(compilation, project, node, path)?;
        let (line, column) = compilation.sources.position(span.file, span.start);
        Some(SourceLocation { path: compilation.sources.get(span.file).path.to_string(), line, column })
    };
    // Running git takes longer than all else for an empty plan.
    let commit = if comparison.is_empty() { None } else { git::commit(&home.root) };
    let context = Context { scope: control.scope.clone(), commit, locate: &place };
    let mut plan = comparison.plan(&texts, &context).map_err(|error| {
        Failure::new(error.to_string())
            .help("it was written by another version of dcp: use that one or a newer one")
    })?;
    jobs::add_live_state(&mut plan, control, home, project);
    pools::add_live_state(&mut plan, control, home, project);
    Ok(plan)
}
