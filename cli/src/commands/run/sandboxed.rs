//! `dcp run FILE --sandbox`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use dcp_connect::client::{Arguments, Batches, Rows, Session};
use dcp_connect::sandboxes::{Opened, Sandbox};
use dcp_model::manifest::Job;
use dcp_model::primitive::{Body, CoreEtlJob};
use dcp_workspace::project::Workspace;

use super::{compile, only_job, parameters, workload_id};
use crate::args::{self, ConnectServer, RowFormat};
use crate::commands::sql::output::Output;
use crate::commands::sql::place::note_new_session;
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::out::{Console, DIM};
use crate::render::sanitize;
use crate::sandboxes::rewrite::{Rewritten, SandboxTables};
use crate::sandboxes::{Chosen, SandboxClient};
use crate::sessions::statement_failed;

/// The catalog whose database `default` is the current one of a new session, unless `spark.sql.defaultCatalog` is set.
const SESSION_CATALOG: &str = "spark_catalog";

/// Runs the SQL of a file's job in a sandbox.
pub(super) fn run(
    home: &Workspace,
    file: Option<&Path>,
    name: &str,
    args: &args::Run,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let file = file.ok_or_else(|| {
        Failure::usage("a sandbox runs the jobs of a file").help("give the path of a manifest")
    })?;
    let Some(primitives) = compile(home, file, args.target.as_deref(), console)? else {
        return Ok(Verdict::Errors);
    };
    let continuous = primitives.iter().filter_map(|primitive| match &primitive.body {
        Body::ContinuousJob(job) => Some(job.job.clone()),
        _ => None,
    });
    let continuous: BTreeSet<String> = continuous.collect();
    let jobs = primitives.into_iter().filter_map(|primitive| match primitive.body {
        Body::CoreEtlJob(job) => Some(*job),
        _ => None,
    });
    let job = only_job(jobs.collect(), file, args.select.as_deref())?;
    let statements = statements(&job, &continuous)?;
    let arguments = arguments(&job, &args.param)?;
    let chosen = Chosen::new(Some(&home.root), Some(name).filter(|name| !name.is_empty()))?;
    let server = ConnectServer { target: args.target.clone(), server: None };
    crate::commands::serve::block_on(async {
        let client = SandboxClient::open(Some(&home.root), &server).await?;
        let domain = job.metadata.domain.to_string();
        let Opened { sandbox, is_new_session } = client.enter(Some(&domain), &chosen.name, console).await?;
        chosen.check(&sandbox)?;
        if is_new_session {
            note_new_session(console)?;
        }
        let session = client.session(&sandbox).await?;
        let run = SandboxRun { session, arguments };
        let mut interrupts = Interrupts::new()?;
        let ran = tokio::select! {
            ran = run.run(&sandbox, &statements, console) => ran,
            () = interrupts.next() => {
                // If this fails, the statement goes on until it ends.
                let _ = run.session.interrupt().await;
                Err(Failure::new("interrupted: the statement is cancelled, and later ones did not run"))
            }
        };
        ran.map(|()| Verdict::Success)
    })
}

/// Returns the statements of a job that can run in a sandbox.
fn statements(job: &CoreEtlJob, continuous: &BTreeSet<String>) -> Result<Vec<String>, Failure> {
    let id = workload_id(job);
    let help = "a sandbox runs jobs of SQL (`job.sql`) only";
    let Job::Sql(sql) = &job.job else {
        let kind = job.job.kind();
        return Err(Failure::new(format!(
            "`{id}` is a job of the kind `{kind}`, and does not run in a sandbox"
        ))
        .help(help));
    };
    if continuous.contains(&format!("CoreEtlJob/{id}")) {
        return Err(Failure::new(format!("`{id}` is continuous, and does not run in a sandbox")).help(help));
    }
    let statements = job.sql_statements(sql.query.as_deref().unwrap_or_default());
    let statements =
        statements.ok_or_else(|| Failure::new("the statements of the job are not within its SQL"))?;
    Ok(statements.into_iter().filter(|it| !it.trim().is_empty()).map(str::to_owned).collect())
}

/// Returns the values of a job's parameters.
fn arguments(job: &CoreEtlJob, given: &[String]) -> Result<Arguments, Failure> {
    let run = format!("sandbox-{:032x}", rand::random::<u128>());
    let values = dcp_runner::parameters::values(job, &parameters(given)?, &run);
    let values = values.map_err(|problems| {
        let messages: Vec<String> = problems.into_iter().map(|it| it.message).collect();
        Failure::usage(messages.join("; ")).help("write `--param name=value`")
    })?;
    let mut arguments = Arguments::default();
    for (name, value) in values {
        arguments.add(&name, value.kind, &value.value).map_err(|expected| {
            Failure::usage(format!("in a sandbox, the parameter `{name}` has to be {expected}"))
        })?;
    }
    Ok(arguments)
}

/// The run of a job in a session.
struct SandboxRun {
    session: Session,
    arguments: Arguments,
}

