//! Limits of domains, and the keys and checkpoints of domains, in each database.

pub(crate) mod keys;
pub(crate) mod simulation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use dcp_model::policy::PolicyFile;
use dcp_runner::api::{Error, Record, Runner as _};
use dcp_runner::execution::{Id, Phase};
use dcp_runner::in_process::{InProcessRunner, Options};
use dcp_runner::request::{Definition, Submit};
use dcp_runner::results::Results;
use dcp_runner::store::{NewExecution, SaveExtras, Start, Store};
use dcp_server::policy::Policy;
use dcp_tests::fake_spark::FakeSpark;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::persistence::new_execution;
use crate::{DRIVER_SCRIPT, options, submit, wait_for, wait_for_end};

pub(crate) use keys::{a_checkpoint_belongs_to_the_first_domain, a_key_belongs_to_its_domain};

/// Defines a test for each rule, with two stores of one database.
macro_rules! limits {
    ($stores:expr) => {
        crate::limits::tests! {
            $stores;
            starts_stay_within_the_limit_of_each_domain,
            only_one_of_two_concurrent_starts_is_stored,
            results_of_a_domain_are_summed,
            a_key_belongs_to_its_domain,
            a_checkpoint_belongs_to_the_first_domain,
            executions_beyond_the_limit_wait,
            a_changed_limit_is_in_force,
            submits_beyond_the_rate_are_rejected,
            results_of_a_domain_are_limited,
        }
    };
}
pub(crate) use limits;

macro_rules! tests {
    ($stores:expr; $($rule:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $rule() {
                let (_folder, [one, other]) = $stores.await;
                crate::limits::$rule(one, other).await;
            }
        )+
    };
}
pub(crate) use tests;

/// Returns a policy with limits.
pub(crate) fn policy(limits: &Value) -> Arc<Policy> {
    let file: PolicyFile =
        serde_json::from_value(json!({"bindings": [], "limits": limits})).expect("the limits are valid");
    Arc::new(file.policy())
}

/// Returns a new execution of a domain.
fn of_domain(domain: &str, number: i64) -> NewExecution {
    let mut new = new_execution(&crate::job(), (number, None, None));
    new.record.request.domain = domain.to_owned();
    new
}

async fn stored(store: &Store, domain: &str, number: i64) -> Record {
    store.submit(of_domain(domain, number)).await.expect("it is stored").record
}

async fn start(store: &Store, record: &mut Record, limit: u32) -> Start {
    record.execution.phase = Phase::Submitting;
    let start = store.start(record, SaveExtras::default(), limit).await.expect("the database responds");
    if start != Start::Stored {
        record.execution.phase = Phase::Queued;
    }
    start
}

async fn end(store: &Store, record: &mut Record) {
    (record.execution.phase, record.execution.ended) = (Phase::Succeeded, Some(Timestamp::UNIX_EPOCH));
    assert!(store.save(record, SaveExtras::default()).await.expect("the database responds"));
}

/// The number of executions of a domain that run at once in the test below.
const LIMIT: u32 = 3;

