//! `dcp pause`, `dcp resume`, `dcp restart`

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use dcp_model::primitive::Address;
use dcp_reconciler::reconcile::{Condition, JobStatus, Request};
use jiff::Timestamp;

use crate::args;
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::jobs::Jobs;
use crate::out::{Console, WARNING};
use crate::render::jobs;

/// Interval of polling while waiting.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

pub(super) fn run(
    request: Request,
    args: &args::JobRequest,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let address = Jobs::address(&args.workload)?;
    let state = Jobs::of(project, args.target.as_deref())?;
    let before = state.overview(Some(&address))?;
    let starts = before.jobs.first().map_or(0, |job| job.state.starts);
    let by = crate::control::user_name();
    let pending = state.reconciler.request(state.scope(), &address, request, &by, Timestamp::now());
    state.control.run(pending).map_err(|error| crate::control::registry_failed(&error))?;
    let workload = &args.workload;
    writeln!(console.out, "{workload} {}", effect(request, before.jobs.first()))?;
    if before.has_no_reconciler() {
        let warning = console.err.look.paint(WARNING, "warning:");
        writeln!(console.err, "{warning} {}", jobs::NO_RECONCILER)?;
    }
    console.flush()?;
    let end = if args.wait { Some(wait(&state, &address, request, starts)?) } else { None };
    let verdict = match end {
        None | Some(EndOfWait::Deleted) => Verdict::Success,
        Some(EndOfWait::Fulfilled(condition)) => {
            writeln!(console.out, "{workload} {}", jobs::describe_condition(&condition, Timestamp::now()))?;
            Verdict::Success
        }
        Some(EndOfWait::Interrupted) => {
            writeln!(console.err, "interrupted: it is done all the same")?;
            Verdict::Errors
        }
    };
    state.runs.close();
    Ok(verdict)
}

/// Describes the effect of a request on a job.
fn effect(request: Request, job: Option<&JobStatus>) -> &'static str {
    let paused_by_manifest = job.and_then(|job| job.desired.as_ref()).is_some_and(|it| it.paused);
    match request {
        Request::Pause => "is to be stopped, and stays so until it is resumed",
        Request::Resume if paused_by_manifest => {
            "stays paused by its manifest: take `paused: true` away, and apply"
        }
        Request::Resume => "is to go on where it was",
        Request::Restart => "is to be restarted",
    }
}

enum EndOfWait {
    Fulfilled(Condition),
    /// The job is not there any more.
    Deleted,
    Interrupted,
}

/// Waits until the request is fulfilled.
fn wait(state: &Jobs, address: &Address, request: Request, starts: u64) -> Result<EndOfWait, Failure> {
    let mut interrupts = state.runs.run(async { Interrupts::new() })?;
    let begun = Instant::now();
    loop {
        let overview = state.overview(Some(address))?;
        overview.check_reconciler(begun)?;
        let Some(job) = overview.jobs.first() else { return Ok(EndOfWait::Deleted) };
        if is_done(request, job, starts) {
            return Ok(EndOfWait::Fulfilled(job.condition.clone()));
        }
        if state.runs.run(interrupts.interrupted_within(POLL_INTERVAL)) {
            return Ok(EndOfWait::Interrupted);
        }
    }
}

/// Returns true if the request is fulfilled.
fn is_done(request: Request, job: &JobStatus, starts: u64) -> bool {
    let runs = job.runs;
    match request {
        Request::Pause => job.condition == Condition::Paused,
        Request::Resume => runs || job.condition == Condition::Paused,
        Request::Restart => (runs && job.state.starts > starts) || job.condition == Condition::Paused,
    }
}
