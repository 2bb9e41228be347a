//! `dcp doctor --cluster`

use std::io::Write as _;

use dcp_gateway::kubernetes::doctor;
use dcp_model::manifest::Domain;
use dcp_workspace::project::Workspace;

use super::{Finding, State, print};
use crate::args;
use crate::cluster::{self, Choice, Opened};
use crate::commands::serve::block_on;
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::render::sanitize;

pub(super) fn run(args: &args::Doctor, home: &Workspace, console: &mut Console) -> Result<Verdict, Failure> {
    let choice = Choice::new(home, args.clusters.as_deref(), args.cluster.as_deref());
    block_on(async {
        let opened = match &choice {
            Some(choice) => cluster::open(choice, console).await?,
            None => None,
        };
        let opened = opened.ok_or_else(|| Failure::usage("no cluster is named"))?;
        check(args, opened, console).await
    })
}

async fn check(args: &args::Doctor, opened: Opened, console: &mut Console) -> Result<Verdict, Failure> {
    let Opened { name, backend, mut domains, origin, namespaces } = opened;
    for domain in &args.domains {
        Domain::parse(domain)
            .map_err(|error| Failure::usage(format!("`{domain}` is no domain: {}", error.message)))?;
        backend.namespace(domain).map_err(|error| Failure::usage(error.to_string()))?;
        domains.named.insert(domain.clone());
    }
    if args.manifest {
        write!(console.out, "{}", backend.preparation(&domains).await)?;
        return Ok(Verdict::Success);
    }
    let report = backend.doctor(&domains).await;
    if !console.quiet {
        writeln!(console.out, "cluster `{name}` of {}: {namespaces}\n", sanitize(&origin))?;
    }
    let findings: Vec<Finding> = report.findings.into_iter().map(translated).collect();
    let passed = print(&findings, console)?;
    let end = if passed { "jobs can be run on it" } else { "jobs can't be run on it yet" };
    writeln!(console.out, "\n{end}")?;
    Ok(if passed { Verdict::Success } else { Verdict::Errors })
}

fn translated(finding: doctor::Finding) -> Finding {
    let state = match finding.state {
        doctor::State::Passed => State::Passed,
        doctor::State::Failed => State::Failed,
        doctor::State::Warning => State::Warning,
    };
    Finding { state, what: finding.subject, found: finding.text, help: finding.help }
}
