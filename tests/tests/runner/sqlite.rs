//! Runners on one machine that share a SQLite file, and take over by lock files.

use std::sync::Arc;
use std::time::Duration;

use dcp_runner::api::{Error, Filter, Record, Runner as _};
use dcp_runner::execution::Phase;
use dcp_runner::in_process::InProcessRunner;
use dcp_runner::request::{Definition, Submit};
use dcp_runner::store::Store;
use dcp_tests::fake_spark::FakeSpark;
use sqlx::{Connection as _, Row as _};

use crate::{
    DRIVER_SCRIPT, Fixture, contract, options, ownership, persistence, submit, wait_for, wait_for_end,
};

pub(crate) async fn start(fake_spark: &FakeSpark) -> InProcessRunner {
    let store = Store::sqlite(&fake_spark.path("runs.db")).await.expect("the store opens");
    let mut options = options(fake_spark);
    options.lock_folder = Some(fake_spark.path("locks"));
    options.lease = Duration::from_hours(1);
    InProcessRunner::start(store, options).await.expect("the Runner starts")
}

async fn fixture() -> Fixture {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let runner = Arc::new(start(&fake_spark).await);
    let other = Arc::new(start(&fake_spark).await);
    Fixture { fake_spark, runner, other }
}

contract!(fixture());

async fn two_stores() -> (tempfile::TempDir, [Store; 2]) {
    let folder = folder();
    let path = folder.path().join("runs.db");
    let open = async || Store::sqlite(&path).await.expect("the store opens");
    let stores = [open().await, open().await];
    (folder, stores)
}

crate::limits::limits!(two_stores());

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_older_dcp_stay_held() {
    let folder = folder();
    let path = folder.path().join("runs.db");
    let open = async || Store::sqlite(&path).await.expect("the store opens");
    let url = format!("sqlite://{}", path.display());
    crate::limits::keys::keys_of_an_older_dcp_stay_held(open().await, &url, open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_stay_within_their_limits_despite_pauses_and_kills() {
    let folder = folder();
    let next = std::sync::atomic::AtomicU32::new(0);
    crate::limits::simulation::simulate(100, async || {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Store::sqlite(&folder.path().join(format!("{number}.db"))).await.expect("the store opens")
    })
    .await;
}

#[tokio::test]
async fn the_first_cluster_of_an_application_stays() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let path = folder.path().join("runs.db");
    let open = async || Store::sqlite(&path).await.expect("the store opens");
    crate::bindings::the_first_binding_stays(open().await, open().await).await;
    crate::bindings::the_identity_is_created_once(open().await, open().await).await;
}

#[tokio::test]
async fn lists_have_the_visible_executions() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let store = Store::sqlite(&folder.path().join("runs.db")).await.expect("the store opens");
    crate::visible::lists_have_the_visible_executions(store).await;
}

#[tokio::test]
async fn applications_with_a_cluster_or_a_live_execution_have_an_owner() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let store = Store::sqlite(&folder.path().join("runs.db")).await.expect("the store opens");
    crate::bindings::applications_with_a_cluster_or_a_live_execution_have_an_owner(store).await;
}

