//! One Spark for all streams of these tests.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use dcp_tests::kafka::jars;
use dcp_tests::postgres::PASSWORD;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The result of a stream that processed all available data.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) progress: Vec<Value>,
    pub(crate) error: Option<String>,
}

impl Outcome {
    /// Returns the number of rows of each batch that is not empty.
    pub(crate) fn batches(&self) -> Vec<u64> {
        let rows = self.progress.iter().map(|it| it["numInputRows"].as_u64().expect("the value is a number"));
        rows.filter(|rows| *rows > 0).collect()
    }
}

/// Runs the task of a stream until it has processed all available data.
pub(crate) async fn run(task: &str, conf: &BTreeMap<String, String>) -> Outcome {
    // Resolves the secret, like a backend that starts a driver.
    let task = task.replace("${secret.db/password}", PASSWORD);
    let task: Value = serde_json::from_str(&task).expect("the text is JSON");
    serde_json::from_value(send(&json!({"task": task, "conf": conf})).await)
        .expect("the response is an outcome")
}

/// Runs SQL, and returns the first column of its rows.
pub(crate) async fn rows(sql: &str) -> Vec<String> {
    serde_json::from_value(send(&json!({"sql": sql})).await).expect("the response has texts")
}

async fn send(what: &Value) -> Value {
    static DRIVER: LazyLock<Driver> = LazyLock::new(Driver::start);
    let line = format!("{what}\n");
    let mut driver = TcpStream::connect(("127.0.0.1", DRIVER.port)).await.expect("the driver listens");
    driver.write_all(line.as_bytes()).await.expect("the driver listens");
    let mut response = String::new();
    let read = timeout(Duration::from_mins(5), driver.read_to_string(&mut response)).await;
    read.expect("the driver responds in time").expect("the driver responds");
    serde_json::from_str(&response).expect("the driver responds with JSON; otherwise, its error is on stderr")
}

const MAX_START: Duration = Duration::from_mins(5);

struct Driver {
    port: u16,
    /// Ends, together with its Spark, when its standard input closes: if this process ends for any reason.
    _process: Child,
    /// The warehouse of its catalog `lake`.
    _lake: TempDir,
}

impl Driver {
    fn start() -> Self {
        let workspace = dcp_tests::workspace();
        let lake = TempDir::new().expect("the temporary folder is writable");
        let mut process = Command::new(python())
            .arg(workspace.join("tests/tests/streaming/driver.py"))
            .env_remove("SPARK_HOME")
            .env("PYTHONPATH", workspace.join("runtime"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYSPARK_SUBMIT_ARGS", arguments(lake.path()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut output = BufReader::new(process.stdout.take().expect("the output is piped"));
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut port = String::new();
            let read = output.read_line(&mut port).map(|_| port);
            // After the timeout below, the channel has no receiver.
            let _ = sender.send(read);
            // Spark's output appears among the output of the tests.
            std::io::copy(&mut output, &mut std::io::stderr())
        });
        let port = receiver.recv_timeout(MAX_START).expect("the driver starts in time");
        let port = port.expect("the output can be read");
        Self {
            port: port.trim().parse().expect("the driver prints its port"),
            _process: process,
            _lake: lake,
        }
    }
}

/// Returns the Python of the environment that `scripts/spark` installs.
fn python() -> PathBuf {
    dcp_tests::spark_home().ancestors().nth(4).expect("Spark is in an environment").join("bin/python")
}

fn arguments(lake: &Path) -> String {
    // The programs end before full optimisation would pay off.
    format!(
        "--driver-java-options -XX:TieredStopAtLevel=1 --conf spark.driver.host=127.0.0.1 \
         --conf spark.sql.catalog.lake=org.apache.iceberg.spark.SparkCatalog --conf spark.sql.catalog.lake.type=hadoop \
         --conf spark.sql.catalog.lake.warehouse={} --conf spark.ui.enabled=false --conf spark.jars={}/*.jar,{}/*.jar pyspark-shell",
        lake.display(),
        jars("tests/kafka/connector").display(),
        jars("tests/sinks").display()
    )
}
