//! Runners on one machine that share a SQLite file, and take over by lock files.

use std::sync::Arc;
use std::time::Duration;

use dcp_runner::api::{Error, Filter, Record, Runner as _};
use dcp_runner::execution::Phase;
use dcp_runner::in_process::InProcessRunner;
use dcp_runner::request::{Definition, Submit};
use dcp_runner::store::Store;
use dcp_tests::machine::Machine;
use sqlx::{Connection as _, Row as _};

use crate::{Fresh, SCRIPT, contract, ended, forgetting, options, owners, seen, submit};

pub(crate) async fn start(machine: &Machine) -> InProcessRunner {
    let store = Store::sqlite(&machine.path("runs.db")).await.expect("it opens");
    let mut options = options(machine);
    options.lock_folder = Some(machine.path("locks"));
    options.lease = Duration::from_hours(1);
    InProcessRunner::start(store, options).await.expect("it starts")
}

async fn fresh() -> Fresh {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let runner = Arc::new(start(&machine).await);
    let other = Arc::new(start(&machine).await);
    Fresh { machine, runner, other }
}

contract!(fresh());

/// Pages are read in the order of an index with every filter, and not sorted.
#[tokio::test]
async fn pages_of_executions_are_not_sorted() {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let path = machine.path("runs.db");
    drop(Store::sqlite(&path).await.expect("it opens"));
    let mut database =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("it opens");
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
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&mut database).await.expect("it is explained");
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{filter}: {plan:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_has_to_ask() {
    let fresh = fresh().await;
    let nobody = Submit { by: String::new(), ..submit("a", "work") };
    let error = fresh.runner.submit(nobody).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { field, .. } if field == "by"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_until_there_is_room_is_told_so() {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let store = Store::sqlite(&machine.path("runs.db")).await.unwrap();
    let mut options = options(&machine);
    options.backends[0].1.slots = Some(1);
    let runner = InProcessRunner::start(store, options).await.unwrap();
    let first = runner.submit(submit("first", "wait")).await.unwrap();
    seen(&runner, first.record.id(), |it| it.execution.phase == Phase::Running).await;
    let second = runner.submit(submit("second", "work")).await.unwrap();
    let waits =
        |it: &Record| it.execution.waiting.as_deref().is_some_and(|why| why.contains("as many attempts"));
    let record = seen(&runner, second.record.id(), waits).await;
    assert_eq!((record.execution.phase, record.version), (Phase::Queued, 1), "nothing is written for it");
    let listed = runner.list(&Filter::default(), None, 1).await.unwrap();
    assert!(listed.iter().all(waits), "{listed:?}");
    // The driver writes its first line a little later.
    dcp_tests::machine::until(|| (machine.lines("started") == ["wait"]).then_some(()));
    std::fs::write(machine.path("go-wait"), "").unwrap();
    let record = ended(&runner, second.record.id()).await;
    assert_eq!((record.execution.phase, record.execution.waiting), (Phase::Succeeded, None));
    // A pending execution can be cancelled.
    let third = runner.submit(submit("third", "wait2")).await.unwrap();
    seen(&runner, third.record.id(), |it| it.execution.phase == Phase::Running).await;
    // Otherwise, the driver may be stopped before its first line.
    dcp_tests::machine::until(|| (machine.lines("started").len() == 3).then_some(()));
    let fourth = runner.submit(submit("fourth", "work")).await.unwrap();
    seen(&runner, fourth.record.id(), waits).await;
    runner.cancel(fourth.record.id(), "tester").await.unwrap();
    assert_eq!(ended(&runner, fourth.record.id()).await.execution.phase, Phase::Cancelled);
    runner.cancel(third.record.id(), "tester").await.unwrap();
    ended(&runner, third.record.id()).await;
    assert_eq!(machine.lines("started"), ["wait", "work", "wait2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_keeps_is_removed_after_its_time_and_the_execution_stays() {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let runner = start(&machine).await;
    let mut job = crate::job();
    job.ttl = serde_json::from_str("\"1s\"").unwrap();
    let short = Submit { job: Definition::from(job), ..submit("short", "work") };
    let short = ended(&runner, runner.submit(short).await.unwrap().record.id()).await;
    let long = ended(&runner, runner.submit(submit("long", "work")).await.unwrap().record.id()).await;
    let folder = |record: &Record| machine.path("runs").join(record.execution.name());
    dcp_tests::machine::until(|| (!folder(&short).exists()).then_some(()));
    assert!(folder(&long).exists(), "it has its time still");
    assert_eq!(runner.check(short.id()).await.unwrap().execution, short.execution);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_had_its_time_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    forgetting::what_has_had_its_time_is_forgotten(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_beats_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    forgetting::who_has_left_beats_no_more(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_over_is_written_by_the_new_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    forgetting::what_was_taken_over_is_written_by_the_new_owner_alone(&store).await;
}

/// Returns a folder in memory if the machine supports it, because the data need not survive a crash.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_executions_have_a_living_owner_whatever_is_paused() {
    let folder = folder();
    let next = std::sync::atomic::AtomicU32::new(0);
    owners::simulate(100, async || {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Store::sqlite(&folder.path().join(format!("{number}.db"))).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submits_race_with_takeovers() {
    let folder = folder();
    let store = async || Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    owners::submits_race_with_takeovers(store().await, store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_executions_of_absent_owners_are_adopted() {
    let folder = folder();
    let path = folder.path().join("runs.db");
    let store = Store::sqlite(&path).await.unwrap();
    owners::live_executions_of_absent_owners_are_adopted(store, &format!("sqlite://{}", path.display()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runner_without_membership_writes_nothing() {
    let folder = folder();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    owners::runner_without_membership_writes_nothing(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_belongs_to_the_caller_who_used_it_first() {
    let fresh = fresh().await;
    owners::lease_belongs_to_the_caller_who_used_it_first(&*fresh.runner).await;
}

/// A Runner with a limit of one takes over two live attempts. No other attempt may start before both have ended.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_taken_over_count_for_the_limit() {
    let early = r#"case "${@: -1}" in third) [ -e go-wait2 ] || touch early ;; esac"#;
    let machine = Machine::of_version("4.1.1", &format!("{early}\n{SCRIPT}"));
    let with_slots = async |slots: usize| {
        let mut options = options(&machine);
        options.lock_folder = Some(machine.path("locks"));
        options.backends[0].1.slots = Some(slots);
        InProcessRunner::start(Store::sqlite(&machine.path("runs.db")).await.unwrap(), options).await.unwrap()
    };
    let first = with_slots(2).await;
    let mut ids = Vec::new();
    for what in ["wait1", "wait2", "third"] {
        ids.push(first.submit(submit(what, what)).await.unwrap().record.id().clone());
    }
    for id in &ids[..2] {
        seen(&first, id, |it| it.execution.phase == Phase::Running).await;
    }
    first.stop().await.unwrap();
    let second = with_slots(1).await;
    std::fs::write(machine.path("go-wait1"), "").unwrap();
    ended(&second, &ids[0]).await;
    // Long enough for a start that must not happen.
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::write(machine.path("go-wait2"), "").unwrap();
    assert_eq!(ended(&second, &ids[2]).await.execution.phase, Phase::Succeeded);
    assert!(!machine.path("early").exists(), "a third attempt was started beside one that was taken over");
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_of_a_domain_is_limited() {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let with_limit = async |limit: usize| {
        let mut options = options(&machine);
        options.lock_folder = Some(machine.path("locks"));
        options.backends[0].1.slots = Some(1);
        options.max_queued = limit;
        InProcessRunner::start(Store::sqlite(&machine.path("runs.db")).await.unwrap(), options).await.unwrap()
    };
    let runner = with_limit(2).await;
    let running = runner.submit(submit("running", "wait")).await.unwrap().record;
    seen(&runner, running.id(), |it| it.execution.phase == Phase::Running).await;
    let mut waiting = Vec::new();
    for token in ["a", "b"] {
        waiting.push(runner.submit(submit(token, "work")).await.unwrap().record);
    }
    let error = runner.submit(submit("c", "work")).await.unwrap_err();
    let Error::Exhausted(said) = &error else { panic!("{error:?}") };
    assert!(
        said.contains("`tests`") && said.contains("(limit 2)") && said.contains("--max-queued"),
        "{said}"
    );
    // Accepted submits can be repeated, and cancelling a pending one frees capacity.
    let again = runner.submit(submit("b", "work")).await.unwrap();
    assert_eq!((again.fresh, again.record.id()), (false, waiting[1].id()));
    runner.cancel(waiting[0].id(), "tester").await.unwrap();
    ended(&runner, waiting[0].id()).await;
    let third = loop {
        match runner.submit(submit("c", "work")).await {
            Ok(submitted) => break submitted.record,
            Err(Error::Exhausted(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error:?}"),
        }
    };
    // Executions that are taken over count towards the limit, but are never rejected.
    runner.stop().await.unwrap();
    let next = with_limit(1).await;
    next.wait_for_statuses().await;
    assert!(matches!(next.submit(submit("d", "work")).await, Err(Error::Exhausted(_))));
    std::fs::write(machine.path("go-wait"), "").unwrap();
    for record in [&running, &waiting[1], &third] {
        assert_eq!(ended(&next, record.id()).await.execution.phase, Phase::Succeeded);
    }
}
