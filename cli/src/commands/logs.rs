//! `dcp logs`

use std::io::Write as _;
use std::path::Path;

use dcp_runner::api::LogRequest;
use dcp_runner::driver_log::Filter;
use futures_util::StreamExt as _;

use crate::args;
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::out::Console;
use crate::runs::{RunnerClient, failed};

pub(super) fn run(
    args: &args::Logs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let runs = RunnerClient::of(project, args.target.as_deref())?;
    let record = runs.find(&args.execution)?;
    let request = LogRequest { attempt: args.attempt, follow: args.follow, ..LogRequest::default() };
    let finished = runs.run(async {
        let mut interrupts = Interrupts::new()?;
        let mut parts = runs.runner.logs(record.id(), request);
        let mut attempt = None;
        let mut filter = Filter::default();
        loop {
            let part = tokio::select! {
                part = parts.next() => part,
                () = interrupts.next() => return Ok(()),
            };
            let Some(part) = part else {
                console.out.write_all(&filter.finish())?;
                return Ok(());
            };
            let part = part.map_err(|error| failed(&error))?;
            if attempt.is_some_and(|before| before != part.attempt) {
                console.out.write_all(&filter.finish())?;
                console.out.flush()?;
            }
            if attempt.replace(part.attempt).is_some_and(|before| before != part.attempt) && !console.quiet {
                writeln!(console.err, "--- attempt {}", part.attempt)?;
                console.err.flush()?;
            }
            if args.all {
                console.out.write_all(&part.bytes)?;
            } else {
                console.out.write_all(&filter.push(&part.bytes))?;
            }
            console.out.flush()?;
        }
    });
    runs.close();
    let finished: Result<(), Failure> = finished;
    finished.map(|()| Verdict::Success)
}
