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
use dcp_tests::machine::{Machine, kill};
use rustix::process::Signal;

use crate::{SUPERVISOR, submit};

/// Each start appends a line with the attempt's name and its task.
const SCRIPT: &str = r#"
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
    fn start(machine: &Machine, database: &str, lease: Duration, die_at: u32) -> Option<Self> {
        Self::start_with(machine, database, lease, &die_at.to_string())
    }

    fn start_with(machine: &Machine, database: &str, lease: Duration, die_at: &str) -> Option<Self> {
        let lease = lease.as_millis().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dcp-test-runner"))
            .arg(machine.path(""))
            .args([database, SUPERVISOR, &lease, die_at])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address).expect("it can be read");
        if address.is_empty() {
            child.wait().expect("it has ended");
            return None;
        }
        let mut options = Options::new(format!("http://{}", address.trim()), dcp_tests::TOKEN);
        options.retry_for = Duration::from_millis(200);
        Some(Self { child, client: Remote::new(options).expect("it is an address") })
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn sqlite(machine: &Machine) -> String {
    machine.path("runs.db").display().to_string()
}

/// Submits, and returns none if the Runner does not respond in time.
async fn insist(client: &Remote, asked: &Submit) -> Option<Record> {
    match client.submit(asked.clone()).await {
        Ok(submitted) => Some(submitted.record),
        Err(Error::Unavailable(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
}

async fn ends(client: &Remote, id: &Id) -> Record {
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
fn started_once(machine: &Machine) -> usize {
    let started = machine.lines("started");
    let names: HashSet<&String> = started.iter().collect();
    assert_eq!(names.len(), started.len(), "an attempt was started twice: {started:?}");
    assert_eq!(left(&machine.path("")), [""; 0], "there are processes left");
    started.len()
}

/// Returns the processes whose environment names a folder of this machine.
fn left(folder: &Path) -> Vec<String> {
    let mark = format!("{}/runs/", folder.display());
    let processes = std::fs::read_dir("/proc").expect("it is there").flatten();
    let marked = processes.filter(|process| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&mark)
    });
    marked.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}

/// The Runner dies before or after the n-th call to its backend, for every n, and the next Runner continues.
async fn dies_at_each_step(what: &str, cancels: bool, expected: Phase, starts: &[usize]) {
    let mut died = 0;
    for die_at in 1.. {
        let machine = Machine::of_version("4.1.1", SCRIPT);
        let lease = Duration::from_mins(1);
        let mut first = Process::start(&machine, &sqlite(&machine), lease, die_at).expect("it starts");
        let asked = submit("one", what);
        // The Runner may die before it responds.
        let known = insist(&first.client, &asked).await;
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
        let second = Process::start(&machine, &sqlite(&machine), lease, 0).expect("it starts");
        let again = insist(&second.client, &asked).await.expect("it is there");
        assert!(known.is_none_or(|known| known.id() == again.id()), "an acknowledged submit was lost");
        if cancels && !survived {
            second.client.cancel(again.id(), "tester").await.expect("it can be asked");
        }
        let record = ends(&second.client, again.id()).await;
        assert_eq!(record.execution.phase, expected, "died at {die_at}: {record:#?}");
        let count = started_once(&machine);
        assert!(starts.contains(&count), "died at {die_at}: {count} starts: {record:#?}");
        if survived {
            break;
        }
    }
    assert!(died >= 4, "it died {died} times only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_may_die_at_each_step_of_an_attempt() {
    dies_at_each_step("work", false, Phase::Succeeded, &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_may_die_at_each_step_of_a_repair() {
    dies_at_each_step("twice", false, Phase::Succeeded, &[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_may_die_at_each_step_of_a_cancel() {
    dies_at_each_step("wait", true, Phase::Cancelled, &[0, 1]).await;
}

/// The Runner dies before or after the n-th call to its backend while a later run replaces an earlier one.
#[tokio::test(flavor = "multi_thread")]
async fn runner_may_die_at_each_step_of_a_replacement() {
    let ordered = |token: &str, what: &str, order: i64| {
        let (exclusive, order) = (Some("shop/orders".to_owned()), Some(order));
        Submit { exclusive, order, ..submit(token, what) }
    };
    let (earlier, later) = (ordered("earlier", "wait", 10), ordered("later", "work", 20));
    let mut died = 0;
    for die_at in 1.. {
        let machine = Machine::of_version("4.1.1", SCRIPT);
        let lease = Duration::from_mins(1);
        let mut first = Process::start(&machine, &sqlite(&machine), lease, die_at).expect("it starts");
        if let Some(record) = insist(&first.client, &earlier).await {
            let deadline = Instant::now() + Duration::from_mins(1);
            while let Ok(record) = first.client.check(record.id()).await
                && record.execution.phase != Phase::Running
            {
                assert!(Instant::now() < deadline, "the earlier run does not start: {record:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let mut survived = false;
        if let Some(record) = insist(&first.client, &later).await {
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
        let second = Process::start(&machine, &sqlite(&machine), lease, 0).expect("it starts");
        // Unacknowledged submits are repeated, and acknowledged ones are found.
        let earlier = insist(&second.client, &earlier).await.expect("it is there");
        let later = insist(&second.client, &later).await.expect("it is there");
        let later = ends(&second.client, later.id()).await.execution;
        let earlier = ends(&second.client, earlier.id()).await.execution;
        assert_eq!((earlier.phase, later.phase), (Phase::Cancelled, Phase::Succeeded), "died at {die_at}");
        assert_eq!(earlier.stopping, Some(StopReason::Replaced { by: later.id.clone() }));
        assert!(earlier.ended <= Some(later.attempts[0].begun), "died at {die_at}: {earlier:#?} {later:#?}");
        started_once(&machine);
        if survived {
            break;
        }
    }
    assert!(died >= 6, "it died {died} times only");
}

/// A panic at a step of an attempt ends neither the Runner nor the execution.
#[tokio::test(flavor = "multi_thread")]
async fn execution_goes_on_after_a_panic_at_each_step() {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    for step in 1..=5 {
        let at = format!("panic:{step}");
        let process = Process::start_with(&machine, &sqlite(&machine), Duration::from_mins(1), &at);
        let process = process.expect("it starts");
        let id = insist(&process.client, &submit(&format!("t-{step}"), "slow"))
            .await
            .expect("it is kept")
            .id()
            .clone();
        assert_eq!(ends(&process.client, &id).await.execution.phase, Phase::Succeeded, "step {step}");
        assert_eq!(started_once(&machine), step);
    }
}

/// Runners are killed at any time while clients submit. Acknowledged executions end, and each attempt starts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runners_may_be_killed_at_any_time() {
    const KILLS: u32 = 25;
    let machine = Arc::new(Machine::of_version("4.1.1", SCRIPT));
    let database = sqlite(&machine);
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
                let asked = submit(&format!("t-{client}-{number}"), what);
                let record = loop {
                    let client = present.borrow_and_update().clone();
                    if let Some(client) = client
                        && let Some(record) = insist(&client, &asked).await
                    {
                        break record;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                };
                acknowledged.insert(asked.token.clone(), record.id().clone());
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
        let mut process = Process::start(&machine, &database, lease, 0).expect("it starts");
        current.send_replace(Some(process.client.clone()));
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        tokio::time::sleep(Duration::from_millis(seed % 300)).await;
        process.kill();
    }
    let last = Process::start(&machine, &database, lease, 0).expect("it starts");
    current.send_replace(Some(last.client.clone()));
    over.store(true, Ordering::SeqCst);
    let mut all = BTreeMap::new();
    for acknowledged in clients.join_all().await {
        all.extend(acknowledged);
    }
    for (token, id) in &all {
        let record = ends(&last.client, id).await;
        assert_eq!(record.execution.phase, Phase::Succeeded, "{token}: {record:#?}");
        assert_eq!(last.client.submit(again(token)).await.expect("it is known").record.id(), id);
    }
    let starts = started_once(&machine);
    println!("{KILLS} Runners killed, {} submits acknowledged, {starts} attempts started", all.len());
    assert!(all.len() >= 20, "{} submits only", all.len());
}

/// Returns the submit of a token.
fn again(token: &str) -> Submit {
    let number: usize = token.rsplit('-').next().and_then(|it| it.parse().ok()).expect("it has one");
    submit(token, ["work", "twice", "slow"][number % 3])
}

/// Two Runners share a database. The one that accepted the submits is killed, and the other takes over after the lease.
pub(crate) async fn another_takes_over(database: &str) {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let lease = Duration::from_secs(2);
    let mut one = Process::start(&machine, database, lease, 0).expect("it starts");
    let other = Process::start(&machine, database, lease, 0).expect("it starts");
    let mut ids = Vec::new();
    for number in 0..6 {
        let asked = submit(&format!("t{number}"), ["slow", "twice"][number % 2]);
        ids.push(insist(&one.client, &asked).await.expect("it is kept").id().clone());
    }
    let waits = insist(&one.client, &submit("waits", "wait")).await.expect("it is kept").id().clone();
    one.kill();
    for id in &ids {
        let record = ends(&other.client, id).await;
        assert_eq!(record.execution.phase, Phase::Succeeded, "{record:#?}");
    }
    other.client.cancel(&waits, "tester").await.expect("it can be asked");
    assert_eq!(ends(&other.client, &waits).await.execution.phase, Phase::Cancelled);
    started_once(&machine);
}

/// Two Runners share a database. One is suspended until the other has taken over, and accepts submits before it notices
/// the takeover. Acknowledged executions end, and failed submits can be repeated.
pub(crate) async fn stopped_for_longer_than_its_lease(database: &str) {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let lease = Duration::from_secs(2);
    let one = Process::start(&machine, database, lease, 0).expect("it starts");
    let other = Process::start(&machine, database, lease, 0).expect("it starts");
    let store = dcp_runner::store::Store::postgres(database).await.expect("it opens");
    let members = async || store.members().await.expect("it can be read").into_iter().map(|it| it.0);
    for round in 0..3 {
        let before: HashSet<String> = members().await.collect();
        assert_eq!(before.len(), 2, "{before:?}");
        insist(&one.client, &submit(&format!("early-{round}"), "work")).await.expect("it is kept");
        let pid = one.child.id().to_string();
        kill(&pid, Signal::STOP);
        let mut submits = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (client, asked) = (one.client.clone(), submit(&format!("t-{round}-{number}"), "work"));
            submits.spawn(async move {
                let record = insist(&client, &asked).await;
                (asked, record)
            });
        }
        let deadline = Instant::now() + Duration::from_mins(1);
        while members().await.filter(|id| before.contains(id)).count() == 2 {
            assert!(Instant::now() < deadline, "nobody has taken over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        kill(&pid, Signal::CONT);
        for (asked, record) in submits.join_all().await {
            let id = match record {
                Some(record) => record.id().clone(),
                // A rejected submit can be repeated safely with the same token, at any Runner.
                None => insist(&other.client, &asked).await.expect("the other one takes it").id().clone(),
            };
            assert_eq!(ends(&other.client, &id).await.execution.phase, Phase::Succeeded);
        }
        // The suspended Runner joins again.
        while members().await.count() != 2 {
            assert!(Instant::now() < deadline, "the one that was stopped does not join again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(started_once(&machine), 3 * 9);
}
