//! The continuous jobs of the benchmark. A separate process applies them, as people and pipelines do, so that its CPU
//! time and memory do not count as the reconciler's.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use dcp_model::primitive::Primitive;
use dcp_reconciler::apply::{CommitMetadata, Target, apply};
use dcp_reconciler::plan::{Context, Inclusion, compare};
use dcp_reconciler::publish::DagFolder;
use dcp_reconciler::reconcile::store::{Key, Store};
use dcp_reconciler::registry::Registry as _;
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::state::Action;
use dcp_reconciler::state::Scope;
use jiff::Timestamp;

use crate::runner::Result;

const DOMAINS: usize = 100;

/// The first `count` jobs; `generation` is the argument of their program.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Streams {
    #[arg(long)]
    pub count: usize,
    #[arg(long)]
    pub generation: u64,
}

fn scope() -> Scope {
    Scope::new("bench", None)
}

fn domain(number: usize) -> String {
    format!("domain-{}", number % DOMAINS)
}

pub(super) fn checkpoint(number: usize) -> String {
    format!("s3://lake/checkpoints/{}/stream-{number}", domain(number))
}

pub(super) fn key(number: usize) -> Key {
    let address = format!("ContinuousJob/{}/stream-{number}", domain(number));
    Key { scope: scope().to_string(), address }
}

fn manifest(number: usize, generation: u64) -> String {
    format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: stream-{number}, domain: {}, owner: bench}}\nspec:\n  \
         engine: {{version: \"4.1\"}}\n  job: {{pyspark: {{main: main.py, args: [\"{generation}\"]}}}}\n  \
         run:\n    continuous:\n      checkpoint: {}\n",
        domain(number),
        checkpoint(number)
    )
}

pub(super) async fn registry(database: &str) -> Result<Sql> {
    Ok(match database.starts_with("postgres") {
        true => Sql::postgres(database).await?,
        false => Sql::sqlite(Path::new(database)).await?,
    })
}

pub(super) async fn store(database: &str) -> Result<Store> {
    Ok(match database.starts_with("postgres") {
        true => Store::postgres(database).await?,
        false => Store::sqlite(Path::new(database)).await?,
    })
}

/// Runs a process that applies the jobs, and returns the time at which its commit began.
pub(super) async fn apply_in_subprocess(database: &str, streams: Streams) -> Result<Timestamp> {
    let mut command = Command::new(std::env::current_exe()?);
    let (count, generation) = (streams.count.to_string(), streams.generation.to_string());
    command.args(["apply-streams", database, "--count", &count, "--generation", &generation]);
    command.stdout(Stdio::piped());
    let done = tokio::task::spawn_blocking(move || command.spawn()?.wait_with_output()).await??;
    if !done.status.success() {
        return Err("the jobs could not be applied".into());
    }
    Ok(String::from_utf8(done.stdout)?.trim().parse()?)
}

/// Applies the jobs and leaves all others unchanged. Prints the time before the commit begins.
pub async fn apply_streams(database: &str, streams: Streams) -> Result<()> {
    let Streams { count, generation } = streams;
    let files = (0..count).map(|number| (format!("stream-{number:06}.yaml"), manifest(number, generation)));
    let compiled = dcp_tests::compile(&files.collect::<BTreeMap<_, _>>(), None);
    let desired: Vec<Primitive> = compiled.primitives;
    if desired.len() != 2 * count {
        return Err(dcp_tests::describe(&compiled.sources, &compiled.diagnostics).into());
    }
    let (registry, scope, folder) = (registry(database).await?, scope(), tempfile::tempdir()?);
    let state = registry.state(&scope).await?;
    let number = |name: &str| name.trim_start_matches("stream-").parse::<usize>();
    let comparison = compare(&desired, &state, |_, name| match number(name).is_ok_and(|it| it < count) {
        true => Inclusion::Compared,
        false => Inclusion::Unchanged,
    });
    let wanted = comparison.needed_bodies();
    let bodies = wanted.iter().cloned().zip(registry.bodies(&scope, &wanted).await?).collect();
    let context = Context { scope: scope.clone(), commit: None, locate: &|_, _, _| None };
    let plan = comparison.plan(&bodies, &context).map_err(|error| format!("{error:?}"))?;
    let dags = DagFolder::open("dags", folder.path())?;
    let target = Target { registry: &registry, dags: &dags, scope: &scope };
    let id = format!("{:032x}", rand::random::<u128>());
    writeln!(std::io::stdout(), "{}", Timestamp::now())?;
    let who = CommitMetadata { id, by: "benchmark".to_owned(), at: Timestamp::now() };
    let done = apply(target, &plan, &who, &mut |_| {}).await?;
    let counts = done.head.applied.map(|it| it.counts).unwrap_or_default();
    let action = if state.entries.is_empty() { Action::Create } else { Action::Redeploy };
    match counts.get(&action) {
        Some(_) => Ok(()),
        None => Err(format!("the apply has no action {}: {counts:?}", action.name()).into()),
    }
}
