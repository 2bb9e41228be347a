//! Runners in separate processes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dcp_runner::remote::{Options, Remote};
use dcp_tests::fake_spark::FakeSpark;

use crate::SUPERVISOR;

/// A Runner in a separate process.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) client: Remote,
}

impl Process {
    /// Starts a Runner, and returns none if it dies before it listens.
    pub(crate) fn start(
        fake_spark: &FakeSpark,
        database: &str,
        lease: Duration,
        die_at: u32,
    ) -> Option<Self> {
        Self::spawn(&mut Self::command(fake_spark, database, lease, &die_at.to_string()))
    }

    /// Returns the command of a Runner, for further arguments and variables.
    pub(crate) fn command(fake_spark: &FakeSpark, database: &str, lease: Duration, die_at: &str) -> Command {
        let lease = lease.as_millis().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dcp-test-runner"));
        command.arg(fake_spark.path("")).args([database, SUPERVISOR, &lease, die_at]);
        command
    }

    /// Starts the Runner of a command, and returns none if it dies before it listens.
    pub(crate) fn spawn(command: &mut Command) -> Option<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the Runner starts");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("the stream is piped");
        BufReader::new(stdout).read_line(&mut address).expect("the output can be read");
        if address.is_empty() {
            child.wait().expect("the Runner has ended");
            return None;
        }
        let mut options = Options::new(format!("http://{}", address.trim()), dcp_tests::TOKEN);
        options.retry_for = Duration::from_millis(200);
        Some(Self { child, client: Remote::new(options).expect("the address is valid") })
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("the Runner has ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the database of a Runner on a fake Spark's machine.
pub(crate) fn sqlite(fake_spark: &FakeSpark) -> String {
    fake_spark.path("runs.db").display().to_string()
}