/// Pages are read in the order of an index with every filter, and not sorted.
#[tokio::test]
async fn pages_of_executions_are_read_in_index_order() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let path = fake_spark.path("runs.db");
    drop(Store::sqlite(&path).await.expect("the store opens"));
    let mut database = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .expect("the store opens");
    for filter in [
        "",
        "WHERE domain = 'a'",
        "WHERE domain = 'a' AND name = 'b'",
        "WHERE phase IN ('FAILED')",
        "WHERE id < 'x' AND domain = 'a'",
    ] {
        let query = format!(
            "EXPLAIN QUERY PLAN SELECT request, state FROM runner_executions {filter} ORDER BY id DESC LIMIT 50"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .fetch_all(&mut database)
            .await
            .expect("the query can be explained");
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{filter}: {plan:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_without_a_caller_is_rejected() {
    let fixture = fixture().await;
    let nobody = Submit { by: String::new(), ..submit("a", "work") };
    let error = fixture.runner.submit(nobody).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { field, .. } if field == "by"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn execution_beyond_the_limit_waits_with_a_reason() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let store = Store::sqlite(&fake_spark.path("runs.db")).await.unwrap();
    let mut options = options(&fake_spark);
    options.backends[0].1.slots = Some(1);
    let runner = InProcessRunner::start(store, options).await.unwrap();
    let first = runner.submit(submit("first", "wait")).await.unwrap();
    wait_for(&runner, first.record.id(), |it| it.execution.phase == Phase::Running).await;
    let second = runner.submit(submit("second", "work")).await.unwrap();
    let waits =
        |it: &Record| it.execution.waiting.as_deref().is_some_and(|why| why.contains("as many attempts"));
    let record = wait_for(&runner, second.record.id(), waits).await;
    assert_eq!(
        (record.execution.phase, record.version),
        (Phase::Queued, 1),
        "a waiting execution is not written"
    );
    let listed = runner.list(&Filter::default(), None, 1).await.unwrap();
    assert!(listed.iter().all(waits), "{listed:?}");
    // The driver writes its first line a little later.
    dcp_tests::fake_spark::wait_until(|| (fake_spark.lines("started") == ["wait"]).then_some(()));
    std::fs::write(fake_spark.path("go-wait"), "").unwrap();
    let record = wait_for_end(&runner, second.record.id()).await;
    assert_eq!((record.execution.phase, record.execution.waiting), (Phase::Succeeded, None));
    // A pending execution can be cancelled.
    let third = runner.submit(submit("third", "wait2")).await.unwrap();
    wait_for(&runner, third.record.id(), |it| it.execution.phase == Phase::Running).await;
    // Otherwise, the driver may be stopped before its first line.
    dcp_tests::fake_spark::wait_until(|| (fake_spark.lines("started").len() == 3).then_some(()));
    let fourth = runner.submit(submit("fourth", "work")).await.unwrap();
    wait_for(&runner, fourth.record.id(), waits).await;
    runner.cancel(fourth.record.id(), "tester").await.unwrap();
    assert_eq!(wait_for_end(&runner, fourth.record.id()).await.execution.phase, Phase::Cancelled);
    runner.cancel(third.record.id(), "tester").await.unwrap();
    wait_for_end(&runner, third.record.id()).await;
    assert_eq!(fake_spark.lines("started"), ["wait", "work", "wait2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_in_the_backend_is_removed_after_its_ttl() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let runner = start(&fake_spark).await;
    let mut job = crate::job();
    job.ttl = serde_json::from_str("\"1s\"").unwrap();
    let short = Submit { job: Definition::from(job), ..submit("short", "work") };
    let short = wait_for_end(&runner, runner.submit(short).await.unwrap().record.id()).await;
    let long = wait_for_end(&runner, runner.submit(submit("long", "work")).await.unwrap().record.id()).await;
    let folder = |record: &Record| fake_spark.path("runs").join(record.execution.name());
    dcp_tests::fake_spark::wait_until(|| (!folder(&short).exists()).then_some(()));
    assert!(folder(&long).exists(), "its ttl has not passed");
    assert_eq!(runner.check(short.id()).await.unwrap().execution, short.execution);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_executions_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    persistence::expired_executions_are_deleted(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeat_after_leaving_has_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    persistence::heartbeat_after_leaving_has_no_effect(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_new_owner_writes_after_a_takeover() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    persistence::only_the_new_owner_writes_after_a_takeover(&store).await;
}

/// Returns a folder in memory if the machine supports it, because the data need not survive a crash.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_executions_have_a_live_owner_despite_pauses() {
    let folder = folder();
    let next = std::sync::atomic::AtomicU32::new(0);
    ownership::simulate(100, async || {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Store::sqlite(&folder.path().join(format!("{number}.db"))).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submits_during_takeovers_are_not_lost() {
    let folder = folder();
    let store = async || Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    ownership::submits_during_takeovers_are_not_lost(store().await, store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_executions_of_absent_owners_are_adopted() {
    let folder = folder();
    let path = folder.path().join("runs.db");
    let store = Store::sqlite(&path).await.unwrap();
    ownership::live_executions_of_absent_owners_are_adopted(store, &format!("sqlite://{}", path.display()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runner_without_membership_writes_nothing() {
    let folder = folder();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    ownership::runner_without_membership_writes_nothing(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_belongs_to_the_caller_who_used_it_first() {
    let fixture = fixture().await;
    ownership::lease_belongs_to_the_caller_who_used_it_first(&*fixture.runner).await;
}

/// A Runner with a limit of one takes over two live attempts. No other attempt may start before both have ended.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_taken_over_count_for_the_limit() {
    let early = r#"case "${@: -1}" in third) [ -e go-wait2 ] || touch early ;; esac"#;
    let fake_spark = FakeSpark::with_version("4.1.1", &format!("{early}\n{DRIVER_SCRIPT}"));
    let with_slots = async |slots: usize| {
        let mut options = options(&fake_spark);
        options.lock_folder = Some(fake_spark.path("locks"));
        options.backends[0].1.slots = Some(slots);
        InProcessRunner::start(Store::sqlite(&fake_spark.path("runs.db")).await.unwrap(), options)
            .await
            .unwrap()
    };
    let first = with_slots(2).await;
    let mut ids = Vec::new();
    for what in ["wait1", "wait2", "third"] {
        ids.push(first.submit(submit(what, what)).await.unwrap().record.id().clone());
    }
    for id in &ids[..2] {
        wait_for(&first, id, |it| it.execution.phase == Phase::Running).await;
    }
    first.stop().await.unwrap();
    let second = with_slots(1).await;
    std::fs::write(fake_spark.path("go-wait1"), "").unwrap();
    wait_for_end(&second, &ids[0]).await;
    // Long enough for a start that must not happen.
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::write(fake_spark.path("go-wait2"), "").unwrap();
    assert_eq!(wait_for_end(&second, &ids[2]).await.execution.phase, Phase::Succeeded);
    assert!(!fake_spark.path("early").exists(), "a third attempt was started beside one that was taken over");
}

/// Submits until the queue has capacity.
async fn submit_when_accepted(runner: &InProcessRunner, token: &str) -> Record {
    loop {
        match runner.submit(submit(token, "work")).await {
            Ok(submitted) => return submitted.record,
            Err(Error::Exhausted { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_of_a_domain_is_limited() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let with_limit = async |limit: usize| {
        let mut options = options(&fake_spark);
        options.lock_folder = Some(fake_spark.path("locks"));
        options.backends[0].1.slots = Some(1);
        options.max_queued = limit;
        InProcessRunner::start(Store::sqlite(&fake_spark.path("runs.db")).await.unwrap(), options)
            .await
            .unwrap()
    };
    let runner = with_limit(2).await;
    let running = runner.submit(submit("running", "wait")).await.unwrap().record;
    wait_for(&runner, running.id(), |it| it.execution.phase == Phase::Running).await;
    let mut waiting = Vec::new();
    for token in ["a", "b"] {
        waiting.push(runner.submit(submit(token, "work")).await.unwrap().record);
    }
    let error = runner.submit(submit("c", "work")).await.unwrap_err();
    let Error::Exhausted { message: said, .. } = &error else { panic!("{error:?}") };
    assert!(
        said.contains("`tests`") && said.contains("(limit 2)") && said.contains("--max-queued"),
        "{said}"
    );
    // Accepted submits can be repeated, and cancelling a pending one frees capacity.
    let again = runner.submit(submit("b", "work")).await.unwrap();
    assert_eq!((again.fresh, again.record.id()), (false, waiting[1].id()));
    runner.cancel(waiting[0].id(), "tester").await.unwrap();
    wait_for_end(&runner, waiting[0].id()).await;
    let third = submit_when_accepted(&runner, "c").await;
    // Executions that are taken over count towards the limit, but are never rejected.
    runner.stop().await.unwrap();
    let next = with_limit(1).await;
    next.wait_for_statuses().await;
    assert!(matches!(next.submit(submit("d", "work")).await, Err(Error::Exhausted { .. })));
    std::fs::write(fake_spark.path("go-wait"), "").unwrap();
    for record in [&running, &waiting[1], &third] {
        assert_eq!(wait_for_end(&next, record.id()).await.execution.phase, Phase::Succeeded);
    }
}
