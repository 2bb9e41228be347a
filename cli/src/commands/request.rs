//! `dcp pause`, `dcp resume`, `dcp restart`

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

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
    state.control.run(pending).map_err(|error| state.control.failed(&error))?;
    let workload = &args.workload;
    let effect = match request {
        Request::Pause => "is to be stopped, and stays so until it is resumed",
        Request::Resume
            if before.jobs.first().is_some_and(|job| job.desired.as_ref().is_some_and(|it| it.paused)) =>
        {
            "stays paused by its manifest: take `paused: true` away, and apply"
        }
        Request::Resume => "is to go on where it was",
        Request::Restart => "is to be restarted",
    };
    writeln!(console.out, "{workload} {effect}")?;
    if before.has_no_reconciler() {
        let warning = console.err.look.paint(WARNING, "warning:");
        writeln!(console.err, "{warning} {}", jobs::NO_RECONCILER)?;
    }
    console.flush()?;
    let mut verdict = Verdict::Success;
    if args.wait {
        let mut interrupts = state.runs.run(async { Interrupts::new() })?;
        let begun = Instant::now();
        let done = loop {
            let overview = state.overview(Some(&address))?;
            overview.check_reconciler(begun)?;
            let Some(job) = overview.jobs.first() else { break None };
            if is_done(request, job, starts) {
                break Some(job.condition.clone());
            }
            if state.runs.run(interrupts.interrupted_within(POLL_INTERVAL)) {
                writeln!(console.err, "interrupted: it is done all the same")?;
                verdict = Verdict::Errors;
                break None;
            }
        };
        if let Some(condition) = done {
            writeln!(console.out, "{workload} {}", jobs::describe_condition(&condition, Timestamp::now()))?;
        }
    }
    state.runs.close();
    Ok(verdict)
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
