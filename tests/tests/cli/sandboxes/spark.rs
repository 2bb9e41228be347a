//! Sandboxes on a real Spark, through `dcp up`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dcp_tests::fake_spark::wait_until;
use serde_json::json;

use crate::continuous::{Process, UP};
use crate::harness::{CommandOutput, DCP, Sandbox};
use crate::terminal::run_in_terminal_with;

const POOL: &str = "\
apiVersion: dcp/v1
kind: Pool
metadata: {name: small, domain: logistics, owner: data@example.com}
spec:
  engine: {version: \"4.1\"}
  resources: {driver: {cores: 1, memory: 768m}}
  drivers: {minIdle: 1, maxIdle: 1, max: 1}
  spark:
    conf:
      spark.sql.catalogImplementation: hive
      spark.sql.warehouse.dir: FOLDER/warehouse
      spark.sql.shuffle.partitions: \"2\"
    hadoopConf: {javax.jdo.option.ConnectionURL: \"jdbc:derby:;databaseName=FOLDER/metastore;create=true\"}
";

const JOB: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: totals, domain: logistics, owner: data@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    sql:
      query: |
        INSERT INTO lake.totals SELECT city, sum(parcels) FROM lake.orders WHERE day = :day GROUP BY city;
        SELECT city, parcels FROM lake.totals ORDER BY city
      parameters: {day: {type: date}}
      returnResult: true
  run: {manual: {}}
";

const PROJECT: &str = "project: shop\nmanifests: [small.yaml]\n";

/// Runs the job in the sandbox of the branch.
const RUN: [&str; 5] = ["run", "totals.yaml", "--sandbox", "-p", "day=2026-11-20"];

fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command(&DCP);
    command.args(args).env("SPARK_HOME", dcp_tests::spark_home()).stdin(Stdio::null()).env("DCP_USER", "ada");
    command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
    command
}

fn run(sandbox: &Sandbox, args: &[&str]) -> CommandOutput {
    sandbox.capture(args, &command(sandbox, args).output().expect("the binary can be run"))
}

fn sql(sandbox: &Sandbox, statements: &str) -> CommandOutput {
    run(sandbox, &["sql", statements, "--output", "csv"])
}

#[test]
fn job_of_a_branch_runs_in_a_sandbox_and_leaves_real_tables_unchanged() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().display().to_string();
    sandbox
        .write("dcp.yaml", PROJECT)
        .write("small.yaml", POOL.replace("FOLDER", &folder))
        .write("totals.yaml", JOB);
    let git =
        Command::new("git").args(["init", "--quiet", "-b", "feature/totals"]).arg(sandbox.path()).status();
    assert!(git.expect("git can be run").success());
    run(&sandbox, &["apply", "--auto-approve", "--quiet"]).exits_with(0);
    let up = Process::start(command(&sandbox, &UP), "up", sandbox.join("up.log"));
    wait_until(|| run(&sandbox, &["pools"]).stdout.contains("logistics/small").then_some(()));
    run(&sandbox, &["run", "totals.yaml", "--sandbox", "-p", "day=2026-11-20"])
        .exits_with(1)
        .prints("you have no sandbox `feature-totals`")
        .prints("dcp sandbox create feature-totals");

    create_in_a_cold_pool(&sandbox);
    run_the_job(&sandbox);
    let schema = continue_the_session(&sandbox);
    work_at_a_remote_proxy(&sandbox);
    end_the_prompt(&sandbox);
    refuse_a_path(&sandbox);
    delete(&sandbox, &schema);
    expire(&sandbox);
    continue_after_the_end_of_the_driver(&sandbox);
    delete_the_pool(&sandbox);
    drop(up);
}

