//! A program in a jar, with the log of its manifest; and one manifest on this machine and on a cluster.

use serde_json::Value;

use super::{Project, SPARK_IMAGE, SQL};
use crate::harness::DCP;

/// A program that is in the image, as a part of Spark, and prints the rows of its query.
const JAR: &str = "jar:
      main: local:///opt/spark/jars/spark-hive-thriftserver_2.13-4.1.1.jar
      class: org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver
      args: [-e, \"SELECT sum(id) FROM range(${param.count})\"]
      parameters: {count: {type: integer, default: 1000}}
  spark:
    conf: {spark.sql.catalogImplementation: in-memory}
    logging: {format: json, level: warn, loggers: {org.apache.spark.scheduler: info}}";

/// A manifest that says nothing about the place of its runs.
const NUMBERS: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {domain: sales, name: numbers, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  run: {manual: {}}
  resources: {driver: {memory: 1g, cpuRequest: 200m}, executors: {memory: 512m, instances: 1, cpuRequest: 200m}}
  job: {sql: {query: \"SELECT assert_true(sum(id) = 499500) FROM range(1000)\", returnResult: false}}
";

#[tokio::test]
async fn a_jar_of_the_image_runs_with_the_log_of_its_manifest() {
    let project = Project::start("cli-jar", &[("sum", JAR)]).await;
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    project.run(&["run", "sales/sum", "--wait", "--param", "count=100"]).exits_with(0).prints("succeeded");
    // The program's own output, without Spark's.
    let output = project.run(&["logs", "sales/sum"]).exits_with(0).stdout;
    assert!(output.lines().any(|line| line == "4950") && !output.contains("\"level\":"), "{output}");
    let all = project.run(&["logs", "--all", "sales/sum"]).exits_with(0).stdout;
    let infos: Vec<Value> = all
        .lines()
        .filter(|line| line.contains("\"level\":\"INFO\""))
        .map(|line| serde_json::from_str(line).expect("an event is JSON on one line"))
        .collect();
    // dcp itself reads the addresses that `Utils` logs.
    let expected = ["org.apache.spark.scheduler", "org.apache.spark.util.Utils"];
    let is_expected = |event: &Value| {
        event["logger"].as_str().is_some_and(|logger| expected.iter().any(|it| logger.starts_with(it)))
    };
    assert!(infos.len() > 3 && infos.iter().all(is_expected), "{infos:#?}\n{all}");
}

#[tokio::test]
async fn a_manifest_runs_unchanged_on_this_machine_and_on_a_cluster() {
    let mut project = Project::prepare("cli-same", &[]).await;
    let engine = format!("engines: {{\"4.1\": {{image: \"{SPARK_IMAGE}\"}}}}\n");
    project.sandbox.write("dcp.yaml", format!("project: shop\nmanifests: [manifests]\n{engine}"));
    project.sandbox.write("manifests/numbers.yaml", NUMBERS);
    let args = ["run", "manifests/numbers.yaml"];
    let mut local = project.sandbox.command(&DCP);
    local.args(args).env("SPARK_HOME", dcp_tests::spark_home());
    let output = local.output().expect("the program can be run");
    project.sandbox.capture(&args, &output).exits_with(0).prints("attempt 1 on local").prints("succeeded");

    project.start_up();
    project.run(&["apply", "--auto-approve"]).exits_with(0).prints("applied serial 1");
    let run = project.run(&["run", "sales/numbers", "--wait"]).exits_with(0);
    run.prints("attempt 1 on kubernetes").prints("succeeded");
    let log = project.run(&["logs", "--all", "sales/numbers"]).exits_with(0);
    log.prints("Successfully stopped SparkContext");
}

#[tokio::test]
async fn a_driver_without_rights_is_diagnosed_by_the_right_that_it_lacks() {
    let mut project = Project::prepare("cli-rights", &[("numbers", SQL)]).await;
    // Every namespace has this account, which has no rights.
    let accounts = "kind: kubernetes\n    serviceAccounts: [default]\n";
    project.sandbox.edit("clusters.yaml", "kind: kubernetes\n", accounts);
    project.sandbox.edit("manifests/numbers.yaml", "driver: {", "driver: {serviceAccount: default, ");
    project.start_up();
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    let run = project.run(&["run", "sales/numbers", "--wait"]).exits_with(1);
    let right = format!(
        "an account lacks a right on the cluster: User \"system:serviceaccount:{}:default\" cannot get resource",
        project.namespace
    );
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words(&run.stdout).contains(&right) && run.stdout.contains("dcp doctor --cluster"),
        "{}",
        run.stdout
    );
}
