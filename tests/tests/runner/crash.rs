//! Kills Runners in separate processes. Each acknowledged execution must end, and no attempt may start twice.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dcp_runner::api::{Error, Record, Runner};
use dcp_runner::execution::{Id, Phase, StopReason};
use dcp_runner::remote::{Options, Remote};
use dcp_runner::request::Submit;
use dcp_tests::fake_spark::{FakeSpark, send_signal};
use rustix::process::Signal;

use crate::{SUPERVISOR, submit};

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

/// A Runner in a separate process.
struct Process {
    child: Child,
    client: Remote,
}

impl Process {
    fn start(fake_spark: &FakeSpark, database: &str, lease: Duration, die_at: u32) -> Option<Self> {
        Self::start_with(fake_spark, database, lease, &die_at.to_string())
    }

    fn start_with(fake_spark: &FakeSpark, database: &str, lease: Duration, die_at: &str) -> Option<Self> {
        let lease = lease.as_millis().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dcp-test-runner"))
            .arg(fake_spark.path(""))
            .args([database, SUPERVISOR, &lease, die_at])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Runner starts");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("the stream is piped");
        BufReader::new(stdout).read_line(&mut address).expect("the output can be read");
        if address.is_empty() {
            child.wait().expect("the Runner has ended");
            return None;
        }
        let mut options = Options::new(format!("http://{}", address.trim()), dcp_tests::TOKEN);
        options.retry_for = Duration::from_millis(200);
        Some(Self { child, client: Remote::new(options).expect("the address is valid") })
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("the Runner has ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn sqlite(fake_spark: &FakeSpark) -> String {
    fake_spark.path("runs.db").display().to_string()
}

/// Submits, and returns none if the Runner does not respond in time.
async fn try_submit(client: &Remote, request: &Submit) -> Option<Record> {
    match client.submit(request.clone()).await {
        Ok(submitted) => Some(submitted.record),
        Err(Error::Unavailable(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
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
        if let (Some(record), true) = (&known, cancels) {
            let id = record.id().clone();
            // Wait until the execution runs or the Runner is gone.
            while let Ok(record) = first.client.check(&id).await {
                if record.execution.phase == Phase::Running {
                    let _ = first.client.cancel(&id, "tester").await;
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let survived = if let Some(record) = &known {
            let id = record.id().clone();
            loop {
                match first.client.check(&id).await {
                    Ok(record) if record.execution.phase.is_final() => break true,
                    Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(_) => break false,
                }
            }
        } else {
            false
        };
        died += u32::from(!survived);
        first.kill();
        let second = Process::start(&fake_spark, &sqlite(&fake_spark), lease, 0).expect("the Runner starts");
        let again = try_submit(&second.client, &request).await.expect("the submit is accepted");
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
    assert!(died >= 4, "the Runner died only {died} times");
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
            let deadline = Instant::now() + Duration::from_mins(1);
            while let Ok(record) = first.client.check(record.id()).await
                && record.execution.phase != Phase::Running
            {
                assert!(Instant::now() < deadline, "the earlier run does not start: {record:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let mut survived = false;
        if let Some(record) = try_submit(&first.client, &later).await {
            let deadline = Instant::now() + Duration::from_mins(1);
            while let Ok(record) = first.client.check(record.id()).await
                && !survived
            {
                assert!(Instant::now() < deadline, "the later run does not end: {record:?}");
                survived = record.execution.phase.is_final();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        died += u32::from(!survived);
        first.kill();
        let second = Process::start(&fake_spark, &sqlite(&fake_spark), lease, 0).expect("the Runner starts");
        // Unacknowledged submits are repeated, and acknowledged ones are found.
        let earlier = try_submit(&second.client, &earlier).await.expect("the submit is accepted");
        let later = try_submit(&second.client, &later).await.expect("the submit is accepted");
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
        let process = Process::start_with(&fake_spark, &sqlite(&fake_spark), Duration::from_mins(1), &at);
        let process = process.expect("the Runner starts");
        let id = try_submit(&process.client, &submit(&format!("t-{step}"), "slow"))
            .await
            .expect("the submit is accepted")
            .id()
            .clone();
        assert_eq!(wait_for_end(&process.client, &id).await.execution.phase, Phase::Succeeded, "step {step}");
        assert_eq!(assert_started_once(&fake_spark), step);
    }
}

/// Runners are killed at any time while clients submit. Acknowledged executions end, and each attempt starts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_executions_survive_random_runner_kills() {
    const KILLS: u32 = 25;
    let fake_spark = Arc::new(FakeSpark::with_version("4.1.1", DRIVER_SCRIPT));
    let database = sqlite(&fake_spark);
    let lease = Duration::from_mins(1);
    let (current, present) = tokio::sync::watch::channel::<Option<Remote>>(None);
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (mut present, over) = (present.clone(), Arc::clone(&over));
        clients.spawn(async move {
            let mut acknowledged = BTreeMap::new();
            for number in 0.. {
                let what = ["work", "twice", "slow"][number % 3];
                let request = submit(&format!("t-{client}-{number}"), what);
                let record = loop {
                    let client = present.borrow_and_update().clone();
                    if let Some(client) = client
                        && let Some(record) = try_submit(&client, &request).await
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
        });
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
        ids.push(try_submit(&one.client, &request).await.expect("the submit is accepted").id().clone());
    }
    let waits =
        try_submit(&one.client, &submit("waits", "wait")).await.expect("the submit is accepted").id().clone();
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
        try_submit(&one.client, &submit(&format!("early-{round}"), "work"))
            .await
            .expect("the submit is accepted");
        let pid = one.child.id().to_string();
        send_signal(&pid, Signal::STOP);
        let mut submits = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (client, request) = (one.client.clone(), submit(&format!("t-{round}-{number}"), "work"));
            submits.spawn(async move {
                let record = try_submit(&client, &request).await;
                (request, record)
            });
        }
        let deadline = Instant::now() + Duration::from_mins(1);
        while members().await.filter(|id| before.contains(id)).count() == 2 {
            assert!(Instant::now() < deadline, "no Runner has taken over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        send_signal(&pid, Signal::CONT);
        for (request, record) in submits.join_all().await {
            let id = match record {
                Some(record) => record.id().clone(),
                // A rejected submit can be repeated safely with the same token, at any Runner.
                None => try_submit(&other.client, &request)
                    .await
                    .expect("the other Runner accepts the submit")
                    .id()
                    .clone(),
            };
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
