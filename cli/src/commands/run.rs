//! `dcp run`

mod sandboxed;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dcp_compiler::compile::Goal;
use dcp_compiler::project::Project;
use dcp_model::manifest::{self, Job};
use dcp_model::primitive::{Body, CoreEtlJob, Kind, Primitive};
use dcp_reconciler::reconcile::service_key;
use dcp_reconciler::state::Scope;
use dcp_runner::api::Record;
use dcp_runner::execution::{Id, Phase, Transition};
use dcp_runner::request::{Definition, Reference, Submit};
use dcp_runner::streaming::Streaming;
use dcp_workspace::project::{Request, Workspace};
use futures_util::StreamExt as _;

use crate::args;
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::out::Console;
use crate::progress;
use crate::progress::ReadProgress;
use crate::render::{self, Report};
use crate::runs::{RunnerClient, failed};

pub(super) fn run(
    args: &args::Run,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let file = is_file(&args.what).then(|| PathBuf::from(&args.what));
    let home = Workspace::find(project, file.as_slice())?;
    let target = home.target(args.target.as_deref())?;
    if let Some(sandbox) = &args.sandbox {
        return sandboxed::run(&home, file.as_deref(), sandbox, args, console);
    }
    let requested = match &file {
        Some(file) => job_of_file(&home, &target, file, args, console)?,
        None => Some(applied_job(&args.what, &target)?),
    };
    let Some(requested) = requested else { return Ok(Verdict::Errors) };
    let runs = RunnerClient::open(&home, &target)?;
    let returns = requested.returns;
    let submit = requested.submit(args)?;
    let submitted = runs.run(runs.runner.submit(submit)).map_err(|error| failed(&error))?;
    if !submitted.fresh && !console.quiet {
        writeln!(console.err, "note: this token was used before: {} is what it gave", submitted.record.id())?;
    }
    if runs.is_remote() && !args.wait {
        let id = submitted.record.id();
        writeln!(console.out, "{id}")?;
        if !console.quiet {
            writeln!(console.err, "  to follow it: dcp logs -f {id}; to see how it is: dcp runs {id}")?;
        }
        runs.close();
        return Ok(Verdict::Success);
    }
    let ended = wait(&runs, submitted.record.id(), console)?;
    if let (Some(record), false) = (&ended, console.quiet) {
        print_next_commands(record, returns, console)?;
    }
    runs.close();
    Ok(match ended.map(|record| record.execution.phase) {
        Some(Phase::Succeeded) => Verdict::Success,
        _ => Verdict::Errors,
    })
}

/// The job to run.
struct RequestedJob {
    job: Definition,
    streaming: Option<Streaming>,
    exclusive: Option<String>,
    /// True if the job is known to return rows.
    returns: bool,
}

impl RequestedJob {
    fn submit(self, args: &args::Run) -> Result<Submit, Failure> {
        Ok(Submit {
            token: args.token.clone().unwrap_or_else(|| format!("run-{:032x}", rand::random::<u128>())),
            job: self.job,
            parameters: parameters(&args.param)?,
            streaming: self.streaming,
            exclusive: self.exclusive,
            order: None,
            fence: None,
            by: crate::control::user_name(),
            on_behalf_of: None,
        })
    }
}

fn is_file(what: &str) -> bool {
    let path = Path::new(what);
    let yaml =
        path.extension().is_some_and(|it| it.eq_ignore_ascii_case("yaml") || it.eq_ignore_ascii_case("yml"));
    yaml || path.is_file()
}

/// Returns an applied job.
fn applied_job(what: &str, project: &Project<'_>) -> Result<RequestedJob, Failure> {
    let wrong = || {
        Failure::usage(format!("`{what}` is no file, and no workload"))
            .help("give a manifest's path, or `domain/name` of what is applied")
    };
    let what = what.strip_prefix("CoreEtlJob/").unwrap_or(what);
    let (domain, name) = what
        .split_once('/')
        .filter(|(domain, name)| !domain.is_empty() && !name.is_empty())
        .ok_or_else(wrong)?;
    if name.contains('/') {
        return Err(wrong());
    }
    let reference = Reference {
        scope: scope_of(project),
        domain: domain.to_owned(),
        name: name.to_owned(),
        fingerprint: None,
    };
    Ok(RequestedJob { job: Definition::Applied(reference), streaming: None, exclusive: None, returns: false })
}

fn scope_of(project: &Project<'_>) -> String {
    Scope::new(project.file.project.as_str(), project.target.as_deref()).as_str().to_owned()
}

/// Returns the only job of a file, placed on this machine. Errors of the file are printed, and there is no job.
fn job_of_file(
    home: &Workspace,
    project: &Project<'_>,
    file: &Path,
    args: &args::Run,
    console: &mut Console,
) -> Result<Option<RequestedJob>, Failure> {
    let Some(primitives) = compile(home, file, args.target.as_deref(), console)? else { return Ok(None) };
    let (mut jobs, mut continuous) = (Vec::new(), Vec::new());
    for primitive in primitives {
        match primitive.body {
            Body::CoreEtlJob(job) => jobs.push(*job),
            Body::ContinuousJob(job) => continuous.push(*job),
            Body::Orchestrator(_) | Body::Pool(_) => {}
        }
    }
    let mut job = only_job(jobs, file, args.select.as_deref())?;
    place_on_this_machine(&mut job, console)?;
    let id = workload_id(&job);
    let address = format!("CoreEtlJob/{id}");
    let continuous_job = continuous.into_iter().find(|it| it.job == address);
    let exclusive = continuous_job.as_ref().map(|it| match it.continuous() {
        Some(stream) => stream.checkpoint.as_str().to_owned(),
        None => service_key(&scope_of(project), &format!("{}/{id}", Kind::ContinuousJob.name())),
    });
    let streaming = continuous_job.as_ref().map(Streaming::of);
    let returns = matches!(&job.job, Job::Sql(sql) if sql.return_result);
    Ok(Some(RequestedJob { job: Definition::from(job), streaming, exclusive, returns }))
}

