//! `dcp secrets check`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use dcp_compiler::compile::Goal;
use dcp_gateway::SecretKey;
use dcp_gateway::kubernetes::Keys;
use dcp_gateway::secrets::{Found, Providers};
use dcp_model::manifest::{Backend, KubernetesName};
use dcp_model::primitive::{Body, CoreEtlJob};
use dcp_workspace::project::{Request, Workspace};

use crate::args::{Format, Secrets, SecretsCheck, SecretsCommand};
use crate::cluster::{self, Choice, Opened};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::providers;
use crate::render::secrets::{Row, State};
use crate::render::{self, Report};

pub(super) fn run(args: &Secrets, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let SecretsCommand::Check(args) = &args.command;
    let home = Workspace::find(project, &args.selection.paths)?;
    let request = Request {
        paths: &args.selection.paths,
        target: args.selection.target.as_deref(),
        goal: Goal::Compile,
        on_file: None,
    };
    let outcome = home.compile(request)?;
    let report = Report { outcome: &outcome, root: &home.root, quiet: true, deny_warnings: false };
    render::write_diagnostics(&report, console.err.look, &mut console.err)?;
    if report.failed() {
        return Ok(Verdict::Errors);
    }
    let jobs = outcome.compilation.primitives.iter().filter_map(|primitive| match &primitive.body {
        Body::CoreEtlJob(job) => Some(&**job),
        Body::Orchestrator(_) | Body::ContinuousJob(_) | Body::Pool(_) => None,
    });
    let jobs: Vec<&CoreEtlJob> = jobs.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("no thread can be started: {error}")))?;
    let rows = runtime.block_on(check(args, &home, &jobs, console))?;
    print(args, &rows, console)?;
    let is_bad = |row: &Row| matches!(row.state, State::Missing | State::Failed(_));
    Ok(if rows.iter().any(is_bad) { Verdict::Errors } else { Verdict::Success })
}

fn print(args: &SecretsCheck, rows: &[Row], console: &mut Console) -> Result<(), Failure> {
    match args.output {
        Format::Json => writeln!(console.out, "{:#}", render::secrets::json(rows))?,
        Format::Text => {
            for line in render::secrets::text(rows, console.out.look) {
                writeln!(console.out, "{line}")?;
            }
        }
    }
    Ok(())
}

/// Returns a row for each secret of each job.
async fn check(
    args: &SecretsCheck,
    home: &Workspace,
    jobs: &[&CoreEtlJob],
    console: &mut Console,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let choice =
        args.cluster.as_deref().and_then(|name| Choice::new(home, args.clusters.as_deref(), Some(name)));
    let opened = match &choice {
        Some(choice) => cluster::open(choice, console).await?,
        None => None,
    };
    match &opened {
        Some(opened) => {
            let mut known = BTreeMap::new();
            for job in jobs {
                on_cluster(opened, job, &mut known, &mut rows).await;
            }
        }
        None => {
            let providers = providers::open(&home.root, args.secrets.as_deref(), Some(console))?;
            for job in jobs {
                on_machine(&providers, job, &mut rows).await;
            }
        }
    }
    Ok(rows)
}

/// Returns the secrets of a job, each with a row without a result.
fn references(job: &CoreEtlJob) -> Vec<(SecretKey, Row)> {
    let workload = format!("{}/{}", job.metadata.domain, job.metadata.name);
    let one = |((name, key), fields): (_, std::collections::BTreeSet<String>)| {
        let (name, key): (String, String) = (name, key);
        let fields: Vec<String> = fields.into_iter().collect();
        let mut row = Row {
            workload: workload.clone(),
            secret: format!("{name}/{key}"),
            location: String::new(),
            state: State::Missing,
            fields,
        };
        match SecretKey::new(&name, &key, row.fields.first().map_or("", String::as_str)) {
            Ok(secret) => Some((secret, row)),
            Err(error) => {
                row.state = State::Failed(error.to_string());
                None
            }
        }
    };
    job.secret_references().into_iter().filter_map(one).collect()
}

/// Searches the providers of this machine. Secrets of executors alone are for Kubernetes.
async fn on_machine(providers: &Providers, job: &CoreEtlJob, rows: &mut Vec<Row>) {
    let is_of_executors = |field: &String| field.starts_with("pods.executors.");
    let (secrets, mut found): (Vec<SecretKey>, Vec<Row>) =
        references(job).into_iter().filter(|(_, row)| !row.fields.iter().all(is_of_executors)).unzip();
    if job.placement.backends.as_slice() == [Backend::Kubernetes] {
        for row in &mut found {
            "the namespace of the domain on a cluster".clone_into(&mut row.location);
            row.state =
                State::Unknown("the job runs on Kubernetes only: name a cluster by `--cluster`".to_owned());
        }
        rows.extend(found);
        return;
    }
    let provider = job.secrets.as_ref().map(KubernetesName::as_str);
    match providers.find(provider, job.metadata.domain.as_str(), &secrets).await {
        Ok(all) => {
            for (row, Found { location, is_found }) in found.iter_mut().zip(all) {
                row.location = location;
                row.state = match is_found {
                    Ok(true) => State::Found,
                    Ok(false) => State::Missing,
                    Err(error) => State::Failed(error.to_string()),
                };
            }
        }
        Err(error) => {
            for row in &mut found {
                row.state = State::Failed(error.to_string());
            }
        }
    }
    rows.extend(found);
}

/// Searches the namespace of the job's domain. `known` has the secrets that were read.
async fn on_cluster(
    opened: &Opened,
    job: &CoreEtlJob,
    known: &mut BTreeMap<(String, String), Result<Keys, String>>,
    rows: &mut Vec<Row>,
) {
    for (secret, mut row) in references(job) {
        let domain = job.metadata.domain.as_str();
        let namespace = match opened.backend.namespace(domain) {
            Ok(namespace) => namespace,
            Err(error) => {
                rows.push(Row { state: State::Failed(error.to_string()), ..row });
                continue;
            }
        };
        row.location = format!(
            "the key `{}` of the secret `{}` in the namespace `{namespace}` of the cluster `{}`",
            secret.key(),
            secret.name(),
            opened.name
        );
        let place = (namespace.clone(), secret.name().to_owned());
        let keys = match known.get(&place) {
            Some(keys) => keys.clone(),
            None => {
                let read = opened.backend.secret_keys(&namespace, secret.name()).await;
                let read = read.map_err(|error| error.to_string());
                known.insert(place, read.clone());
                read
            }
        };
        row.state = match keys {
            Ok(Keys::Found(keys)) if keys.contains(secret.key()) => State::Found,
            Ok(Keys::Found(_) | Keys::Missing) => State::Missing,
            Ok(Keys::Forbidden) => {
                State::Unknown(format!("your credentials lack the right to `get` `secrets` in `{namespace}`"))
            }
            Err(error) => State::Failed(error),
        };
        rows.push(row);
    }
}
