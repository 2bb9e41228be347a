//! `dcp runs`

use std::io::Write as _;
use std::path::Path;

use dcp_runner::api::{Filter, live};
use dcp_runner::execution::Phase;
use jiff::Timestamp;
use serde_json::Value;

use crate::args::{self, Format};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::render::run::{details, json, table};
use crate::runs::{RunnerClient, failed};

pub(super) fn run(
    args: &args::Runs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let phases = phases(args)?;
    let runs = RunnerClient::of(project, args.target.as_deref())?;
    let (look, now) = (console.out.look, Timestamp::now());
    let write = |value: &Value, console: &mut Console| -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(format!("it can't be written as JSON: {error}")))?;
        Ok(writeln!(console.out, "{text}")?)
    };
    if let Some(named) = args.execution.as_deref().filter(|named| !named.contains('/')) {
        let record = runs.find(named)?;
        match args.output {
            Format::Json => write(&json(&record), console)?,
            Format::Text => {
                for line in details(&record, look, now) {
                    writeln!(console.out, "{line}")?;
                }
            }
        }
        runs.close();
        return Ok(Verdict::Success);
    }
    let workload = args.execution.as_deref().and_then(|named| named.split_once('/'));
    let (domain, name) = workload.map(|(domain, name)| (domain.to_owned(), name.to_owned())).unzip();
    let filter = Filter { domain, name, phases, ..Filter::default() };
    let found = runs.run(runs.runner.list(&filter, None, args.limit)).map_err(|error| failed(&error))?;
    match args.output {
        Format::Json => write(&Value::Array(found.iter().map(json).collect()), console)?,
        Format::Text if found.is_empty() => writeln!(console.out, "there are no such executions")?,
        Format::Text => {
            for line in table(&found, look, now) {
                writeln!(console.out, "{line}")?;
            }
        }
    }
    runs.close();
    Ok(Verdict::Success)
}

fn phases(args: &args::Runs) -> Result<Vec<Phase>, Failure> {
    let mut phases = if args.live { live() } else { Vec::new() };
    for named in &args.phase {
        let found = Phase::ALL.into_iter().find(|phase| phase.name().eq_ignore_ascii_case(named));
        phases.push(found.ok_or_else(|| {
            let names = Phase::ALL.map(|phase| phase.name().to_lowercase()).join(", ");
            Failure::usage(format!("`{named}` is no phase")).help(format!("phases are {names}"))
        })?);
    }
    Ok(phases)
}
