//! Jobs of every kind on a real Spark, from the manifest to their output.

mod addresses;
mod connect;
mod drain;
mod logging;
mod sizing;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dcp_gateway::local::Local;
use dcp_gateway::local::installation::Installations;
use dcp_gateway::{Compute, ConnectKey, Cursor, End, Name, Phase};
use dcp_model::manifest::Backend;
use dcp_model::primitive::CoreEtlJob;
use dcp_runner::execution::{Execution, Id, Policy};
use dcp_runner::lower::{Input, lower};
use dcp_runner::machine::{Event, apply_event};
use dcp_runner::parameters::values;
use dcp_runner::results::{Error, Format, Results};
use dcp_tests::spark_home as home;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use tempfile::TempDir;

struct Project {
    folder: TempDir,
    /// The key of the backend.
    connect_key: Option<ConnectKey>,
}

impl Project {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("the temporary folder is writable"), connect_key: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("the path is in the folder"))
            .expect("the folder can be created");
        fs::write(&path, text).expect("the file can be written");
        path
    }

    /// Returns the job of a manifest with this `spec` and small resources.
    fn job(&self, spec: &str) -> CoreEtlJob {
        let spec = spec.replace("%DIR%", &self.folder.path().display().to_string());
        let small = "  resources: {driver: {memory: 512m}, executors: {memory: 512m, cores: 2}}\n";
        dcp_tests::job(&format!("{small}{spec}"))
    }

    /// Runs a job, and returns its end and the driver's log.
    async fn run(&self, job: &CoreEtlJob, given: &[(&str, &str)], results: Option<&str>) -> (End, String) {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let values = values(job, &given, "run-1").expect("the values are valid");
        let mut execution = Execution::new(
            Id::parse("a1").expect("the id is valid"),
            POLICY,
            Backend::Local,
            Timestamp::UNIX_EPOCH,
        );
        apply_event(&mut execution, Event::Stepped, Timestamp::UNIX_EPOCH);
        let input = Input { job, execution: &execution, values: &values, streaming: None, results };
        self.attempt(&input).await
    }

    /// Runs an attempt, and returns its end and the driver's log.
    async fn attempt(&self, input: &Input<'_>) -> (End, String) {
        let local = self.local();
        let application = lower(input).expect("the job can be lowered");
        local.create(&application).await.expect("the application starts");
        let name: Name = input.execution.name().parse().expect("the name is valid");
        wait_for_end(&local, &name).await
    }

    /// Returns the local backend with a real Spark.
    fn local(&self) -> Local {
        let variable = |name: &str| match name {
            "SPARK_HOME" => Some(home().into()),
            name => std::env::var_os(name),
        };
        let supervisor = vec![env!("CARGO_BIN_EXE_dcp-test-supervisor").to_owned()];
        let installations = Installations::find(variable);
        let local = Local::new(&self.path("runs"), self.folder.path(), installations, supervisor);
        local.expect("the backend can be created").with_connect_key(self.connect_key.clone())
    }
}

/// Waits for the end of an application, and returns it with the driver's log.
async fn wait_for_end(local: &Local, name: &Name) -> (End, String) {
    let deadline = Instant::now() + Duration::from_mins(5);
    loop {
        let status = local.get(name).await.expect("the backend responds").expect("the application is known");
        if let (Phase::Ended, Some(end)) = (status.phase, status.end) {
            let log = local.logs(name, &Cursor::default(), 1 << 20).await.expect("the application has a log");
            return (end, String::from_utf8_lossy(&log.bytes).into_owned());
        }
        assert!(Instant::now() < deadline, "the application did not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) const POLICY: Policy = Policy {
    attempts: 1,
    remedies: 0,
    backoff_seconds: 0,
    max_backoff_seconds: 0,
    causes: Vec::new(),
    start_seconds: 600,
    run_seconds: None,
    stop_seconds: 10,
    ttl_seconds: 3600,
};

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path, ending)),
            path if path.to_string_lossy().ends_with(ending) => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Returns the sorted lines of all files below a folder with an extension.