fn create_in_a_cold_pool(sandbox: &Sandbox) {
    run(sandbox, &["sandbox", "create"])
        .exits_with(0)
        .prints("sandbox feature-totals: schema spark_catalog.sandbox_");
    let pools = run(sandbox, &["pools", "--output", "json"]).exits_with(0).json();
    assert_eq!((&pools["pools"][0]["name"], &pools["pools"][0]["sessions"]), (&"small".into(), &1.into()));
    run(sandbox, &["pools", "--sessions"]).exits_with(0).prints("logistics/small");
    sql(
        sandbox,
        "CREATE SCHEMA lake; \
         CREATE TABLE lake.orders AS SELECT * FROM VALUES (DATE'2026-11-20', 'Aachen', 2), \
         (DATE'2026-11-20', 'Aachen', 3), (DATE'2026-11-21', 'Bremen', 4) AS orders(day, city, parcels); \
         CREATE TABLE lake.totals AS SELECT 'real' AS city, 0L AS parcels",
    )
    .exits_with(0);
}

fn run_the_job(sandbox: &Sandbox) {
    let ran = run(sandbox, &RUN).exits_with(0);
    ran.prints("`lake__totals` is created without rows, like lake.totals")
        .prints("lake.totals -> `spark_catalog`.")
        .prints("{\"city\":\"Aachen\",\"parcels\":5}");
    assert_eq!(sql(sandbox, "SELECT * FROM lake.totals").exits_with(0).stdout, "city,parcels\nreal,0\n");
}

/// Returns the schema of the sandbox.
fn continue_the_session(sandbox: &Sandbox) -> String {
    // A second command continues the same session, in the schema.
    let shown = |statements: &str| {
        let args = ["sandbox", "sql", "feature-totals", statements, "--output", "csv"];
        run(sandbox, &args).exits_with(0).stdout
    };
    assert_eq!(shown("CREATE TEMPORARY VIEW recent AS SELECT * FROM lake__totals"), "");
    assert_eq!(shown("SELECT * FROM recent"), "city,parcels\nAachen,5\n");
    let listed = run(sandbox, &["sandbox", "list", "--output", "json"]).exits_with(0).json();
    let schema = listed["sandboxes"][0]["schema"].as_str().expect("it has a schema").to_owned();
    assert_eq!(listed["sandboxes"][0]["branch"], "feature/totals");
    schema
}

/// Does the same through `dcp serve connect`, with a token instead of the project's socket.
fn work_at_a_remote_proxy(sandbox: &Sandbox) {
    let binding = "{role: developer, users: [edsger, grace], scopes: [\"*\"], domains: [logistics]}";
    sandbox.write("policy.yaml", format!("bindings: [{binding}]\n"));
    let database = ["--database", ".dcp/state.db"];
    let token = |user: &str| {
        let created = run(sandbox, &[&["token", "create", user][..], &database].concat()).exits_with(0);
        created.stdout.trim().to_owned()
    };
    let (edsger, grace) = (token("edsger"), token("grace"));
    let serve = ["serve", "connect", "--listen", "127.0.0.1:0", "--policy", "policy.yaml"];
    let serve = [&serve[..], &database, &["--connect-key", ".dcp/connect.key"]].concat();
    let proxy = Process::start(command(sandbox, &serve), "connect", sandbox.join("connect.log"));
    sandbox.write("dcp.yaml", format!("{PROJECT}targets: {{remote: {{server: \"{}\"}}}}\n", proxy.url));
    let remote = |token: &str, args: &[&str]| {
        let args = [args, &["--target", "remote"]].concat();
        let output = command(sandbox, &args).env("DCP_TOKEN", token).output().expect("the binary can be run");
        sandbox.capture(&args, &output)
    };
    remote(&edsger, &["sandbox", "create", "remote"])
        .exits_with(0)
        .prints("spark_catalog.sandbox_edsger_remote");
    let job = ["run", "totals.yaml", "--sandbox=remote", "-p", "day=2026-11-21"];
    remote(&edsger, &job).exits_with(0).prints("{\"city\":\"Bremen\",\"parcels\":4}");
    let select = ["sandbox", "sql", "remote", "SELECT * FROM lake__totals", "--output", "csv"];
    assert_eq!(remote(&edsger, &select).exits_with(0).stdout, "city,parcels\nBremen,4\n");
    remote(&edsger, &["sandbox", "list"]).exits_with(0).prints("sandbox_edsger_remote");
    remote(&grace, &["sandbox", "list"]).exits_with(0).prints("you have no sandbox");
    remote(&grace, &select).exits_with(1).prints("you have no sandbox `remote`");
    remote(&edsger, &["sandbox", "delete", "remote"]).exits_with(0);
    remote(&edsger, &["sandbox", "list"]).exits_with(0).prints("you have no sandbox");
    sandbox.write("dcp.yaml", PROJECT);
}

