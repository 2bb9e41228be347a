//! `dcp run`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dcp_compiler::compile::Goal;
use dcp_compiler::project::Project;
use dcp_model::manifest::{self, Job};
use dcp_model::primitive::{Body, ContinuousJob, CoreEtlJob, Kind};
use dcp_reconciler::reconcile::service_key;
use dcp_reconciler::state::Scope;
use dcp_runner::api::Record;
use dcp_runner::execution::{Id, Phase};
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
    let requested = match &file {
        Some(file) => match job_of_file(&home, &target, file, args, console)? {
            Some(requested) => requested,
            None => return Ok(Verdict::Errors),
        },
        None => applied_job(&args.what, &target)?,
    };
    let runs = RunnerClient::open(&home, &target)?;
    let returns = requested.returns;
    let submit = Submit {
        token: args.token.clone().unwrap_or_else(|| format!("run-{:032x}", rand::random::<u128>())),
        job: requested.job,
        parameters: parameters(&args.param)?,
        streaming: requested.streaming,
        exclusive: requested.exclusive,
        order: None,
        fence: None,
        by: crate::control::user_name(),
    };
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
    let paths = [file.to_owned()];
    let listener = ReadProgress::new(console.watched());
    let on_file = |files| listener.file(files);
    let request = Request {
        paths: &paths,
        target: args.target.as_deref(),
        goal: Goal::Compile,
        on_file: Some(&on_file),
    };
    let outcome = home.compile(request)?;
    drop(listener);
    let report = Report { outcome: &outcome, root: &home.root, quiet: true, deny_warnings: false };
    if report.failed() || outcome.stopped {
        let look = console.err.look;
        render::write_found(&report, look, &mut console.err)?;
        return Ok(None);
    }
    let (mut jobs, mut continuous): (Vec<Box<CoreEtlJob>>, Vec<Box<ContinuousJob>>) = Default::default();
    for primitive in outcome.compilation.primitives {
        match primitive.body {
            Body::CoreEtlJob(job) => jobs.push(job),
            Body::ContinuousJob(job) => continuous.push(job),
            Body::Orchestrator(_) => {}
        }
    }
    let id = |job: &CoreEtlJob| format!("{}/{}", job.metadata.domain, job.metadata.name);
    if let Some(select) = &args.select {
        jobs.retain(|job| id(job) == *select);
    }
    let names: Vec<String> = jobs.iter().map(|job| id(job)).collect();
    let Ok([mut job]) = <[Box<CoreEtlJob>; 1]>::try_from(jobs) else {
        let shown = file.display();
        return Err(match (names.as_slice(), &args.select) {
            ([], Some(select)) => Failure::usage(format!("`{shown}` has no workload `{select}`")),
            ([], None) => Failure::usage(format!("`{shown}` has no workload that could be run")),
            (names, _) => Failure::usage(format!("`{shown}` has several workloads: {}", names.join(", ")))
                .help("say which one: --select domain/name"),
        });
    };
    let address = format!("CoreEtlJob/{}", id(&job));
    let continuous_job = continuous.into_iter().find(|it| it.job == address);
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
    let exclusive = continuous_job.as_ref().map(|it| match it.continuous() {
        Some(stream) => stream.checkpoint.as_str().to_owned(),
        None => service_key(&scope_of(project), &format!("{}/{}", Kind::ContinuousJob.name(), id(&job))),
    });
    let streaming = continuous_job.as_deref().map(Streaming::of);
    let returns = matches!(&job.job, Job::Sql(sql) if sql.return_result);
    Ok(Some(RequestedJob { job: Definition::from(*job), streaming, exclusive, returns }))
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
    let look = console.out.look;
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
            let lines = render::run::step(&transition, &record);
            if !console.quiet {
                let mut write = || -> std::io::Result<()> {
                    for line in &lines {
                        writeln!(console.out, "{}", line.painted(look))?;
                    }
                    console.out.flush()
                };
                match &bar {
                    Some(bar) => bar.suspend(write)?,
                    None => write()?,
                }
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
