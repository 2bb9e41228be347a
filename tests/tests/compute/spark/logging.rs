//! `spark.logging`: levels and formats of the log of a real Spark, and the diagnosis of a failure by each of them.

use dcp_runner::driver_log::Filter;
use dcp_runner::failure::{Cause, Evidence, diagnose};

use super::Project;
use super::addresses::address;

/// Fails in a task, once its web interface has been seen.
const FAILING: &str = "\
import os, sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.1)
print('begins')
spark.read.parquet('/absent/orders').show()
";

/// Runs the program with settings of the log, and returns its log and the cause of its failure.
async fn run(logging: &str) -> (String, Cause) {
    let project = Project::new();
    project.write("main.py", FAILING);
    let job = format!(
        "  job: {{pyspark: {{main: main.py, args: [\"%DIR%/seen\"]}}}}\n  \
         spark: {{driverJavaOptions: -Dteam=sales, logging: {logging}}}\n"
    );
    let job = project.job(&job);
    let seen = async {
        address(&project, |it| it.ui).await;
        project.write("seen", "");
    };
    let ((end, log), ()) = tokio::join!(project.run(&job, &[], None), seen);
    assert!(!end.succeeded, "{log}");
    let (cause, diagnosis) = diagnose(Evidence { end: &end, log: &log });
    assert!(diagnosis.summary.contains("/absent/orders"), "{diagnosis:?}\n{log}");
    (log, cause)
}

fn events<'l>(log: &'l str, level: &str) -> Vec<&'l str> {
    let text = format!(" {level} ");
    let json = format!("\"level\":\"{level}\"");
    log.lines().filter(|line| line.contains(&text) || line.contains(&json)).collect()
}

#[tokio::test]
async fn a_log_in_json_is_one_event_a_line_and_failures_are_diagnosed_by_it() {
    let (log, cause) = run("{format: json, level: warn, loggers: {org.apache.spark.scheduler: info}}").await;
    assert_eq!(cause, Cause::MissingData);
    assert!(!log.lines().any(|line| dcp_runner::driver_log::header(line).is_some()), "{log}");
    let infos = events(&log, "INFO");
    let expected = ["org.apache.spark.scheduler", "org.apache.spark.util.Utils"];
    let is_expected =
        |line: &&str| expected.iter().any(|name| line.contains(&format!("\"logger\":\"{name}")));
    assert!(!infos.is_empty() && infos.iter().all(is_expected), "{infos:#?}");
    for line in infos {
        serde_json::from_str::<serde_json::Value>(line).expect("the line is JSON");
    }
    let mut filter = Filter::default();
    let output = [filter.push(log.as_bytes()), filter.finish()].concat();
    let output = String::from_utf8_lossy(&output);
    assert!(output.starts_with("begins\n") && !output.contains("\"level\":\"INFO\""), "{output}");
}

#[tokio::test]
async fn levels_of_a_log_in_text_are_those_of_the_manifest() {
    let (log, cause) = run("{level: warn}").await;
    assert_eq!(cause, Cause::MissingData);
    let infos = events(&log, "INFO");
    assert!(infos.iter().all(|line| line.contains(" INFO Utils: ")), "{infos:#?}");
}