impl SandboxRun {
    async fn run(
        &self,
        sandbox: &Sandbox,
        statements: &[String],
        console: &mut Console,
    ) -> Result<(), Failure> {
        let mut tables = self.tables(sandbox).await?;
        // All of them are checked before the first one runs.
        let mut all = Vec::with_capacity(statements.len());
        for (index, statement) in statements.iter().enumerate() {
            all.push(tables.rewrite(statement).map_err(|why| rejected(index, statement, &why))?);
        }
        self.leave_schema().await?;
        if !console.quiet {
            let note = "note: the job runs on a driver of the pool: its settings, resources and dependencies are not used";
            writeln!(console.err, "{note}")?;
        }
        let last = all.len().saturating_sub(1);
        let mut shown = BTreeSet::new();
        for (index, statement) in all.iter().enumerate() {
            for (original, new) in statement.replaced.iter().filter(|it| shown.insert(*it)) {
                if !console.quiet {
                    writeln!(console.out, "{} -> {}", sanitize(original), sanitize(new))?;
                }
            }
            self.execute(statement, index == last, console).await?;
        }
        Ok(())
    }

    async fn execute(
        &self,
        statement: &Rewritten,
        is_last: bool,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let look = console.out.look;
        if let Some((new, original)) = &statement.missing {
            self.create_like(new, original).await?;
            if !console.quiet {
                let (new, original) = (sanitize(new), sanitize(original));
                writeln!(
                    console.out,
                    "{}",
                    look.paint(DIM, format!("{new} is created without rows, like {original}"))
                )?;
            }
        }
        console.flush()?;
        let started = Instant::now();
        let batches = self.session.execute_with(&statement.sql, &self.arguments, None).await;
        let mut batches = batches.map_err(|status| statement_failed(&status))?;
        let first = batches.next().await.map_err(|status| statement_failed(&status))?;
        let has_rows = first
            .as_ref()
            .is_some_and(|data| Rows::read(data).is_ok_and(|rows| !rows.schema().columns().is_empty()));
        if is_last && has_rows {
            let format = if look.terminal { RowFormat::Table } else { RowFormat::Json };
            return Output { format, look, started }.write(first, batches, &mut console.out).await;
        }
        drain(batches).await
    }

    /// Creates a table of the sandbox without rows, with the columns of another.
    async fn create_like(&self, new: &str, original: &str) -> Result<(), Failure> {
        if self.command(&format!("CREATE TABLE IF NOT EXISTS {new} LIKE {original}")).await.is_ok() {
            return Ok(());
        }
        // Some catalogs do not have `LIKE`.
        self.command(&format!("CREATE TABLE IF NOT EXISTS {new} AS SELECT * FROM {original} WHERE false"))
            .await
    }

    /// Returns the tables that the sandbox has.
    async fn tables(&self, sandbox: &Sandbox) -> Result<SandboxTables, Failure> {
        let Sandbox { catalog, schema, .. } = sandbox.clone();
        let rows = self.rows(&format!("SHOW TABLES IN `{catalog}`.`{schema}`")).await?;
        let mut tables = BTreeSet::new();
        for row in rows {
            if let [_, Some(name), is_temporary, ..] = row.as_slice()
                && is_temporary.as_deref() != Some("true")
            {
                tables.insert(name.to_lowercase());
            }
        }
        Ok(SandboxTables { catalog, schema, tables, temporary_views: BTreeSet::new() })
    }

    /// Makes the schema of a new session the current one, so that names mean the same as in the job.
    async fn leave_schema(&self) -> Result<(), Failure> {
        let rows = self.rows("SET spark.sql.defaultCatalog").await?;
        let value = rows.first().and_then(|row| row.get(1)).cloned().flatten();
        let default = value
            .filter(|it| it.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
        self.command(&format!("USE {SESSION_CATALOG}.default")).await?;
        match default.filter(|name| name != SESSION_CATALOG) {
            Some(name) => self.command(&format!("SET CATALOG `{name}`")).await,
            None => Ok(()),
        }
    }

    async fn command(&self, sql: &str) -> Result<(), Failure> {
        let batches = self.session.execute(sql, None).await;
        drain(batches.map_err(|status| statement_failed(&status))?).await
    }

    async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let batches = self.session.execute(sql, None).await;
        let mut batches = batches.map_err(|status| statement_failed(&status))?;
        let mut rows = Vec::new();
        while let Some(data) = batches.next().await.map_err(|status| statement_failed(&status))? {
            rows.extend(Rows::read(&data).and_then(|rows| rows.cells()).map_err(Failure::new)?);
        }
        Ok(rows)
    }
}

async fn drain(mut batches: Batches) -> Result<(), Failure> {
    while batches.next().await.map_err(|status| statement_failed(&status))?.is_some() {}
    Ok(())
}

/// Returns the failure of a statement that can't run in a sandbox.
fn rejected(index: usize, statement: &str, why: &str) -> Failure {
    let first: String = sanitize(statement.trim()).chars().take(60).collect();
    let message = format!("statement {} (`{first}`) can't run in a sandbox: it {}", index + 1, sanitize(why));
    Failure::new(message)
        .help("nothing ran; write to tables by their names, or run the job without `--sandbox`")
}
