//! `dcp status`

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;
use dcp_model::primitive::Address;
use dcp_reconciler::reconcile::Convergence;
use unicode_width::UnicodeWidthStr as _;

use crate::args::{self, Format};
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::jobs::{Jobs, Overview};
use crate::out::{Console, Look};
use crate::render::jobs;

/// Interval of polling with `--watch` and `--wait`.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Number of events to show for one job.
const MAX_EVENTS: u32 = 10;

pub(super) fn run(
    args: &args::Status,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let address = args.workload.as_deref().map(Jobs::address).transpose()?;
    let state = Jobs::of(project, args.target.as_deref())?;
    let mut overview = state.overview(address.as_ref())?;
    let is_unknown =
        overview.jobs.is_empty() && overview.pools.is_empty() && overview.applied_pools.is_empty();
    if let Some(workload) = args.workload.as_ref().filter(|_| is_unknown) {
        let message = format!("no continuous job and no pool `{workload}` is applied to {}", state.scope());
        return Err(Failure::new(message).help("`dcp status` lists those that are"));
    }
    let mut verdict = Verdict::Success;
    if args.wait {
        verdict = wait_until_converged(&state, address.as_ref(), &mut overview, console)?;
    }
    let shown = lines(args, &state, address.as_ref(), &overview, console.out.look)?;
    write(&shown, 0, console)?;
    if args.watch {
        watch(args, &state, address.as_ref(), shown, console)?;
    }
    state.runs.close();
    Ok(verdict)
}

/// Returns the lines of a status report.
fn lines(
    args: &args::Status,
    state: &Jobs,
    of: Option<&Address>,
    overview: &Overview,
    look: Look,
) -> Result<Vec<String>, Failure> {
    Ok(match (of, args.output) {
        (_, Format::Json) if args.watch => vec![jobs::json(overview).to_string()],
        (_, Format::Json) => vec![format!("{:#}", jobs::json(overview))],
        (None, Format::Text) => jobs::table(overview, look),
        (Some(_), Format::Text) if overview.jobs.is_empty() => jobs::table(overview, look),
        (Some(address), Format::Text) => {
            let events = state.control.run(state.reconciler.events(state.scope(), address, MAX_EVENTS));
            jobs::details(overview, &events.map_err(|error| crate::control::registry_failed(&error))?, look)
        }
    })
}

/// Writes each changed status report, until the command is interrupted.
fn watch(
    args: &args::Status,
    state: &Jobs,
    of: Option<&Address>,
    mut shown: Vec<String>,
    console: &mut Console,
) -> Result<(), Failure> {
    let mut interrupts = state.runs.run(async { Interrupts::new() })?;
    let text = args.output == Format::Text;
    while !state.runs.run(interrupts.interrupted_within(POLL_INTERVAL)) {
        let next = lines(args, state, of, &state.overview(of)?, console.out.look)?;
        if next != shown {
            // Overwrites the previous output if the terminal can, else appends.
            let over = if text && console.out.look.animated { rows(&shown) } else { 0 };
            write(&next, over, console)?;
            shown = next;
        }
    }
    Ok(())
}

/// Waits until no job and no pool is in transition.
fn wait_until_converged(
    state: &Jobs,
    of: Option<&Address>,
    overview: &mut Overview,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let mut interrupts = state.runs.run(async { Interrupts::new() })?;
    let begun = Instant::now();
    loop {
        if let Some(why) = overview.pools_error.as_ref().filter(|_| !overview.applied_pools.is_empty()) {
            return Err(Failure::new(format!("the pools are not known: {why}")));
        }
        let pools = || overview.applied_pools.iter().map(|pool| pool.convergence(&overview.pools));
        let convergences = || overview.jobs.iter().map(|job| job.convergence).chain(pools());
        if convergences().all(|convergence| convergence != Convergence::InTransition) {
            let failed = convergences().any(|convergence| convergence == Convergence::Failed);
            return Ok(if failed { Verdict::Errors } else { Verdict::Success });
        }
        overview.check_reconciler(begun)?;
        if state.runs.run(interrupts.interrupted_within(POLL_INTERVAL)) {
            writeln!(console.err, "interrupted: this is how it is now")?;
            return Ok(Verdict::Errors);
        }
        *overview = state.overview(of)?;
    }
}

/// Returns the number of rows of the terminal that lines take, including wrapped ones.
fn rows(lines: &[String]) -> usize {
    let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0).max(1));
    let of = |line: &str| strip_str(line).to_string().width().div_ceil(width).max(1);
    lines.iter().flat_map(|line| line.split('\n')).map(of).sum()
}

fn write(lines: &[String], over: usize, console: &mut Console) -> Result<(), Failure> {
    let height = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
    if over >= height {
        // Rows that have scrolled away can't be overwritten, so the screen is cleared.
        write!(console.out, "\x1b[H\x1b[J")?;
    } else if over > 0 {
        write!(console.out, "\x1b[{over}A\x1b[J")?;
    }
    for line in lines {
        writeln!(console.out, "{line}")?;
    }
    console.flush()?;
    Ok(())
}
