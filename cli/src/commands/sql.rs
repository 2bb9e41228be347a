//! `dcp sql`

pub(super) mod output;
pub(super) mod place;
mod prompt;

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use dcp_compiler::sql;
use dcp_connect::client::Session;
use dcp_connect::is_lost;
use dcp_workspace::files;

use crate::args::{RowFormat, SqlArgs};
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::out::Console;
use crate::progress;
use crate::sessions::{Sessions, statement_failed};
pub(super) use place::Place;

/// Maximum size of a script.
const MAX_SCRIPT: u64 = 64 << 20;
/// Maximum number of rows that the prompt shows.
const PROMPT_ROWS: u32 = 1_000;
/// Time before it is shown that a statement waits.
const WAITING_DELAY: Duration = Duration::from_millis(1_500);
/// Maximum time for ending a session or cancelling a statement.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The statements of a command, and the form of their rows.
pub(super) struct Input<'a> {
    pub(super) sql: Option<&'a str>,
    pub(super) file: Option<&'a Path>,
    pub(super) output: Option<RowFormat>,
    pub(super) limit: Option<u32>,
}

pub(super) fn run(args: &SqlArgs, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let SqlArgs { sql, file, driver, size, output, limit } = args;
    let input = Input { sql: sql.as_deref(), file: file.as_deref(), output: *output, limit: *limit };
    run_input(&input, console, async |_| Ok(Place::Sessions(Sessions::open(project, driver, *size).await?)))
}

/// Runs the statements of a command in the session of a place.
pub(super) fn run_input(
    args: &Input<'_>,
    console: &mut Console,
    open: impl AsyncFnOnce(&mut Console) -> Result<Place, Failure>,
) -> Result<Verdict, Failure> {
    let look = console.out.look;
    let format = args.output.unwrap_or(if look.terminal { RowFormat::Table } else { RowFormat::Json });
    if format == RowFormat::Arrow && look.terminal {
        let message = "Arrow is binary, and is not written to a terminal";
        return Err(Failure::usage(message).help("redirect the output to a file"));
    }
    let script = script(args)?;
    super::serve::block_on(async {
        let place = open(console).await?;
        let session = place.session().await?;
        let mut runner = StatementRunner { place, session, has_begun: false, format, limit: args.limit };
        let done = match script {
            Some(script) => runner.run_script(&script, &mut Interrupts::new()?, console).await,
            None => prompt::run(&mut runner, console).await,
        };
        runner.release().await;
        done
    })
}

/// Returns the statements of the arguments or of the standard input; none for a prompt.
fn script(args: &Input<'_>) -> Result<Option<String>, Failure> {
    if let Some(sql) = args.sql {
        return Ok(Some(sql.to_owned()));
    }
    let bytes = match args.file {
        Some(path) => files::read_named(path, MAX_SCRIPT).map_err(|error| Failure::new(error.message))?,
        None if std::io::stdin().is_terminal() => return Ok(None),
        None => {
            let mut bytes = Vec::new();
            std::io::stdin().take(MAX_SCRIPT).read_to_end(&mut bytes)?;
            bytes
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| Failure::new("the statements are not UTF-8"))?;
    Ok(Some(text))
}

/// The outcome of a statement.
enum Outcome {
    Done,
    /// The user cancelled it.
    Cancelled,
}

/// Runs statements one after the other in a session.
struct StatementRunner {
    place: Place,
    session: Session,
    /// Whether a statement has begun the session.
    has_begun: bool,
    format: RowFormat,
    limit: Option<u32>,
}

impl StatementRunner {
    async fn run_script(
        &mut self,
        script: &str,
        interrupts: &mut Interrupts,
        console: &mut Console,
    ) -> Result<Verdict, Failure> {
        let statements = sql::statements(script);
        if script.trim().is_empty() {
            return Err(Failure::usage("there is no statement").help("for example: dcp sql 'SELECT 1'"));
        }
        if self.format == RowFormat::Arrow && statements.len() > 1 {
            let message = "a stream of Arrow has the rows of one statement, and there are several";
            return Err(Failure::usage(message).help("run them one by one, or use `--output json`"));
        }
        for range in statements {
            let statement = script.get(range).unwrap_or_default();
            match self.run(statement, interrupts, console).await? {
                Outcome::Done => {}
                Outcome::Cancelled => return Err(Failure::new("the statement was cancelled")),
            }
        }
        Ok(Verdict::Success)
    }

    /// Runs a statement, and writes its rows.
    async fn run(
        &mut self,
        statement: &str,
        interrupts: &mut Interrupts,
        console: &mut Console,
    ) -> Result<Outcome, Failure> {
        self.place.renew_token().await?;
        self.has_begun = true;
        let started = Instant::now();
        let mut interrupted = std::pin::pin!(interrupts.next());
        let waiting = progress::Waiting::new(console, "waiting for a driver", WAITING_DELAY);
        let executed = async {
            let batches = self.session.execute(statement, self.limit).await;
            let mut batches = batches.map_err(|status| Self::failed(&status))?;
            let first = batches.next().await.map_err(|status| Self::failed(&status))?;
            Ok::<_, Failure>((first, batches))
        };
        let executed = tokio::select! {
            executed = executed => Some(executed),
            () = interrupted.as_mut() => None,
        };
        drop(waiting);
        let Some(executed) = executed else {
            self.cancel().await;
            return Ok(Outcome::Cancelled);
        };
        let (first, batches) = executed?;
        let rows = output::Output { format: self.format, look: console.out.look, started };
        let written = tokio::select! {
            written = rows.write(first, batches, &mut console.out) => Some(written),
            () = interrupted.as_mut() => None,
        };
        match written {
            Some(written) => written.map(|()| Outcome::Done),
            None => {
                self.cancel().await;
                Ok(Outcome::Cancelled)
            }
        }
    }

    fn failed(status: &tonic::Status) -> Failure {
        match is_lost(status) {
            true => Failure::new(LOST).help("run the statement again, in a new session"),
            false => statement_failed(status),
        }
    }

    /// Begins a new session, after the driver of the last one has ended.
    async fn renew_session(&mut self, console: &mut Console) -> Result<(), Failure> {
        self.session = self.place.renewed(console).await?;
        Ok(())
    }

    async fn cancel(&self) {
        // If this fails, the end of the session cancels the statement.
        let _ = tokio::time::timeout(END_TIMEOUT, self.session.interrupt()).await;
    }

    async fn release(&self) {
        if !self.has_begun || !self.place.ends_with_the_command() {
            return;
        }
        // If this fails, the session ends with its idle timeout.
        let _ = tokio::time::timeout(END_TIMEOUT, self.session.release()).await;
    }
}

/// The message of a statement whose driver has ended.
const LOST: &str = "the driver of the session has ended, and its temporary views and settings with it";
