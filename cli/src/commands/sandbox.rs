//! `dcp sandbox`

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use dcp_connect::client::Wanted;
use dcp_connect::sandboxes::NewSandbox;
use dcp_model::manifest;
use jiff::Timestamp;
use serde_json::json;

use super::serve::block_on;
use super::sql::{self, Input};
use crate::args::{
    DriverChoice, DriverSize, Format, SandboxArgs, SandboxCommand, SandboxCreate, SandboxDelete, SandboxList,
    SandboxSql,
};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::render::pools as render;
use crate::render::run::time;
use crate::sandboxes::{Chosen, SandboxClient};

pub(super) fn run(
    args: &SandboxArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    match &args.command {
        SandboxCommand::Create(args) => create(args, project, console),
        SandboxCommand::List(args) => list(args, project, console),
        SandboxCommand::Delete(args) => delete(args, project, console),
        SandboxCommand::Sql(args) => sql(args, project, console),
    }
}

fn create(args: &SandboxCreate, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let SandboxCreate { name, driver, size, ttl, catalog } = args;
    let DriverSize { cores, memory } = *size;
    let DriverChoice { domain, pool, engine, server } = driver.clone();
    let chosen = Chosen::new(project, name.as_deref())?;
    let new = NewSandbox {
        name: chosen.name.clone(),
        branch: chosen.branch.clone(),
        driver: Wanted { domain, pool, engine, cores, memory },
        catalog: catalog.clone(),
        ttl: read_ttl(ttl)?,
    };
    let created = block_on(async {
        let client = SandboxClient::open(project, &server).await?;
        client.create(&new, console).await
    })?;
    chosen.check(&created)?;
    let (name, expires) = (&created.name, time(created.expires));
    writeln!(console.out, "sandbox {name}: schema {}.{}, until {expires}", created.catalog, created.schema)?;
    if !console.quiet {
        writeln!(console.err, "  to use it: dcp sandbox sql {name}")?;
    }
    Ok(Verdict::Success)
}

fn read_ttl(text: &str) -> Result<Duration, Failure> {
    let read: Result<manifest::Duration, _> = serde_json::from_value(json!(text));
    read.map(|duration| Duration::from_secs(duration.secs())).map_err(|_| {
        Failure::usage(format!("`--ttl {text}` is no time"))
            .help("write a number with s, m, h or d, such as 8h")
    })
}

fn list(args: &SandboxList, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let found = block_on(async { SandboxClient::open(project, &args.server).await?.list().await })?;
    let look = console.out.look;
    let lines = match args.output {
        Format::Json => vec![format!("{:#}", json!({ "sandboxes": found }))],
        Format::Text if found.is_empty() => {
            vec!["you have no sandbox: `dcp sandbox create` creates one".to_owned()]
        }
        Format::Text => render::sandboxes(&found, look, Timestamp::now()),
    };
    for line in lines {
        writeln!(console.out, "{line}")?;
    }
    Ok(Verdict::Success)
}

fn delete(args: &SandboxDelete, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let SandboxDelete { name, domain, keep_schema, server } = args;
    block_on(async {
        let client = SandboxClient::open(project, server).await?;
        client.delete(domain.as_deref(), name, *keep_schema, console).await
    })?;
    if !console.quiet {
        let tables = if *keep_schema { "its schema stays" } else { "with its tables" };
        writeln!(console.out, "sandbox {name} is deleted, {tables}")?;
    }
    Ok(Verdict::Success)
}

fn sql(args: &SandboxSql, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let SandboxSql { name, sql, file, domain, server, output, limit } = args;
    let input = Input { sql: sql.as_deref(), file: file.as_deref(), output: *output, limit: *limit };
    sql::run_input(&input, console, async |console| {
        let client = SandboxClient::open(project, server).await?;
        sql::Place::sandbox(client, domain.as_deref(), name, console).await
    })
}
