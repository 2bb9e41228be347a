//! Event logs in an S3 bucket, which moto serves over HTTP. `make test-cloud` runs these tests.

use std::path::Path;
use std::time::Duration;

use dcp_runner::api::{Record, Runner as _};
use dcp_runner::execution::Phase;
use dcp_runner::request::{Definition, Submit};
use dcp_runner::sizing::{event_log, size};
use dcp_runner::store::Store;
use dcp_runner::streaming::Streaming;
use dcp_tests::fake_spark::{FakeSpark, wait_until};
use dcp_tests::moto::Moto;

use crate::process::{Process, sqlite};
use crate::{DRIVER_SCRIPT, submit, wait_for, wait_for_end};

/// Starts a Runner whose backend reports event logs below `team/logs` of a bucket.
fn start(fake_spark: &FakeSpark, bucket: &str) -> Process {
    let mut command = Process::command(fake_spark, &sqlite(fake_spark), Duration::from_mins(1), "0");
    command.arg(format!("s3a://{bucket}/team/logs")).envs(Moto::shared().environment());
    Process::spawn(&mut command).expect("the Runner starts")
}

/// Returns a log that a real Spark has written.
fn log(path: &str) -> String {
    std::fs::read_to_string(dcp_tests::workspace().join(path)).expect("the log is text")
}

#[tokio::test(flavor = "multi_thread")]
async fn run_is_measured_by_its_event_log_in_a_bucket() {
    let (moto, fake_spark) = (Moto::shared(), FakeSpark::with_version("4.1.1", DRIVER_SCRIPT));
    let bucket = moto.bucket();
    let text = log("runner/tests/events/spill.json");
    moto.put(&bucket, "team/logs/app-1", text.as_bytes());
    moto.put(&bucket, "team/other/app-2", b"{}");
    // As Hadoop marks the folder.
    moto.put(&bucket, "team/logs/", b"");
    let job = dcp_tests::job(
        "  job: {pyspark: {main: main.py, args: [work]}}\n  resources: {sizing: auto, \
         executors: {memory: 480m, maxMemory: 4g, min: 1, max: 4}}\n",
    );
    let process = start(&fake_spark, &bucket);
    let run = async |token: &str| -> Record {
        let request = Submit {
            job: Definition::from(job.clone()),
            parameters: std::collections::BTreeMap::new(),
            ..submit(token, "work")
        };
        let id = process.client.submit(request).await.expect("the submit is accepted").record.id().clone();
        wait_for_end(&process.client, &id).await
    };
    let first = run("one").await;
    assert_eq!(first.execution.phase, Phase::Succeeded, "{first:#?}");
    let store = Store::sqlite(Path::new(&sqlite(&fake_spark))).await.expect("the store opens");
    let measured = event_log::measure(text.as_bytes()).expect("memory can be read");
    let stored = store.measured(&first.request, 10).await.expect("the store can be read");
    assert_eq!(stored, std::slice::from_ref(&measured));
    // The next run is sized by the measurement.
    let second = run("two").await.execution;
    assert_eq!(second.adjusted, size(&job, &[measured]));
    assert_ne!(second.adjusted, first.execution.adjusted);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_a_stream_is_read_from_its_reports_in_a_bucket() {
    let (moto, fake_spark) = (Moto::shared(), FakeSpark::with_version("4.1.1", DRIVER_SCRIPT));
    let bucket = moto.bucket();
    let text = log("runner/src/progress/tests/spark-4.1.1.log");
    let middle = text.len() / 2;
    let (begin, end) = text.split_at(middle + text[middle..].find('\n').expect("lines follow") + 1);
    let part = |number: u32| format!("team/logs/eventlog_v2_app/progress_{number}");
    moto.put(&bucket, &part(1), begin.as_bytes());
    // Files that Spark has closed are not read, as the open one is not shown.
    let closed = |number: u32| format!("team/logs/eventlog_v2_app/events_{number}_app");
    (1..=3).for_each(|number| moto.put(&bucket, &closed(number), text.as_bytes()));
    let process = start(&fake_spark, &bucket);
    let checkpoint = fake_spark.path("checkpoint").display().to_string();
    let streaming = Streaming {
        trigger: Some(dcp_model::manifest::Trigger::default()),
        checkpoint: Some(checkpoint.clone()),
        state: None,
        grace: None,
        executors: None,
    };
    let request = Submit { streaming: Some(streaming), exclusive: Some(checkpoint), ..submit("one", "wait") };
    let client = &process.client;
    let id = client.submit(request).await.expect("the submit is accepted").record.id().clone();
    let early = wait_for(client, &id, |it| it.progress.as_ref().is_some_and(|it| it.batches > 0)).await;
    assert!(early.progress.is_some_and(|it| it.queries == 2 && it.rows < 240));
    wait_until(|| (!moto.contains(&bucket, &closed(1))).then_some(()));
    // The next file continues the log. Once there is a third one, the first one is removed.
    moto.put(&bucket, &part(2), end.as_bytes());
    wait_for(client, &id, |it| it.progress.as_ref().is_some_and(|it| (it.batches, it.rows) == (17, 240)))
        .await;
    moto.put(&bucket, &part(3), b"{}\n");
    wait_until(|| (!moto.contains(&bucket, &part(1))).then_some(()));
    assert!(moto.contains(&bucket, &part(2)) && moto.contains(&bucket, &part(3)));
    assert!(moto.contains(&bucket, &closed(2)) && moto.contains(&bucket, &closed(3)));
    std::fs::write(fake_spark.path("go-wait"), "").expect("the temporary folder is writable");
    assert_eq!(wait_for_end(client, &id).await.execution.phase, Phase::Succeeded);
}
