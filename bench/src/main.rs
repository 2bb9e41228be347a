//! `dcp-bench`: generates the corpus, and runs the measurements that need no `dcp` process.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use dcp_bench::validate::{self, Folder, Threads};
use dcp_bench::{access, corpus, kubernetes, measure, reconcile, runner};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a corpus of manifests.
    Corpus {
        #[arg(long)]
        out: PathBuf,
        #[arg(long)]
        count: usize,
        #[arg(long, default_value_t = corpus::SEED)]
        seed: u64,
    },
    /// Times the steps of reading and validating a corpus on one thread, and prints them as JSON.
    Measure {
        corpus: PathBuf,
        #[arg(long, default_value_t = 7)]
        repeat: usize,
        /// Time the phases of validating instead, to find the slow ones.
        #[arg(long)]
        profile: bool,
    },
    /// Validates a corpus like `dcp validate`, without printing diagnostics.
    Validate {
        corpus: PathBuf,
        /// Use one thread.
        #[arg(long)]
        single: bool,
    },
    /// Prints the schema of manifests, like `dcp schema`.
    Schema,
    /// Measures a Runner, and prints the results as JSON. Its databases are in the folder for temporary files, which
    /// must be on a disk.
    Runner {
        /// The `dcp` binary that supervises executions.
        #[arg(long)]
        dcp: PathBuf,
        #[arg(long, default_value_t = 5)]
        repeat: usize,
        /// Duration of each measurement in each round.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Number of stored executions that have ended.
        #[arg(long, default_value_t = 1_000_000)]
        stored: u32,
        /// Number of executions to start one after the other.
        #[arg(long, default_value_t = 30)]
        starts: usize,
        /// Measure SQLite only.
        #[arg(long)]
        no_postgres: bool,
    },
    /// Measures what authorization adds to a call, and the latency of a caller while others send hostile calls. Prints
    /// the results as JSON.
    Access {
        #[arg(long, default_value_t = 5)]
        repeat: usize,
        /// Duration of each measurement in each round.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Measures a Runner with a real cluster of its own, and prints the results as JSON.
    Kubernetes(kubernetes::Options),
    /// Measures a reconciler against a Runner that responds at once, and prints the results as JSON. Its database is in
    /// the folder for temporary files, which must be on a disk.
    Reconcile {
        #[arg(long, default_value_t = 5)]
        repeat: usize,
        /// Number of continuous jobs.
        #[arg(long, default_value_t = 10_000)]
        jobs: usize,
        /// Duration of the measurement in the steady state.
        #[arg(long, default_value_t = 30.0)]
        steady: f64,
        /// Use PostgreSQL instead of SQLite.
        #[arg(long)]
        postgres: bool,
    },
    /// Applies continuous jobs. `reconcile` starts this command itself.
    #[command(hide = true)]
    ApplyStreams {
        database: String,
        #[command(flatten)]
        streams: reconcile::Streams,
    },
    /// Serves a Runner at an open and a guarded address until standard input ends. `access` starts this command itself.
    #[command(hide = true)]
    ServeGuarded { database: PathBuf },
    /// Serves a Runner without capacity until standard input ends. `runner` starts this command itself.
    #[command(hide = true)]
    ServeRunner { database: String },
}

/// The allocator of `dcp`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            _ = writeln!(io::stderr(), "dcp-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<ExitCode> {
    match command {
        Command::Validate { corpus, single } => return validate(&mut io::stdout().lock(), corpus, single),
        Command::ApplyStreams { database, streams } => {
            wait_for(reconcile::apply_streams(&database, streams))?;
        }
        Command::ServeGuarded { database } => wait_for(access::serve(&database))?,
        Command::ServeRunner { database } => wait_for(runner::serve(&database))?,
        command => {
            let text = output(command)?;
            io::stdout().lock().write_all(text.as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what a command prints once it has ended.
fn output(command: Command) -> io::Result<String> {
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).map_err(io::Error::other);
    let found = match command {
        Command::Corpus { out: folder, count, seed } => {
            let bytes = corpus::write(&folder, count, seed)?;
            return Ok(format!("{count} manifests of {} bytes on average\n", bytes / count.max(1)));
        }
        Command::Schema => return Ok(dcp_compiler::schema::MANIFEST.text().clone()),
        Command::Measure { corpus, repeat, profile } => {
            let steps = if profile { measure::phases } else { measure::steps };
            steps(&corpus, repeat.max(1))?
        }
        Command::Runner { dcp, repeat, seconds, stored, starts, no_postgres } => {
            let (rounds, starts, stored) = (repeat.max(1), starts.max(1), stored.max(1));
            let (time, postgres) = (time(seconds)?, !no_postgres);
            wait_for(runner::measure(&runner::Options { dcp, rounds, time, stored, starts, postgres }))?
        }
        Command::Access { repeat, seconds } => {
            wait_for(access::measure(&access::Options { rounds: repeat.max(1), time: time(seconds)? }))?
        }
        Command::Kubernetes(options) => wait_for(kubernetes::measure(&options))?,
        Command::Reconcile { repeat, jobs, steady, postgres } => {
            let (rounds, jobs) = (repeat.max(1), jobs.max(2 * reconcile::FAILURES));
            wait_for(reconcile::measure(&reconcile::Options {
                rounds,
                jobs,
                steady: time(steady)?,
                postgres,
            }))?
        }
        Command::Validate { .. }
        | Command::ApplyStreams { .. }
        | Command::ServeGuarded { .. }
        | Command::ServeRunner { .. } => unreachable!("these commands print by themselves"),
    };
    Ok(format!("{found:#}\n"))
}

fn validate(out: &mut impl Write, corpus: PathBuf, single: bool) -> io::Result<ExitCode> {
    let text = validate::project_text(&corpus)?;
    let project = validate::read_project(&text)?;
    let compiler = validate::compiler(&project, &text);
    let paths = validate::discover(&corpus)?;
    let threads = if single { Threads::One } else { Threads::All };
    let done = validate::run(&compiler, &Folder(corpus), &paths, threads);
    for found in &done.diagnostics {
        writeln!(out, "{} {} {}", found.severity.name(), found.code, found.message)?;
    }
    writeln!(out, "{} manifests, {} diagnostics", done.manifests.count(), done.diagnostics.len())?;
    Ok(if done.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn wait_for<T>(work: impl Future<Output = runner::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work).map_err(io::Error::other)
}
