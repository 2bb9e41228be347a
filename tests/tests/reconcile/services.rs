//! Services with a real Runner: each has one run, which restarts whenever it ends.

use dcp_tests::fake_spark;
use jiff::Timestamp;

use crate::project::{Project, service, stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_restarts_whenever_it_ends() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let mut server = service("end");
    project.apply(&[&server]).await;
    // The driver exits with 0.
    let ended = project.wait_until(&server, "an end", |state| state.failures == 1).await;
    assert_eq!(ended.failure.as_deref(), Some("it ended by itself"));
    std::fs::write(project.fake_spark.path("mended"), "").expect("the temporary folder is writable");
    project.wait_until_healthy(&server, 1).await;
    let starts = project.started_drivers().len();
    // The driver is killed, and the Runner has no attempt left.
    let pid = project.fake_spark.lines("pid").remove(0);
    fake_spark::send_signal(&pid, rustix::process::Signal::KILL);
    project
        .wait_until(&server, "another start", |state| state.starts == u64::try_from(starts).unwrap() + 1)
        .await;
    fake_spark::wait_until(|| (project.started_drivers().len() == starts + 1).then_some(()));
    project.wait_until_healthy(&server, 1).await;
    // A change and a restart request restart the service; a pause request stops it.
    server.behaviour = "end two".to_owned();
    project.apply(&[&server]).await;
    project.wait_until_healthy(&server, 2).await;
    project.store.restart(&server.key(), "ada", Timestamp::now()).await.unwrap();
    fake_spark::wait_until(|| (project.started_drivers().len() == starts + 3).then_some(()));
    project.wait_until_healthy(&server, 2).await;
    project.store.pause(&server.key(), true, "ada", Timestamp::now()).await.unwrap();
    project.wait_until_stopped(&server).await;
    project.assert_no_concurrent_drivers();
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_has_one_run_despite_reconciler_deaths() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let server = service("hang");
    project.apply(&[&server]).await;
    project.wait_until_healthy(&server, 1).await;
    reconciler.abort().await;
    let reconciler = project.start_reconciler();
    // The run of the service holds an exclusive key, so that a second run can't start.
    let key = dcp_reconciler::reconcile::service_key("shop", &server.key().address);
    let held = dcp_runner::api::all_holders(&project.runner).await.expect("the Runner responds");
    assert_eq!(held.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), [key.as_str()]);
    project.store.restart(&server.key(), "ada", Timestamp::now()).await.unwrap();
    fake_spark::wait_until(|| (project.started_drivers().len() == 2).then_some(()));
    project.wait_until_healthy(&server, 1).await;
    // A stream replaces the service, and a service the stream.
    let clicks = stream("one");
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 2).await;
    project.apply(&[&service("hang")]).await;
    project.wait_until_healthy(&server, 3).await;
    project.apply(&[]).await;
    project.wait_until_stopped(&server).await;
    project.assert_no_concurrent_drivers();
    reconciler.stop().await;
}
