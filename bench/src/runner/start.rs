//! Measures the time from a submit until spark-submit runs, and compares it with running spark-submit by hand. Spark
//! takes seconds, which would hide both. Therefore, spark-submit is a script that records its start time.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dcp_gateway::local::Local;
use dcp_gateway::local::installation::{Installation, Installations};
use dcp_model::manifest;
use dcp_runner::api::Runner as _;
use dcp_runner::in_process::{Backend, InProcessRunner, Options};
use dcp_runner::request::{Definition, Submit};
use dcp_runner::store::Store;
use dcp_tests::fake_spark::FakeSpark;
use serde_json::{Value, json};

use super::calls::Times;
use super::{Result, now};

/// The last argument is the name of the execution.
const SCRIPT: &str =
    "echo $EPOCHREALTIME > \"begun-${@: -1}.part\"; mv \"begun-${@: -1}.part\" \"begun-${@: -1}\"";

pub(super) async fn measure(dcp: &Path, starts: usize) -> Result<Value> {
    let fake_spark = FakeSpark::with_version("4.1.1", SCRIPT);
    let found =
        Installation::at(&fake_spark.path("spark")).ok_or("the fake Spark installation was not found")?;
    let java = Some("/usr/bin/java".into());
    let installations = Installations { found: vec![found], java, ..Installations::default() };
    let supervisor = vec![dcp.to_string_lossy().into_owned(), "supervise".to_owned()];
    let local = Local::new(&fake_spark.path("runs"), &fake_spark.path(""), installations, supervisor)?;
    let backend = Backend { compute: Arc::new(local), slots: None };
    let options = Options::new(vec![(manifest::Backend::Local, backend)], now);
    let runner = InProcessRunner::start(Store::sqlite(&fake_spark.path("runs.db")).await?, options).await?;
    let (mut by_hand, mut submitted) = (Vec::new(), Vec::new());
    for number in 0..starts {
        let name = format!("hand-{number}");
        let start = unix_time()?;
        let mut child = Command::new(fake_spark.path("spark/bin/spark-submit")).arg(&name).spawn()?;
        child.wait()?;
        by_hand.push(wait_for_start_time(&fake_spark, &name)? - start);

        let name = format!("submit-{number}");
        let start = unix_time()?;
        let record = runner.submit(submit(&name)).await?.record;
        submitted.push(tokio::task::block_in_place(|| wait_for_start_time(&fake_spark, &name))? - start);
        // The end of this execution would delay the next one.
        while !runner.check(record.id()).await?.execution.phase.is_final() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    runner.stop().await?;
    let (by_hand, submitted) = (Times::new(by_hand)?, Times::new(submitted)?);
    Ok(json!({ "by_hand": by_hand.percentile(50), "submitted": submitted.percentile(50), "starts": starts }))
}

fn unix_time() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// Waits for the script's start time of the named execution.
fn wait_for_start_time(fake_spark: &FakeSpark, name: &str) -> Result<f64> {
    Ok(fake_spark.wait_for_line(&format!("begun-{name}")).parse()?)
}

fn submit(name: &str) -> Submit {
    let spec = "  job: {pyspark: {main: main.py, args: [\"${param.name}\"], parameters: {name: {type: string, \
                default: nothing}}}}\n";
    Submit {
        token: name.to_owned(),
        job: Definition::from(dcp_tests::job(spec)),
        parameters: [("name".to_owned(), name.to_owned())].into(),
        streaming: None,
        exclusive: None,
        order: None,
        fence: None,
        by: "benchmark".to_owned(),
        on_behalf_of: None,
    }
}