/// Ends a prompt by a signal, while it reads a line.
fn end_the_prompt(sandbox: &Sandbox) {
    let sessions =
        || run(sandbox, &["pools", "--output", "json"]).exits_with(0).json()["pools"][0]["sessions"].clone();
    let before = sessions();
    let typed = [("sql> ", "SELECT 40 + 2 AS a;\n"), ("1 row", ""), ("sql> ", "kill -TERM")];
    run_in_terminal_with(sandbox, &["sql"], &typed, None, &[])
        .exits_with(1)
        .prints("42")
        .prints("the prompt was ended by SIGTERM");
    assert_eq!(sessions(), before, "the session of the prompt is still there");
}

fn refuse_a_path(sandbox: &Sandbox) {
    sandbox.edit("totals.yaml", "INSERT INTO lake.totals", "INSERT INTO parquet.`/tmp/x`");
    run(sandbox, &RUN).exits_with(1).prints("writes to the path").prints("nothing ran");
}

fn delete(sandbox: &Sandbox, schema: &str) {
    run(sandbox, &["sandbox", "delete", "feature-totals"]).exits_with(0);
    let schemas = sql(sandbox, "SHOW SCHEMAS").exits_with(0);
    assert!(!schemas.stdout.contains(schema), "{}", schemas.stdout);
    run(sandbox, &["sandbox", "list"]).exits_with(0).prints("you have no sandbox");
    assert_eq!(sql(sandbox, "SELECT * FROM lake.totals").exits_with(0).stdout, "city,parcels\nreal,0\n");
}

fn expire(sandbox: &Sandbox) {
    run(sandbox, &["sandbox", "create", "short", "--ttl", "1s"]).exits_with(0);
    run(sandbox, &["sandbox", "sql", "short", "SELECT 1"]);
    let deadline = Instant::now() + Duration::from_mins(1);
    while !run(sandbox, &["sandbox", "list"]).stdout.contains("you have no sandbox") {
        assert!(Instant::now() < deadline, "the expired sandbox is still there");
    }
}

fn continue_after_the_end_of_the_driver(sandbox: &Sandbox) {
    // After the end of its driver, a sandbox gets a new session. The metastore has its tables.
    let sql = |statement: &str| run(sandbox, &["sandbox", "sql", "long", statement, "--output", "csv"]);
    run(sandbox, &["sandbox", "create", "long", "--quiet"]).exits_with(0);
    sql("CREATE TABLE kept AS SELECT 7 AS n").exits_with(0);
    let live = run(sandbox, &["runs", "--live", "--output", "json"]).exits_with(0).json();
    let driver = live[0]["execution"]["id"].as_str().expect("an execution has an id");
    run(sandbox, &["cancel", driver]).exits_with(0);
    wait_until(|| (!run(sandbox, &["runs", "--live"]).stdout.contains(driver)).then_some(()));
    let continued = sql("SELECT current_schema() AS a, n FROM kept").exits_with(0);
    continued.prints("this is a new one").prints("sandbox_ada_long,7");
}

/// Deletes the pool. Its driver would outlive `dcp up`.
fn delete_the_pool(sandbox: &Sandbox) {
    run(sandbox, &["destroy", "--auto-approve", "--allow-delete", "logistics/small"]).exits_with(0);
    let has_run = || run(sandbox, &["runs", "--live", "--output", "json"]).exits_with(0).json() != json!([]);
    wait_until(|| (!has_run()).then_some(()));
}