/// Returns the primitives of a file. Errors of the file are printed, and there are no primitives.
fn compile(
    home: &Workspace,
    file: &Path,
    target: Option<&str>,
    console: &mut Console,
) -> Result<Option<Vec<Primitive>>, Failure> {
    let paths = [file.to_owned()];
    let listener = ReadProgress::new(console.watched());
    let on_file = |files| listener.file(files);
    let request = Request { paths: &paths, target, goal: Goal::Compile, on_file: Some(&on_file) };
    let outcome = home.compile(request)?;
    drop(listener);
    let report = Report { outcome: &outcome, root: &home.root, quiet: true, deny_warnings: false };
    if report.failed() || outcome.stopped {
        let look = console.err.look;
        render::write_found(&report, look, &mut console.err)?;
        return Ok(None);
    }
    Ok(Some(outcome.compilation.primitives))
}

fn workload_id(job: &CoreEtlJob) -> String {
    format!("{}/{}", job.metadata.domain, job.metadata.name)
}

/// Returns the selected job of a file, or the only one.
fn only_job(mut jobs: Vec<CoreEtlJob>, file: &Path, select: Option<&str>) -> Result<CoreEtlJob, Failure> {
    if let Some(select) = select {
        jobs.retain(|job| workload_id(job) == select);
    }
    let ids: Vec<String> = jobs.iter().map(workload_id).collect();
    if let Ok([job]) = <[CoreEtlJob; 1]>::try_from(jobs) {
        return Ok(job);
    }
    let shown = file.display();
    Err(match (ids.as_slice(), select) {
        ([], Some(select)) => Failure::usage(format!("`{shown}` has no workload `{select}`")),
        ([], None) => Failure::usage(format!("`{shown}` has no workload that could be run")),
        (ids, _) => Failure::usage(format!("`{shown}` has several workloads: {}", ids.join(", ")))
            .help("say which one: --select domain/name"),
    })
}

/// Places a job on this machine, with a note if its manifest places it elsewhere.
fn place_on_this_machine(job: &mut CoreEtlJob, console: &mut Console) -> Result<(), Failure> {
    let placed = &mut job.placement.backends;
    if !placed.is_empty() && !placed.contains(&manifest::Backend::Local) && !console.quiet {
        let wanted: Vec<_> = placed.iter().map(|it| it.name()).collect();
        writeln!(
            console.err,
            "note: its manifest places it on {}; this runs on this machine",
            wanted.join(", ")
        )?;
    }
    *placed = vec![manifest::Backend::Local];
    Ok(())
}

fn parameters(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let one =
        |given: &String| match given.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Failure::usage(format!("`--param {given}` is no parameter"))
                .help("write `--param name=value`")),
        };
    given.iter().map(one).collect()
}

/// Prints every transition until the execution has ended; returns nothing if it was interrupted.
fn wait(runs: &RunnerClient, id: &Id, console: &mut Console) -> Result<Option<Record>, Failure> {
    let bar = console.watched().then(progress::spinner);
    let finished = runs.run(async {
        let mut interrupts = Interrupts::new()?;
        let mut steps = runs.runner.watch(id, 0);
        loop {
            let next = tokio::select! {
                next = steps.next() => next,
                () = interrupts.next() => return Ok(None),
            };
            let record = runs.runner.check(id).await.map_err(|error| failed(&error))?;
            if let Some(bar) = &bar {
                bar.set_message(record.execution.phase.name().to_lowercase());
            }
            let Some(transition) = next else { return Ok(Some(record)) };
            let transition = transition.map_err(|error| failed(&error))?;
            let mut print = || print_step(&transition, &record, console);
            match &bar {
                Some(bar) => bar.suspend(print)?,
                None => print()?,
            }
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let finished: Result<Option<Record>, Failure> = finished;
    if let Ok(None) = &finished {
        writeln!(
            console.err,
            "interrupted: {id} goes on\n  to follow it: dcp logs -f {id}\n  to stop it: dcp cancel {id}"
        )?;
    }
    finished
}

/// Prints a transition.
fn print_step(transition: &Transition, record: &Record, console: &mut Console) -> std::io::Result<()> {
    if console.quiet {
        return Ok(());
    }
    let look = console.out.look;
    for line in render::run::step(transition, record) {
        writeln!(console.out, "{}", line.painted(look))?;
    }
    console.out.flush()
}

/// Prints the next commands to use.
fn print_next_commands(record: &Record, returns: bool, console: &mut Console) -> Result<(), Failure> {
    let id = record.id();
    if record.execution.phase == Phase::Failed {
        writeln!(console.err, "  log: dcp logs {id}\n  details: dcp runs {id}")?;
    }
    if record.execution.phase == Phase::Succeeded && returns {
        writeln!(console.err, "  its rows: dcp result {id}")?;
    }
    Ok(())
}