/// Tries to start an execution until it is stored, or its domain has as many as its limit.
async fn start_or_full(
    store: Store,
    mut record: Record,
    count: Arc<(&'static str, AtomicU32)>,
) -> Option<Record> {
    // A start is also reported as full if the other Runner starts one at that moment.
    loop {
        let is_full = count.1.load(SeqCst) >= LIMIT;
        if start(&store, &mut record, LIMIT).await == Start::Stored {
            count.1.fetch_add(1, SeqCst);
            return Some(record);
        }
        if is_full {
            return None;
        }
        tokio::task::yield_now().await;
    }
}

/// Two Runners start executions of two domains at the same time.
pub(crate) async fn starts_stay_within_the_limit_of_each_domain(one: Store, other: Store) {
    one.register("nobody").await.expect("the database responds");
    let mut tasks = JoinSet::new();
    let counts = [("sales", AtomicU32::new(0)), ("logistics", AtomicU32::new(0))].map(Arc::new);
    for number in 0..40 {
        let domain = if number % 4 == 0 { "logistics" } else { "sales" };
        let (store, record) =
            (if number % 2 == 0 { one.clone() } else { other.clone() }, stored(&one, domain, number).await);
        let count = counts.iter().find(|it| it.0 == domain).map(Arc::clone).expect("there are two domains");
        tasks.spawn(start_or_full(store, record, count));
    }
    let started: Vec<Record> = tasks.join_all().await.into_iter().flatten().collect();
    let count = |domain: &str| started.iter().filter(|it| it.request.domain == domain).count();
    assert_eq!((count("sales"), count("logistics")), (3, 3));
    // A cancelled execution counts until it has ended; then another one can start.
    let mut running = started.into_iter().find(|it| it.request.domain == "sales").expect("it was started");
    let mut next = stored(&other, "sales", 100).await;
    assert_eq!(start(&other, &mut next, LIMIT).await, Start::Full);
    running.execution.phase = Phase::Cancelling;
    assert!(one.save(&mut running, SaveExtras::default()).await.expect("the database responds"));
    assert_eq!(start(&other, &mut next, LIMIT).await, Start::Full, "it may still run");
    end(&one, &mut running).await;
    assert_eq!(start(&other, &mut next, LIMIT).await, Start::Stored);
    assert_eq!(start(&one, &mut stored(&one, "sales", 101).await, LIMIT).await, Start::Full);
    // A start of an execution that another writer has changed is not stored.
    let mut changed = stored(&one, "finance", 102).await;
    let mut outdated = changed.clone();
    end(&one, &mut changed).await;
    assert_eq!(start(&other, &mut outdated, LIMIT).await, Start::Changed);
    // A higher or lower limit is in force at once.
    assert_eq!(start(&one, &mut stored(&one, "sales", 103).await, LIMIT + 1).await, Start::Stored);
    assert_eq!(start(&one, &mut stored(&one, "sales", 104).await, 1).await, Start::Full);
}

/// Two Runners start the first execution of a domain at the same moment, many times.
pub(crate) async fn only_one_of_two_concurrent_starts_is_stored(one: Store, other: Store) {
    one.register("nobody").await.expect("the database responds");
    for round in 0..60 {
        let domain = format!("domain-{round}");
        let mut first = stored(&one, &domain, 2 * round).await;
        let mut second = stored(&other, &domain, 2 * round + 1).await;
        let started = futures_util::join!(start(&one, &mut first, 1), start(&other, &mut second, 1));
        assert_ne!(started, (Start::Stored, Start::Stored), "round {round}");
    }
}

/// Another process holds the lock of a domain, like a Runner that is paused between its count and its write.
pub(crate) async fn a_paused_start_delays_no_other_domain(store: Store, url: &str) {
    store.register("nobody").await.expect("the database responds");
    let (mut sales, mut logistics) = (stored(&store, "sales", 1).await, stored(&store, "logistics", 2).await);
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(url).await.expect("the database can be reached");
    let mut paused = pool.begin().await.expect("the database can be reached");
    let lock = "SELECT CAST(pg_advisory_xact_lock(72331760, hashtext('sales')) AS TEXT)";
    sqlx::query(lock).execute(&mut *paused).await.expect("the lock is free");
    let starts = async {
        assert_eq!(start(&store, &mut sales, 1).await, Start::Full);
        assert_eq!(start(&store, &mut logistics, 1).await, Start::Stored);
        stored(&store, "sales", 3).await;
    };
    tokio::time::timeout(Duration::from_secs(5), starts).await.expect("nothing waits for the lock");
    paused.rollback().await.expect("the database can be reached");
    assert_eq!(start(&store, &mut sales, 1).await, Start::Stored);
}

/// The size of a result is stored with its execution, and removed with it.
pub(crate) async fn results_of_a_domain_are_summed(store: Store, _: Store) {
    store.register("nobody").await.expect("the database responds");
    assert_eq!(store.result_bytes("sales").await, Ok(0));
    let mut records = Vec::new();
    for (number, domain, bytes) in
        [(1, "sales", Some(5)), (2, "sales", Some(1 << 40)), (3, "hr", Some(7)), (4, "sales", None)]
    {
        let mut record = stored(&store, domain, number).await;
        let at = Timestamp::from_second(1_800_000_000 + number).expect("it is valid");
        (record.execution.phase, record.execution.ended) = (Phase::Succeeded, Some(at));
        let extras = SaveExtras { clean_at: Some(at), result_bytes: bytes, ..SaveExtras::default() };
        assert!(store.save(&mut record, extras).await.expect("the database responds"));
        records.push(record);
    }
    assert_eq!(store.result_bytes("sales").await, Ok((1 << 40) + 5));
    assert_eq!(store.result_bytes("hr").await, Ok(7));
    // As after the removal of its data.
    assert!(store.save(&mut records[1], SaveExtras::default()).await.expect("the database responds"));
    assert_eq!(store.result_bytes("sales").await, Ok(5));
    assert!(store.save(&mut records[0], SaveExtras::default()).await.expect("the database responds"));
    let later = Timestamp::from_second(1_900_000_000).expect("it is valid");
    assert_eq!(store.delete_ended(later, 10).await, Ok(2));
    assert_eq!((store.result_bytes("sales").await, store.result_bytes("hr").await), (Ok(0), Ok(7)));
}

/// Returns the options of a Runner whose policy can be changed.
fn limited(fake_spark: &FakeSpark, limits: &Value) -> (Options, watch::Sender<Arc<Policy>>) {
    let (sender, receiver) = watch::channel(policy(limits));
    (Options { policy: Some(receiver), ..options(fake_spark) }, sender)
}

fn submit_of(domain: &str, token: &str, what: &str) -> Submit {
    let mut job = crate::job();
    job.metadata.domain = serde_json::from_value(json!(domain)).expect("it is a domain");
    Submit { job: Definition::from(job), ..submit(token, what) }
}

fn waits_for(text: &str) -> impl Fn(&Record) -> bool {
    move |record| record.execution.waiting.as_deref().is_some_and(|why| why.contains(text))
}

/// A Runner with a limit of one execution of `sales`, which runs, and one that waits.
struct Waiting {
    fake_spark: FakeSpark,
    runner: InProcessRunner,
    policy: watch::Sender<Arc<Policy>>,
    running: Id,
    first: Id,
}

impl Waiting {
    async fn start(store: Store, slots: Option<usize>) -> Self {
        let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
        let (mut options, policy) = limited(&fake_spark, &json!([{"domains": ["sales"], "running": 1}]));
        options.backends[0].1.slots = slots;
        let runner = InProcessRunner::start(store, options).await.expect("the Runner starts");
        let running = run(&runner, "sales", "wait-1").await;
        wait_for(&runner, &running, |it| it.execution.phase == Phase::Running).await;
        let first = run(&runner, "sales", "wait-2").await;
        Self { fake_spark, runner, policy, running, first }
    }

    async fn is_in(&self, id: &Id, phase: Phase) -> bool {
        self.runner.check(id).await.expect("it is known").execution.phase == phase
    }

    fn end_driver(&self, name: &str) {
        std::fs::write(self.fake_spark.path(&format!("go-{name}")), "").expect("the file can be written");
    }
}

async fn run(runner: &InProcessRunner, domain: &str, what: &str) -> Id {
    let submitted = runner.submit(submit_of(domain, &format!("{domain}-{what}"), what)).await;
    // Ids of the same millisecond have no order.
    tokio::time::sleep(Duration::from_millis(2)).await;
    submitted.expect("the submit is accepted").record.id().clone()
}

/// Executions beyond the limit wait in their order, with the reason, and delay no other domain.
pub(crate) async fn executions_beyond_the_limit_wait(store: Store, _: Store) {
    let waiting = Waiting::start(store, Some(2)).await;
    let runner = &waiting.runner;
    let record =
        wait_for(runner, &waiting.first, waits_for("as many executions of the domain `sales` run")).await;
    let seen = (record.execution.phase, record.version);
    assert_eq!(seen, (Phase::Queued, 1), "a waiting execution is not written");
    let second = run(runner, "sales", "work-3").await;
    wait_for(runner, &second, waits_for("earlier executions of the domain `sales`")).await;
    let cancelled = run(runner, "sales", "work-4").await;
    wait_for(runner, &cancelled, waits_for("earlier executions")).await;
    runner.cancel(&cancelled, "tester").await.expect("the Runner responds");
    assert_eq!(wait_for_end(runner, &cancelled).await.execution.phase, Phase::Cancelled);
    // The second slot is free for another domain, again and again.
    for number in 0..3 {
        let other = run(runner, "logistics", &format!("work-{number}")).await;
        assert_eq!(wait_for_end(runner, &other).await.execution.phase, Phase::Succeeded);
    }
    waiting.end_driver("wait-1");
    wait_for(runner, &waiting.first, |it| it.execution.phase == Phase::Running).await;
    assert!(waiting.is_in(&second, Phase::Queued).await);
    waiting.end_driver("wait-2");
    assert_eq!(wait_for_end(runner, &second).await.execution.phase, Phase::Succeeded);
}

/// A changed limit is in force without a restart, and what runs goes on.
pub(crate) async fn a_changed_limit_is_in_force(store: Store, _: Store) {
    let waiting = Waiting::start(store, None).await;
    let runner = &waiting.runner;
    wait_for(runner, &waiting.first, waits_for("limit `running: 1`")).await;
    waiting.policy.send_replace(policy(&json!([{"domains": ["*"], "running": 2}])));
    wait_for(runner, &waiting.first, |it| it.execution.phase == Phase::Running).await;
    waiting.policy.send_replace(policy(&json!([{"domains": ["*"], "running": 1}])));
    let second = run(runner, "sales", "work-3").await;
    let third = run(runner, "sales", "work-4").await;
    wait_for(runner, &second, waits_for("limit `running: 1`")).await;
    assert!(waiting.is_in(&waiting.running, Phase::Running).await);
    waiting.end_driver("wait-1");
    wait_for_end(runner, &waiting.running).await;
    assert!(waiting.is_in(&second, Phase::Queued).await, "one still runs");
    // Without a limit, the line dissolves.
    waiting.policy.send_replace(policy(&json!([])));
    for id in [&second, &third] {
        assert_eq!(wait_for_end(runner, id).await.execution.phase, Phase::Succeeded);
    }
    assert!(waiting.is_in(&waiting.first, Phase::Running).await);
    waiting.end_driver("wait-2");
    wait_for_end(runner, &waiting.first).await;
}

/// Submits beyond the rate are rejected with the time of a retry, and repeated ones are not counted.
pub(crate) async fn submits_beyond_the_rate_are_rejected(store: Store, _: Store) {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let limits =
        json!([{"domains": ["sales"], "submitsPerSecond": 1, "queued": 5}, {"domains": ["hr"], "queued": 1}]);
    let (options, _policy) = limited(&fake_spark, &limits);
    let runner = InProcessRunner::start(store, options).await.expect("the Runner starts");
    let first = runner.submit(submit_of("sales", "first", "work")).await.expect("it is the first").record;
    let error = runner.submit(submit_of("sales", "second", "work")).await.expect_err("it is too early");
    let Error::Exhausted { message, retry_after: Some(wait) } = error else { panic!("{error:?}") };
    assert!(message.contains("`sales`") && message.contains("submitsPerSecond: 1"), "{message}");
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    // Other domains are not affected, and a known token gets its response even now.
    runner.submit(submit_of("logistics", "other", "work")).await.expect("it has no limit");
    let again = runner.submit(submit_of("sales", "first", "work")).await.expect("the token is known");
    assert_eq!((again.fresh, again.record.id()), (false, first.id()));
    tokio::time::sleep(wait).await;
    // Repeated submits give their count back.
    for _ in 0..5 {
        assert!(!runner.submit(submit_of("sales", "first", "work")).await.expect("the token is known").fresh);
    }
    assert!(runner.submit(submit_of("sales", "second", "work")).await.expect("the wait is over").fresh);
}

/// Writes 1,500 bytes as the result of a job of SQL, in the place of the rows.
const RESULT_SCRIPT: &str = r#"
out=$(grep -o '"results":"[^"]*"' "${@: -1}" | cut -d '"' -f 4)
out=${out#file://}
mkdir -p "$out" && head -c 1500 /dev/zero > "$out/part-00000.avro" && touch "$out/_SUCCESS"
"#;

/// A domain whose results take as much as they may gets no more of them, until one is removed.
pub(crate) async fn results_of_a_domain_are_limited(store: Store, _: Store) {
    let fake_spark = FakeSpark::with_version("4.1.1", RESULT_SCRIPT);
    let (mut options, policy_of) = limited(&fake_spark, &json!([{"domains": ["tests"], "results": "1k"}]));
    let results = fake_spark.path("results").display().to_string();
    options.results = Some(Results::open(&results).expect("the folder is valid"));
    let runner = InProcessRunner::start(store.clone(), options).await.expect("the Runner starts");
    let returning = |token: &str, returns: bool, ttl: &str| {
        let query = if returns { "SELECT 1 AS one" } else { "CREATE TABLE lake.one AS SELECT 1 AS one" };
        let job = format!(
            "  job: {{sql: {{query: \"{query}\", returnResult: {returns}}}}}\n  ttl: {ttl}\n  outputs: []\n"
        );
        let job = Definition::from(dcp_tests::job(&job));
        Submit { job, parameters: BTreeMap::new(), ..submit(token, "") }
    };
    let first = runner.submit(returning("first", true, "2s")).await.expect("nothing is stored").record;
    assert_eq!(wait_for_end(&runner, first.id()).await.execution.phase, Phase::Succeeded);
    let error = runner.submit(returning("second", true, "1h")).await.expect_err("the limit is reached");
    let Error::Exhausted { message, .. } = &error else { panic!("{error:?}") };
    for part in ["`tests` take 1.4 KiB", "results: 1 KiB", "`ttl`"] {
        assert!(message.contains(part), "{message}");
    }
    runner.submit(returning("plain", false, "1h")).await.expect("it returns no rows");
    assert!(!runner.submit(returning("first", true, "2s")).await.expect("the token is known").fresh);
    // Once the result is removed, there is space again.
    while store.result_bytes("tests").await.expect("the database responds") > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = runner.submit(returning("second", true, "1h")).await.expect("there is space").record;
    assert_eq!(wait_for_end(&runner, second.id()).await.execution.phase, Phase::Succeeded);
    runner.submit(returning("third", true, "1h")).await.expect_err("the limit is reached again");
    policy_of.send_replace(policy(&json!([{"domains": ["*"], "results": "1m"}])));
    runner.submit(returning("third", true, "1h")).await.expect("the limit is higher");
}
