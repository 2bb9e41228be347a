//! `dcp pause`, `dcp resume`, `dcp restart`

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use dcp_reconciler::keep::{Ask, Condition};
use jiff::Timestamp;

use crate::args;
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::kept::{Job, Kept};
use crate::out::{Console, WARNING};
use crate::render::keep;

/// How often it is looked whether it is done.
const PAUSE: Duration = Duration::from_millis(300);

pub(super) fn run(
    ask: Ask,
    args: &args::Asked,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let address = Kept::address(&args.workload)?;
    let kept = Kept::of(project, args.target.as_deref())?;
    let before = kept.overview(Some(&address))?;
    let starts = before.jobs.first().map_or(0, |job| job.told.kept.starts);
    let by = crate::control::who();
    let asked = kept.keep.ask(kept.scope(), &address, ask, &by, Timestamp::now());
    kept.control.run(asked).map_err(|error| kept.control.failed(&error))?;
    let workload = &args.workload;
    let said = match ask {
        Ask::Pause => "is to be stopped, and stays so until it is resumed",
        Ask::Resume
            if before
                .jobs
                .first()
                .is_some_and(|job| job.told.desired.as_ref().is_some_and(|it| it.paused)) =>
        {
            "stays paused by its manifest: take `paused: true` away, and apply"
        }
        Ask::Resume => "is to go on where it was",
        Ask::Restart => "is to be restarted",
    };
    writeln!(console.out, "{workload} {said}")?;
    if before.is_nobody_there() {
        let warning = console.err.look.paint(WARNING, "warning:");
        writeln!(console.err, "{warning} {}", keep::NOBODY)?;
    }
    console.flush()?;
    let mut verdict = Verdict::Fine;
    if args.wait {
        let mut interrupts = kept.runs.run(async { Interrupts::new() })?;
        let begun = Instant::now();
        let done = loop {
            let overview = kept.overview(Some(&address))?;
            overview.somebody(begun)?;
            let Some(job) = overview.jobs.first() else { break None };
            if is_done(ask, job, starts) {
                break Some(job.condition.clone());
            }
            if kept.runs.run(interrupts.within(PAUSE)) {
                writeln!(console.err, "interrupted: it is done all the same")?;
                verdict = Verdict::Errors;
                break None;
            }
        };
        if let Some(condition) = done {
            writeln!(console.out, "{workload} {}", keep::words(&condition, Timestamp::now()))?;
        }
    }
    kept.runs.close();
    Ok(verdict)
}

/// Whether what was asked for has come about.
fn is_done(ask: Ask, job: &Job, starts: u64) -> bool {
    let runs = job.runs(Timestamp::now());
    match ask {
        Ask::Pause => job.condition == Condition::Paused,
        Ask::Resume => runs || job.condition == Condition::Paused,
        Ask::Restart => (runs && job.told.kept.starts > starts) || job.condition == Condition::Paused,
    }
}
