//! `dcp clusters`

use std::io::Write as _;
use std::path::Path;

use dcp_compiler::diag::nearest;
use dcp_gateway::clusters::{CAPABILITIES, Report};
use dcp_gateway::remote::Remote;
use dcp_workspace::project::Workspace;
use jiff::Timestamp;

use super::serve::block_on;
use crate::args::{ClustersArgs, Format};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::render::clusters as render;
use crate::render::sanitize;
use crate::runs;

pub(super) fn run(
    args: &ClustersArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let ClustersArgs { cluster, routes, limit, target, output } = args;
    let home = Workspace::find(project, &[])?;
    let target = home.target(target.as_deref())?;
    let options = block_on(runs::address(&home, &target))?;
    let Some(options) = options else {
        let nothing = "no `dcp up` runs for this project, so jobs run on the Spark of this machine: \
                       `dcp up --clusters FILE` runs them on clusters";
        return none(nothing, cluster.as_deref(), *output, console);
    };
    let report = block_on(async {
        let remote = Remote::new(options, CAPABILITIES).map_err(|error| Failure::usage(error.to_string()))?;
        remote.report().await.map_err(|error| Failure::new(error.to_string()))
    })?;
    if report.clusters.is_empty() && report.routings.is_empty() {
        let nothing = "this control plane runs jobs on the Spark of its machine: `--clusters FILE` of `dcp up` or \
                       `dcp serve runner` adds clusters";
        return none(nothing, cluster.as_deref(), *output, console);
    }
    let report = selected(report, cluster.as_deref(), *limit)?;
    let (look, now) = (console.out.look, Timestamp::now());
    let lines = match (output, cluster) {
        (Format::Json, _) => vec![format!("{:#}", render::json(&report))],
        (Format::Text, _) if *routes => render::routes(&report, look),
        (Format::Text, Some(_)) => render::details(&report, look, now),
        (Format::Text, None) => render::table(&report, look, now),
    };
    for line in lines {
        writeln!(console.out, "{line}")?;
    }
    Ok(Verdict::Success)
}

/// Prints that there are no clusters. A cluster that the user named is an error.
fn none(
    nothing: &str,
    cluster: Option<&str>,
    output: Format,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    if let Some(cluster) = cluster {
        return Err(Failure::new(format!("there is no cluster `{}`", sanitize(cluster))).help(nothing));
    }
    match output {
        Format::Json => writeln!(console.out, "{:#}", render::json(&Report::default()))?,
        Format::Text => writeln!(console.out, "{nothing}")?,
    }
    Ok(Verdict::Success)
}

/// Returns the cluster that the user named, with its choices.
fn selected(report: Report, cluster: Option<&str>, limit: usize) -> Result<Report, Failure> {
    let Report { mut clusters, mut routings } = report;
    if let Some(name) = cluster {
        if !clusters.iter().any(|it| it.name == name) {
            let failure = Failure::new(format!("there is no cluster `{}`", sanitize(name)));
            let help = match nearest(name, clusters.iter().map(|it| it.name.as_str())) {
                Some(near) => format!("did you mean `{near}`? `dcp clusters` lists all"),
                None => "`dcp clusters` lists all".to_owned(),
            };
            return Err(failure.help(help));
        }
        clusters.retain(|it| it.name == name);
        routings.retain(|it| it.cluster.as_deref() == Some(name));
    }
    routings.truncate(limit);
    Ok(Report { clusters, routings })
}
