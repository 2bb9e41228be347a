use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dcp_tests::kafka::jars;
use dcp_tests::postgres::{PASSWORD, tcp_database};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::harness::{DCP, Sandbox};

const STREAM: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: moves, domain: shop, owner: o@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    stream:
      sources:
        moves: {files: {path: \"file://DIR/in\", format: json, schema: {sku: string, n: int}, maxFilesPerTrigger: 1}}
      query: SELECT sku, n FROM moves
      sink: SINK
      checkpoint: file://DIR/checkpoint
  dependencies: {jars: [\"file://JAR\"]}
  run: {manual: {}}
  spark: {conf: {spark.eventLog.compress: falseCONF}}
  retry: {attempts: 3, backoff: 1s, maxBackoff: 1s}
  resources: {driver: {memory: 512m}, executors: {cores: 1, memory: 512m}}
";

/// Points of the second batch at which the driver waits while the test holds the advisory lock of that number: within
/// the transaction that writes the batch, and after it.
const WITHIN: i64 = 1;
const AFTER: i64 = 2;
const POINTS: &str = "
CREATE FUNCTION within() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT max(batch) FROM dcp_batches) = 1 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER within AFTER INSERT ON moves FOR EACH STATEMENT EXECUTE FUNCTION within();
CREATE FUNCTION after() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE is_written boolean;
BEGIN
  IF to_regclass('dcp_batches') IS NOT NULL THEN
    EXECUTE 'SELECT max(batch) = 1 FROM dcp_batches' INTO is_written;
    IF is_written THEN PERFORM pg_advisory_xact_lock_shared(2); END IF;
  END IF;
END $$;
CREATE EVENT TRIGGER after ON ddl_command_start WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION after();
";

/// A connection of the test to the database of the sink, whose user and password no other process knows.
struct Database {
    connection: PgConnection,
    url: String,
    user: String,
    password: String,
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(&format!("postgres://dcp:{PASSWORD}@{url}")).await.expect("PostgreSQL responds")
}

impl Database {
    async fn new() -> Self {
        let (port, name) = tokio::task::spawn_blocking(tcp_database).await.expect("PostgreSQL starts");
        let url = format!("127.0.0.1:{port}/{name}");
        let (user, password) = (format!("user_{name}"), format!("{PASSWORD}-{}-{name}", std::process::id()));
        let mut database = Self { connection: connect(&url).await, url, user, password };
        let role = format!("CREATE ROLE {} SUPERUSER LOGIN PASSWORD '{}'", database.user, database.password);
        database.run(role).await;
        database
    }

    async fn run(&mut self, statement: impl Into<String>) {
        let statement = statement.into();
        sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut self.connection)
            .await
            .expect(&statement);
    }

    async fn texts(&mut self, query: &str) -> Vec<String> {
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_all(&mut self.connection).await.expect("the query succeeds")
    }

    /// Waits until the driver waits for the lock of a point.
    async fn wait_until_reached(&mut self, point: i64, run: &mut Child, sandbox: &Sandbox) {
        let query = format!(
            "SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = {point} \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        );
        let deadline = Instant::now() + Duration::from_mins(5);
        while self.texts(&query).await.is_empty() {
            let ended = run.try_wait().expect("the command is a child process");
            assert_eq!(ended, None, "the command ended before point {point}: {}", log(sandbox));
            assert!(Instant::now() < deadline, "point {point} was not reached: {}", log(sandbox));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Returns the folder in `/proc` and the command line of each process.
fn command_lines() -> impl Iterator<Item = (PathBuf, String)> {
    fs::read_dir("/proc").expect("/proc exists").flatten().map(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        (process.path(), String::from_utf8_lossy(&line).into_owned())
    })
}

/// Returns the Spark JVMs that work in a folder.
fn drivers(folder: &Path) -> Vec<Pid> {
    let lines = command_lines()
        .filter(|(_, line)| line.contains("SparkSubmit") && line.contains(&*folder.to_string_lossy()));
    let ids = lines.filter_map(|(process, _)| Some((pid(process.file_name()?.to_str()?)?, parent(&process))));
    let found: Vec<_> = ids.collect();
    // A process that a JVM starts has the JVM's command line at first.
    let is_jvm = |(_, parent): &(Pid, Option<Pid>)| !found.iter().any(|(pid, _)| Some(*pid) == *parent);
    found.iter().filter(|it| is_jvm(it)).map(|(pid, _)| *pid).collect()
}

fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

/// Returns the parent of a process, if the process exists.
fn parent(process: &Path) -> Option<Pid> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    pid(status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim())
}

fn kill_driver(folder: &Path) {
    let drivers = drivers(folder);
    assert_eq!(drivers.len(), 1, "one driver runs");
    // The driver may just have ended by itself.
    let _ = kill_process(drivers[0], Signal::KILL);
}

/// Returns the files below a folder that contain a text.
fn files_with(text: &str, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(text, &path));
        } else if fs::read(&path).is_ok_and(|it| it.windows(text.len()).any(|it| it == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn project(sink: &str, jar: &str, conf: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().display().to_string();
    let stream = STREAM.replace("SINK", sink).replace("JAR", jar).replace("CONF", conf);
    let stream = stream.replace("DIR", &folder);
    sandbox.write("stream.yaml", stream).write("dcp.yaml", "project: shop\nmanifests: [stream.yaml]\n");
    // The first and the second batch.
    sandbox.write("in/1.json", "{\"sku\":\"a\",\"n\":1}\n{\"sku\":\"b\",\"n\":1}\n");
    sandbox.write("in/2.json", "{\"sku\":\"b\",\"n\":3}\n{\"sku\":\"c\",\"n\":2}\n{\"sku\":\"b\",\"n\":2}\n");
    sandbox
}

fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command(&DCP);
    command.args(args).env("SPARK_HOME", dcp_tests::spark_home()).stdin(Stdio::null());
    command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
    command
}

fn start(sandbox: &Sandbox) -> Child {
    let log = fs::File::create(sandbox.join("run.log")).expect("the temporary folder is writable");
    let mut command = command(sandbox, &["run", "stream.yaml"]);
    command.stdout(Stdio::null()).stderr(log).spawn().expect("the binary can be run")
}

/// Returns the output of the command and the logs of the drivers.
fn log(sandbox: &Sandbox) -> String {
    let drivers = sandbox.run(&["logs", "shop/moves", "--all"]);
    format!("{}\n{}{}", sandbox.read("run.log"), drivers.stdout, drivers.stderr)
}

async fn wait_for_success(run: &mut Child, sandbox: &Sandbox) {
    let deadline = Instant::now() + Duration::from_mins(5);
    loop {
        if let Some(ended) = run.try_wait().expect("the command is a child process") {
            return assert!(ended.success(), "{}", log(sandbox));
        }
        assert!(Instant::now() < deadline, "the command has not ended: {}", log(sandbox));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs a stream whose driver is killed within the transaction of a batch, and again after it.
async fn run_with_two_kills(mode: &str, columns: &str, expected: &[&str]) {
    let mut database = Database::new().await;
    database.run(format!("CREATE TABLE moves ({columns}); {POINTS}")).await;
    let sink = format!(
        "{{jdbc: {{url: \"jdbc:postgresql://{}\", table: moves, user: {}, password: \"${{secret.db/password}}\", {mode}}}}}",
        database.url, database.user
    );
    let jar = jars("tests/sinks").join("postgresql-42.7.8.jar").display().to_string();
    let sandbox = project(&sink, &jar, "");
    sandbox.write(".dcp/secrets/db/password", &database.password);
    let secret = sandbox.join(".dcp/secrets/db/password");
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("the file belongs to this user");
    let mut holder = connect(&database.url).await;
    let mut hold = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut holder).await.expect("the lock can be changed");
    };
    hold(format!("SELECT pg_advisory_lock({WITHIN}), pg_advisory_lock({AFTER})")).await;
    let mut run = start(&sandbox);
    for point in [WITHIN, AFTER] {
        database.wait_until_reached(point, &mut run, &sandbox).await;
        let is_leaked = command_lines().any(|(_, line)| line.contains(&database.password));
        assert!(!is_leaked, "the password is in a command line");
        kill_driver(sandbox.path());
        hold(format!("SELECT pg_advisory_unlock({point})")).await;
    }
    wait_for_success(&mut run, &sandbox).await;
    assert_eq!(database.texts("SELECT sku || n FROM moves ORDER BY 1").await, expected);
    assert_eq!(database.texts("SELECT batch::text FROM dcp_batches").await, ["1"]);
    let staging = "SELECT tablename::text FROM pg_tables WHERE tablename LIKE 'dcp_stage%'";
    assert_eq!(database.texts(staging).await, [""; 0], "staging tables of killed drivers are removed");
    assert_eq!(files_with(&database.password, sandbox.path()), [secret.display().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_rows_are_written_once_despite_driver_kills() {
    run_with_two_kills("mode: appendOnce", "sku text, n int", &["a1", "b1", "b2", "b3", "c2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upserted_rows_are_written_once_despite_driver_kills() {
    let mode = "mode: upsert, keys: [sku], orderBy: n";
    run_with_two_kills(mode, "sku text PRIMARY KEY, n int", &["a1", "b3", "c2"]).await;
}

const LAKE: &str = ", spark.sql.catalog.lake: org.apache.iceberg.spark.SparkCatalog, \
                    spark.sql.catalog.lake.type: hadoop, spark.sql.catalog.lake.warehouse: \"file://DIR/lake\"";

/// Runs SQL as a separate job, and returns its rows.
fn sql(sandbox: &Sandbox, query: &str) -> serde_json::Value {
    let stream = sandbox.read("stream.yaml");
    let (head, rest) = stream.split_once("  job:\n").expect("the manifest has a job");
    let (_, tail) = rest.split_once("  dependencies:").expect("the manifest has dependencies");
    let head = head.replace("name: moves", "name: query");
    let job = format!("  job: {{sql: {{query: \"{query}\", returnResult: true}}}}\n");
    sandbox.write("query.yaml", format!("{head}{job}  dependencies:{tail}"));
    let run = |args: &[&str]| {
        sandbox.capture(args, &command(sandbox, args).output().expect("the binary can be run"))
    };
    let ran = run(&["run", "query.yaml"]).exits_with(0);
    let id = ran.stderr.split("dcp result ").nth(1).and_then(|rest| rest.split_whitespace().next());
    run(&["result", id.expect("the output names the result"), "--output", "json"]).exits_with(0).json()
}

/// The driver is killed after the merge and before the commit to the checkpoint. The repeated merge changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn merged_rows_are_written_once_despite_driver_kills() {
    let jar = jars("tests/sinks").join("iceberg-spark-runtime-4.1_2.13-1.12.0.jar").display().to_string();
    let sink = "{merge: {table: lake.shop.stock, keys: [sku], orderBy: n, delete: gone}}";
    let sandbox = project(sink, &jar, LAKE);
    sandbox.edit("stream.yaml", "SELECT sku, n FROM", "SELECT sku, n, sku = 'a' AND n > 1 AS gone FROM");
    // The second batch updates one row, deletes one, and adds one.
    sandbox.write("in/2.json", "{\"sku\":\"b\",\"n\":3}\n{\"sku\":\"c\",\"n\":2}\n{\"sku\":\"b\",\"n\":2}\n{\"sku\":\"a\",\"n\":5}\n");
    let made = "CREATE TABLE lake.shop.stock (sku string, n int) USING iceberg; SELECT 1 AS made";
    assert_eq!(sql(&sandbox, made), serde_json::json!([{"made": 1}]));
    let mut run = start(&sandbox);
    // Each commit of the table writes a metadata file; the first is for the creation.
    let (merged, committed) =
        (sandbox.join("lake/shop/stock/metadata/v3.metadata.json"), sandbox.join("checkpoint/commits"));
    let deadline = Instant::now() + Duration::from_mins(5);
    while !merged.exists() {
        assert_eq!(
            run.try_wait().expect("the command is a child process"),
            None,
            "the command ended: {}",
            log(&sandbox)
        );
        assert!(Instant::now() < deadline, "the second batch was not merged: {}", log(&sandbox));
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_driver(sandbox.path());
    // The driver may have committed the batch to the checkpoint before it was killed, so remove that commit.
    for name in ["1", ".1.crc"] {
        let _ = fs::remove_file(committed.join(name));
    }
    wait_for_success(&mut run, &sandbox).await;
    let rows = "SELECT sku || n AS row FROM lake.shop.stock UNION ALL SELECT 'snapshots ' || count(*) FROM \
                lake.shop.stock.snapshots ORDER BY row";
    let expected = serde_json::json!([{"row": "b3"}, {"row": "c2"}, {"row": "snapshots 3"}]);
    assert_eq!(sql(&sandbox, rows), expected, "{}", log(&sandbox));
    assert!(committed.join("1").exists(), "the batch was committed in the end");
}