fn lines(folder: &Path, ending: &str) -> Vec<String> {
    let texts =
        files(folder, ending).into_iter().map(|path| fs::read_to_string(path).expect("the text is UTF-8"));
    let mut lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// Returns the rows of a query as JSON, or the driver's log if it failed.
async fn result_of(project: &Project, execution: &str, query: &str) -> Result<String, String> {
    let query = query.lines().fold(String::new(), |text, line| text + "        " + line + "\n");
    let job = project.job(&format!(
        "  spark: {{conf: {{spark.sql.timeType.enabled: 'true'}}}}\n  job:\n    sql:\n      returnResult: true\n      query: |\n{query}"
    ));
    let results =
        Results::open(&project.path(execution).display().to_string()).expect("the location is valid");
    let id = Id::parse("a1").expect("the id is valid");
    let (end, log) = project.run(&job, &[], Some(&results.location(&id, 1))).await;
    if !end.succeeded {
        return Err(log);
    }
    let pieces = results.read(&id, 1, Format::Json).await.expect("the file exists");
    let bytes = pieces.try_collect::<Vec<_>>().await.expect("the file can be read").concat();
    Ok(String::from_utf8(bytes).expect("the text is UTF-8"))
}

#[tokio::test]
async fn results_support_every_type_and_name_of_spark() {
    let project = Project::new();
    let query = "SELECT count(1), max(1) AS `größe`, 2 AS two, 3 AS two, map(1, TIME'01:02:03') AS times,\n\
                 parse_json('{\"a\":[1,null]}') AS v, INTERVAL '1-2' YEAR TO MONTH AS months,\n\
                 INTERVAL '1 02:03:04.5' DAY TO SECOND AS span, named_struct('a b', parse_json('1')) AS s";
    let expected = concat!(
        r#"{"count(1)":1,"größe":1,"two":2,"two_2":3,"times":[{"key":1,"value":"01:02:03"}],"v":{"a":[1,null]},"#,
        r#""months":"P1Y2M","span":"P1DT2H3M4.5S","s":{"a b":1}}"#
    );
    assert_eq!(result_of(&project, "results", query).await, Ok(format!("[\n{expected}\n]")));
}

#[tokio::test]
async fn result_row_beyond_the_limit_fails_the_job_with_its_size() {
    // Spark folds constants into its plan, so the values depend on `id`.
    let large = "repeat(concat('x', id), 17 * 1024 * 512)";
    let nested =
        format!("SELECT named_struct('m', map(1, array({large}, NULL)), 'b', CAST({large} AS BINARY)) AS s");
    for (columns, size) in
        [(nested, "35651"), ("SELECT sequence(1, id + 1500000) AS numbers".to_owned(), "36000008")]
    {
        let project = Project::new();
        let query = format!("{columns} FROM range(1)");
        let log = result_of(&project, "large", &query).await.expect_err("the row is too large");
        let expected = format!("a row of the result has {size}");
        assert!(log.contains(&expected) && log.contains("the limit is 33554432"), "{query}: {log}");
    }
    let project = Project::new();
    let query =
        format!("SELECT {large} AS a, map('k', array(1)) AS m, CAST(NULL AS STRING) AS n FROM range(1)");
    let whole = result_of(&project, "fits", &query).await.expect("the row is not too large");
    assert!(
        whole.len() > 17 << 20 && whole.ends_with("x0\",\"m\":{\"k\":[1]},\"n\":null}\n]"),
        "{}",
        whole.len()
    );
}

#[tokio::test]
async fn sql_with_parameters_writes_and_returns_rows() {
    let project = Project::new();
    let job = project.job(
        "  job:\n    sql:\n      returnResult: true\n      parameters:\n        day: {type: date}\n        least: 2\n        \
         name: {type: string}\n      query: |\n        INSERT OVERWRITE DIRECTORY '%DIR%/out' USING json\n        \
         SELECT :day AS day, id, :name AS name FROM range(5) WHERE id >= :least;\n        -- not one; of these\n        \
         SELECT count(*) AS n, ';' AS s FROM json.`%DIR%/out`\n",
    );
    let hostile = "x'; DROP TABLE t; --";
    let given = [("day", "2026-01-31"), ("name", hostile)];
    let results =
        Results::open(&project.path("results").display().to_string()).expect("the location is valid");
    let id = Id::parse("a1").expect("the id is valid");
    let location = results.location(&id, 1);
    let (end, log) = project.run(&job, &given, Some(&location)).await;
    assert!(end.succeeded, "{log}");
    let rows = lines(&project.path("out"), ".json");
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert_eq!(rows[0], format!("{{\"day\":\"2026-01-31\",\"id\":2,\"name\":\"{hostile}\"}}"));
    let read = async |attempt, format| {
        let pieces = results.read(&id, attempt, format).await?;
        Ok::<_, Error>(pieces.try_collect::<Vec<_>>().await?.concat())
    };
    assert_eq!(read(1, Format::Json).await, Ok(b"[\n{\"n\":3,\"s\":\";\"}\n]".to_vec()));
    assert!(read(1, Format::Avro).await.is_ok_and(|bytes| bytes.starts_with(b"Obj\x01")));
    assert!(matches!(read(2, Format::Json).await, Err(Error::NotFound { .. })));
    results.remove(&id).await.expect("the results can be removed");
    assert!(matches!(read(1, Format::Json).await, Err(Error::NotFound { .. })));
}

/// Cargo sets a variable for this process, which acts as the service. A database's password would be inherited
/// likewise.
#[tokio::test]
async fn sql_cannot_read_the_environment_of_the_service() {
    let project = Project::new();
    let variable = |name: &str| format!("reflect('java.lang.System', 'getenv', '{name}')");
    let job = project.job(&format!(
        "  job:\n    sql:\n      query: |\n        INSERT OVERWRITE DIRECTORY '%DIR%/out' USING json\n        \
         SELECT {} AS service, {} AS path, 1 AS one\n",
        variable("CARGO_PKG_NAME"),
        variable("PATH"),
    ));
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
    let (end, log) = project.run(&job, &[], None).await;
    assert!(end.succeeded, "{log}");
    let path = serde_json::json!(std::env::var("PATH").expect("PATH is set"));
    // `reflect` returns text.
    assert_eq!(
        lines(&project.path("out"), ".json"),
        [format!("{{\"service\":\"null\",\"path\":{path},\"one\":1}}")]
    );
    crate::files::assert_private(&project.path("runs"));
}

/// The compiler can't detect this case. It reports the others as DCP0104.
#[tokio::test]
async fn sql_whose_last_statement_gives_no_rows_has_no_result() {
    let project = Project::new();
    let query = "SELECT 1 AS n;\n        EXECUTE IMMEDIATE 'CREATE TEMPORARY VIEW v AS SELECT 1'\n";
    let job =
        project.job(&format!("  job:\n    sql:\n      returnResult: true\n      query: |\n        {query}"));
    let location = project.path("results").display().to_string();
    let (end, log) = project.run(&job, &[], Some(&location)).await;
    assert!(!end.succeeded && !project.path("results").exists());
    assert!(
        log.contains("ValueError: the last statement gives no rows") && log.contains("returnResult"),
        "{log}"
    );
}

#[tokio::test]
async fn python_program_gets_its_arguments_and_its_error_is_logged() {
    let project = Project::new();
    project.write(
        "jobs/main.py",
        "import sys\nfrom pyspark.sql import SparkSession\nimport helper\nspark = SparkSession.builder.getOrCreate()\n\
         spark.range(int(sys.argv[1])).selectExpr(\"concat(id, '-', '%s') AS v\" % helper.NAME)\
         .write.text(sys.argv[2])\nif sys.argv[3] == 'fail':\n    raise ValueError('no such customer')\n",
    );
    project.write("jobs/helper.py", "NAME = 'helped'\n");
    let job = project.job(
        "  job:\n    pyspark:\n      main: jobs/main.py\n      pyFiles: [jobs/helper.py]\n      \
         args: [\"${param.count}\", \"%DIR%/${param.how}\", \"${param.how}\"]\n      \
         parameters: {count: 3, how: {type: string}}\n",
    );
    let (end, log) = project.run(&job, &[("how", "go")], None).await;
    assert!(end.succeeded, "{log}");
    assert_eq!(lines(&project.path("go"), ".txt"), ["0-helped", "1-helped", "2-helped"]);
    fs::remove_dir_all(project.path("runs")).expect("the file exists");
    let (end, log) = project.run(&job, &[("how", "fail")], None).await;
    assert_eq!((end.succeeded, end.exit_code), (false, Some(1)));
    assert!(log.contains("ValueError: no such customer"), "{log}");
}

#[tokio::test]
async fn jvm_program_runs() {
    let project = Project::new();
    let source = project.write(
        "pi/Pi.java",
        "import org.apache.spark.sql.SparkSession;\npublic class Pi {\n  public static void main(String[] args) throws Exception {\n    \
         SparkSession spark = SparkSession.builder().getOrCreate();\n    \
         long inside = spark.range(100000).selectExpr(\"rand(7) * 2 - 1 AS x\", \"rand(11) * 2 - 1 AS y\")\
         .where(\"x * x + y * y <= 1\").count();\n    \
         java.nio.file.Files.writeString(java.nio.file.Path.of(args[0]), String.valueOf(4.0 * inside / 100000));\n    \
         spark.stop();\n  }\n}\n",
    );
    let jars = home().join("jars/*").display().to_string();
    let folder = source.parent().expect("the path has a folder");
    let made = Command::new("javac").args(["-cp", &jars, "-d"]).arg(folder).arg(&source).status();
    assert!(made.expect("the JDK can be run").success());
    let jar = project.path("pi.jar");
    let made = Command::new("jar").arg("cf").arg(&jar).arg("-C").arg(folder).arg("Pi.class").status();
    assert!(made.expect("the JDK can be run").success());
    let job = project.job("  job: {jar: {main: pi.jar, class: Pi, args: [\"%DIR%/result\"]}}\n");
    let (end, log) = project.run(&job, &[], None).await;
    assert!(end.succeeded, "{log}");
    let pi: f64 = fs::read_to_string(project.path("result"))
        .expect("the file was written")
        .parse()
        .expect("the value is a number");
    assert!((pi - std::f64::consts::PI).abs() < 0.05, "{pi}");
}

#[tokio::test]
async fn main_class_of_spark_runs_without_a_jar() {
    let project = Project::new();
    let job = project.job(
        "  spark: {conf: {spark.sql.catalogImplementation: in-memory}}\n  job:\n    jar:\n      \
         class: org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver\n      args:\n      - -e\n      \
         - INSERT OVERWRITE DIRECTORY '%DIR%/out' USING json SELECT ${param.id} AS id\n      \
         parameters: {id: 7}\n",
    );
    let (end, log) = project.run(&job, &[], None).await;
    assert!(end.succeeded && !log.contains("does not exist, skipping"), "{log}");
    assert_eq!(lines(&project.path("out"), ".json"), [r#"{"id":7}"#]);
}

#[tokio::test]
async fn stream_reads_each_file_once_over_two_runs() {
    let project = Project::new();
    let job = project.job(
        "  job:\n    stream:\n      sources:\n        \
         clicks: {files: {path: %DIR%/in, format: json, schema: {store: string, bot: boolean, ts: timestamp}}}\n      \
         watermark: {source: clicks, column: ts, delay: 1m}\n      query: SELECT store, ts FROM clicks WHERE NOT bot\n      \
         sink: {files: {path: %DIR%/out, format: json}}\n      checkpoint: %DIR%/checkpoint\n",
    );
    for (run, expected) in [(1, 2), (2, 4)] {
        let click = |store: &str, bot: bool| {
            format!("{{\"store\":\"{store}{run}\",\"bot\":{bot},\"ts\":\"2026-01-01T00:0{run}:00Z\"}}\n")
        };
        project.write(
            &format!("in/{run}.json"),
            &format!("{}{}{}", click("a", false), click("b", true), click("c", false)),
        );
        let (end, log) = project.run(&job, &[], None).await;
        assert!(end.succeeded, "{log}");
        fs::remove_dir_all(project.path("runs")).expect("the file exists");
        let rows = lines(&project.path("out"), ".json");
        assert_eq!(rows.len(), expected, "{rows:?}");
    }
}
