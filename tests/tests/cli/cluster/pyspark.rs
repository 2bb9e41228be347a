//! A real client of Spark Connect, in a process of its own, which does one step at a time.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Executes a query in its session, and another one in the next session once the driver has ended.
const PROGRAM: &str = "\
import signal
import sys
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession, functions as F

# PySpark itself repeats failed calls for ten minutes.
signal.alarm(300)

def session():
    return SparkSession.builder.remote(sys.argv[1]).getOrCreate()

def query(spark):
    rows = spark.range(1000).repartition(3).groupBy((F.col('id') % 2).alias('k')).agg(F.sum('id').alias('sum'))
    return [row.sum for row in rows.orderBy('k').collect()]

def report(*words):
    print(*words, flush=True)
    sys.stdin.readline()

spark = session()
first = spark.session_id
report('rows', *query(spark))
error = None
while 'SESSION_CHANGED' not in str(error):
    # A driver that ends responds for a while, and its queries succeed or fail.
    try:
        query(spark)
    except PySparkException as failure:
        error = failure
report('SESSION_CHANGED')
spark = session()
report('another session' if spark.session_id != first else 'the same session')
report('rows', *query(spark))
";

/// The rows of each query.
const ROWS: &str = "rows 249500 250000";

/// A running client. It is killed on drop.
pub(super) struct PySpark {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl PySpark {
    /// Starts a client with the address of a server, `sc://…`, and waits for its first query.
    pub(super) fn connect(url: &str) -> Self {
        let script = dcp_tests::workspace().join("scripts/connect-clients");
        let installed = Command::new(script).arg("4.1.3").stderr(Stdio::inherit()).output();
        let installed = installed.expect("the program can be run").stdout;
        let python = String::from_utf8(installed).expect("a path is text");
        let mut child = Command::new(python.trim())
            .args(["-W", "ignore", "-c", PROGRAM, url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client can be run");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut client = Self { child, input, output };
        assert_eq!(client.line(), ROWS);
        client
    }

    fn line(&mut self) -> String {
        self.output.next().expect("the client has not ended").expect("its output is text")
    }

    /// Does the next step, and returns what the client prints.
    fn step(&mut self) -> String {
        writeln!(self.input).expect("the client reads its input");
        self.line()
    }

    /// Checks that the session has ended with its driver, and that the next session has another driver.
    pub(super) fn finds_another_driver(mut self) {
        assert_eq!(self.step(), "SESSION_CHANGED");
        assert_eq!(self.step(), "another session");
        assert_eq!(self.step(), ROWS);
    }
}

/// Runs tests of `connect/tests/python` with a client of each version, and checks that they pass.
pub(super) fn run_tests(url: &str) {
    let script = dcp_tests::workspace().join("scripts/test-connect");
    let modules = ["test_basics.Queries", "test_basics.Settings", "test_basics.Errors", "test_interrupts"];
    let tested = Command::new(script)
        .args(modules)
        .env("DCP_CONNECT_URL", url)
        .env("DCP", &*crate::harness::DCP)
        .stdin(Stdio::null())
        .output()
        .expect("the tests can be run");
    let shown = String::from_utf8_lossy(&tested.stderr);
    assert!(tested.status.success(), "{shown}");
    assert_eq!(shown.lines().filter(|line| *line == "OK").count(), 3, "three clients are tested:\n{shown}");
}

impl Drop for PySpark {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
