//! `dcp cancel`

use std::io::Write as _;
use std::path::Path;

use dcp_runner::execution::Phase;
use futures_util::StreamExt as _;

use crate::args;
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::out::Console;
use crate::runs::{RunnerClient, failed};

pub(super) fn run(
    args: &args::Cancel,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let runs = RunnerClient::of(project, args.target.as_deref())?;
    let by = crate::control::user_name();
    for named in &args.executions {
        let record = runs.find(named)?;
        let id = record.id();
        if record.execution.phase.is_final() {
            writeln!(console.out, "{id} has ended already: {}", record.execution.phase.name())?;
            continue;
        }
        runs.run(runs.runner.cancel(id, &by)).map_err(|error| failed(&error))?;
        writeln!(console.out, "{id} is being stopped; it has {} s", record.execution.policy.stop_seconds)?;
        console.flush()?;
        let ended = runs.run(async {
            let mut interrupts = Interrupts::new()?;
            let mut steps = runs.runner.watch(id, record.history.len());
            loop {
                tokio::select! {
                    step = steps.next() => match step {
                        Some(step) => { step.map_err(|error| failed(&error))?; }
                        None => break,
                    },
                    () = interrupts.next() => return Ok(None),
                }
            }
            runs.runner.check(id).await.map(Some).map_err(|error| failed(&error))
        });
        let ended: Result<_, Failure> = ended;
        match ended?.map(|record| record.execution.phase) {
            Some(Phase::Cancelled) => writeln!(console.out, "{id} is cancelled")?,
            Some(phase) => writeln!(console.out, "{id} had ended before: {}", phase.name())?,
            None => {
                writeln!(console.err, "interrupted: {id} is being stopped all the same")?;
                runs.close();
                return Ok(Verdict::Errors);
            }
        }
    }
    runs.close();
    Ok(Verdict::Success)
}
