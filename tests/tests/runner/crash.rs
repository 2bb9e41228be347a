//! Kills Runners in separate processes. Each acknowledged execution must end, and no attempt may start twice.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dcp_runner::api::{Error, Record, Runner};
use dcp_runner::execution::{Id, Phase, StopReason};
use dcp_runner::remote::Remote;
use dcp_runner::request::Submit;
use dcp_tests::fake_spark::{FakeSpark, send_signal};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::process::{Process, sqlite};
use crate::submit;

/// Each start appends a line with the attempt's name and its task.
const DRIVER_SCRIPT: &str = r#"
name=none; previous=none
for argument in "$@"; do [ "$previous" = --name ] && name="$argument"; previous="$argument"; done
job="${@: -1}"
echo "$name $job" >> started
case "$job" in
  wait*) trap 'exit 1' TERM; while true; do sleep 0.02; done ;;
  twice*) case "$name" in *-1) kill -9 $$ ;; esac ;;
  slow*) sleep 0.1 ;;
esac
"#;

/// Submits, and returns none if the Runner does not respond in time.
async fn try_submit(client: &Remote, request: &Submit) -> Option<Record> {
    match client.submit(request.clone()).await {
        Ok(submitted) => Some(submitted.record),
        Err(Error::Unavailable(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// Submits until the Runner responds, which may be busy.
async fn submit_to(client: &Remote, request: &Submit) -> Record {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(record) = try_submit(client, request).await {
            return record;
        }
        assert!(Instant::now() < deadline, "the Runner does not respond");
    }
}

/// Waits until an execution is in a phase, and returns false if the Runner dies before.
async fn wait_until_dead_or(client: &Remote, id: &Id, is: impl Fn(Phase) -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Ok(record) = client.check(id).await {
        if is(record.execution.phase) {
            return true;
        }
        assert!(Instant::now() < deadline, "the phase does not change: {record:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

async fn wait_for_end(client: &Remote, id: &Id) -> Record {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        if let Ok(record) = client.check(id).await
            && record.execution.phase.is_final()
        {
            return record;
        }
        assert!(Instant::now() < deadline, "{id} does not end: {:#?}", client.check(id).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks that each attempt started at most once and that no process is left, and returns the number of starts.
fn assert_started_once(fake_spark: &FakeSpark) -> usize {
    let started = fake_spark.lines("started");
    let names: HashSet<&String> = started.iter().collect();
    assert_eq!(names.len(), started.len(), "an attempt was started twice: {started:?}");
    assert_eq!(remaining_processes(&fake_spark.path("")), [""; 0], "processes are left");
    started.len()
}

/// Returns the processes whose environment names a folder of this machine.
fn remaining_processes(folder: &Path) -> Vec<String> {
    let mark = format!("{}/runs/", folder.display());
    let processes = std::fs::read_dir("/proc").expect("/proc exists").flatten();
    let marked = processes.filter(|process| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&mark)
    });
    marked.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}

/// The Runner dies before or after the n-th call to its backend, for every n, and the next Runner continues.
async fn survives_death_at_each_step(what: &str, cancels: bool, expected: Phase, starts: &[usize]) {
    let mut died = 0;
    for die_at in 1.. {
        let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
        let lease = Duration::from_mins(1);
        let mut first =
            Process::start(&fake_spark, &sqlite(&fake_spark), lease, die_at).expect("the Runner starts");
        let request = submit("one", what);
        // The Runner may die before it responds.
        let known = try_submit(&first.client, &request).await;
        if let (Some(record), true) = (&known, cancels)
            && wait_until_dead_or(&first.client, record.id(), |phase| phase == Phase::Running).await
        {
            let _ = first.client.cancel(record.id(), "tester").await;
        }
        let survived = match &known {
            Some(record) => wait_until_dead_or(&first.client, record.id(), Phase::is_final).await,
            None => false,
        };
        died += u32::from(!survived);
        first.kill();
        let second = Process::start(&fake_spark, &sqlite(&fake_spark), lease, 0).expect("the Runner starts");
        let again = submit_to(&second.client, &request).await;
        assert!(known.is_none_or(|known| known.id() == again.id()), "an acknowledged submit was lost");
        if cancels && !survived {
            second.client.cancel(again.id(), "tester").await.expect("the Runner responds");
        }
        let record = wait_for_end(&second.client, again.id()).await;
        assert_eq!(record.execution.phase, expected, "died at {die_at}: {record:#?}");
        let count = assert_started_once(&fake_spark);
        assert!(starts.contains(&count), "died at {die_at}: {count} starts: {record:#?}");
        if survived {
            break;
        }
    }
    // The start and the end of the create, and one change: a slow Runner may see all changes of a quick driver at once.
    assert!(died >= 3, "the Runner died only {died} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempt_survives_a_runner_death_at_each_step() {
    survives_death_at_each_step("work", false, Phase::Succeeded, &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_survives_a_runner_death_at_each_step() {
    survives_death_at_each_step("twice", false, Phase::Succeeded, &[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_survives_a_runner_death_at_each_step() {
    survives_death_at_each_step("wait", true, Phase::Cancelled, &[0, 1]).await;
}

/// The Runner dies before or after the n-th call to its backend while a later run replaces an earlier one.
#[tokio::test(flavor = "multi_thread")]
async fn replacement_survives_a_runner_death_at_each_step() {
    let ordered = |token: &str, what: &str, order: i64| {
        let (exclusive, order) = (Some("shop/orders".to_owned()), Some(order));
        Submit { exclusive, order, ..submit(token, what) }
    };
    let (earlier, later) = (ordered("earlier", "wait", 10), ordered("later", "work", 20));
    let mut died = 0;
    for die_at in 1.. {
        let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
        let lease = Duration::from_mins(1);
        let mut first =
            Process::start(&fake_spark, &sqlite(&fake_spark), lease, die_at).expect("the Runner starts");
        if let Some(record) = try_submit(&first.client, &earlier).await {
            wait_until_dead_or(&first.client, record.id(), |phase| phase == Phase::Running).await;
        }
        let survived = match try_submit(&first.client, &later).await {
            Some(record) => wait_until_dead_or(&first.client, record.id(), Phase::is_final).await,
            None => false,
        };
        died += u32::from(!survived);
        first.kill();
        let second = Process::start(&fake_spark, &sqlite(&fake_spark), lease, 0).expect("the Runner starts");
        // Unacknowledged submits are repeated, and acknowledged ones are found.
        let earlier = submit_to(&second.client, &earlier).await;
        let later = submit_to(&second.client, &later).await;
        let later = wait_for_end(&second.client, later.id()).await.execution;
        let earlier = wait_for_end(&second.client, earlier.id()).await.execution;
        assert_eq!((earlier.phase, later.phase), (Phase::Cancelled, Phase::Succeeded), "died at {die_at}");
        assert_eq!(earlier.stopping, Some(StopReason::Replaced { by: later.id.clone() }));
        assert!(earlier.ended <= Some(later.attempts[0].begun), "died at {die_at}: {earlier:#?} {later:#?}");
        assert_started_once(&fake_spark);
        if survived {
            break;
        }
    }
    assert!(died >= 6, "the Runner died only {died} times");
}

/// A panic at a step of an attempt ends neither the Runner nor the execution.
#[tokio::test(flavor = "multi_thread")]
async fn execution_continues_after_a_panic_at_each_step() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    for step in 1..=5 {
        let at = format!("panic:{step}");
        let lease = Duration::from_mins(1);
        let mut command = Process::command(&fake_spark, &sqlite(&fake_spark), lease, &at);
        let process = Process::spawn(&mut command).expect("the Runner starts");
        let id = submit_to(&process.client, &submit(&format!("t-{step}"), "slow")).await.id().clone();
        assert_eq!(wait_for_end(&process.client, &id).await.execution.phase, Phase::Succeeded, "step {step}");
        assert_eq!(assert_started_once(&fake_spark), step);
    }
}

/// Submits, again and again, to the Runner that is present, and returns the acknowledged executions by their tokens.
async fn submit_until(
    over: Arc<AtomicBool>,
    client: u32,
    mut present: watch::Receiver<Option<Remote>>,
) -> BTreeMap<String, Id> {
    let mut acknowledged = BTreeMap::new();
    for number in 0.. {
        let request = submit_of_token(&format!("t-{client}-{number}"));
        let record = loop {
            let runner = present.borrow_and_update().clone();
            if let Some(runner) = runner
                && let Some(record) = try_submit(&runner, &request).await
            {
                break record;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        acknowledged.insert(request.token.clone(), record.id().clone());
        if over.load(Ordering::SeqCst) {
            return acknowledged;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    acknowledged
}

/// Runners are killed at any time while clients submit. Acknowledged executions end, and each attempt starts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_executions_survive_random_runner_kills() {
    const KILLS: u32 = 25;
    let fake_spark = Arc::new(FakeSpark::with_version("4.1.1", DRIVER_SCRIPT));
    let database = sqlite(&fake_spark);
    let lease = Duration::from_mins(1);
    let (current, present) = watch::channel::<Option<Remote>>(None);
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..4 {
        clients.spawn(submit_until(Arc::clone(&over), client, present.clone()));
    }
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..KILLS {
        let mut process = Process::start(&fake_spark, &database, lease, 0).expect("the Runner starts");
        current.send_replace(Some(process.client.clone()));
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        tokio::time::sleep(Duration::from_millis(seed % 300)).await;
        process.kill();
    }
    let last = Process::start(&fake_spark, &database, lease, 0).expect("the Runner starts");
    current.send_replace(Some(last.client.clone()));
    over.store(true, Ordering::SeqCst);
    let mut all = BTreeMap::new();
    for acknowledged in clients.join_all().await {
        all.extend(acknowledged);
    }
    for (token, id) in &all {
        let record = wait_for_end(&last.client, id).await;
        assert_eq!(record.execution.phase, Phase::Succeeded, "{token}: {record:#?}");
        assert_eq!(
            last.client.submit(submit_of_token(token)).await.expect("the execution is known").record.id(),
            id
        );
    }
    let starts = assert_started_once(&fake_spark);
    println!("{KILLS} Runners killed, {} submits acknowledged, {starts} attempts started", all.len());
    assert!(all.len() >= 20, "{} submits only", all.len());
}

/// Returns the submit of a token.
fn submit_of_token(token: &str) -> Submit {
    let number: usize =
        token.rsplit('-').next().and_then(|it| it.parse().ok()).expect("the token has a number");
    submit(token, ["work", "twice", "slow"][number % 3])
}

/// Two Runners share a database. The one that accepted the submits is killed, and the other takes over after the lease.
pub(crate) async fn takeover_after_kill(database: &str) {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let lease = Duration::from_secs(2);
    let mut one = Process::start(&fake_spark, database, lease, 0).expect("the Runner starts");
    let other = Process::start(&fake_spark, database, lease, 0).expect("the Runner starts");
    let mut ids = Vec::new();
    for number in 0..6 {
        let request = submit(&format!("t{number}"), ["slow", "twice"][number % 2]);
        ids.push(submit_to(&one.client, &request).await.id().clone());
    }
    let waits = submit_to(&one.client, &submit("waits", "wait")).await.id().clone();
    one.kill();
    for id in &ids {
        let record = wait_for_end(&other.client, id).await;
        assert_eq!(record.execution.phase, Phase::Succeeded, "{record:#?}");
    }
    other.client.cancel(&waits, "tester").await.expect("the Runner responds");
    assert_eq!(wait_for_end(&other.client, &waits).await.execution.phase, Phase::Cancelled);
    assert_started_once(&fake_spark);
}

/// Two Runners share a database. One is suspended until the other has taken over, and accepts submits before it notices
/// the takeover. Acknowledged executions end, and failed submits can be repeated.
pub(crate) async fn suspended_beyond_lease(database: &str) {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let lease = Duration::from_secs(2);
    let one = Process::start(&fake_spark, database, lease, 0).expect("the Runner starts");
    let other = Process::start(&fake_spark, database, lease, 0).expect("the Runner starts");
    let store = dcp_runner::store::Store::postgres(database).await.expect("the store opens");
    let members = async || store.members().await.expect("the store can be read").into_iter().map(|it| it.0);
    for round in 0..3 {
        let before: HashSet<String> = members().await.collect();
        assert_eq!(before.len(), 2, "{before:?}");
        submit_to(&one.client, &submit(&format!("early-{round}"), "work")).await;
        let pid = one.child.id().to_string();
        send_signal(&pid, Signal::STOP);
        let submits = (0..8).map(|number| {
            let (client, request) = (one.client.clone(), submit(&format!("t-{round}-{number}"), "work"));
            async move { (try_submit(&client, &request).await, request) }
        });
        let submits: JoinSet<_> = submits.collect();
        let deadline = Instant::now() + Duration::from_mins(1);
        while members().await.filter(|id| before.contains(id)).count() == 2 {
            assert!(Instant::now() < deadline, "no Runner has taken over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        send_signal(&pid, Signal::CONT);
        for (record, request) in submits.join_all().await {
            // A rejected submit can be repeated safely with the same token, at any Runner.
            let record = match record {
                Some(record) => record,
                None => submit_to(&other.client, &request).await,
            };
            let id = record.id().clone();
            assert_eq!(wait_for_end(&other.client, &id).await.execution.phase, Phase::Succeeded);
        }
        // The suspended Runner joins again.
        while members().await.count() != 2 {
            assert!(Instant::now() < deadline, "the suspended Runner does not join again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(assert_started_once(&fake_spark), 3 * 9);
}
