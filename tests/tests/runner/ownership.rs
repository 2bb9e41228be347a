//! Ownership of executions. Even if Runners are suspended, resume or are taken over, a member owns each acknowledged
//! execution, and no two Runners act on one.
//!
//! A simulation runs the memberships and the store of several Runners in one process, with a manual clock and thousands
//! of steps. `DCP_SEED=N` repeats a single simulation. Further tests use real processes and real concurrency.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dcp_model::manifest::Backend;
use dcp_runner::api::{Error, Filter, Record, Runner};
use dcp_runner::clock::Clock;
use dcp_runner::execution::{Execution, Id, Phase, Policy};
use dcp_runner::in_process::membership::{FailureDetection, Membership};
use dcp_runner::request::{CanonicalJob, Definition, Fence, Submit};
use dcp_runner::store::{NewExecution, SaveExtras, Store};
use jiff::Timestamp;
use sqlx::{AnyPool, AssertSqlSafe};
use tokio::sync::watch;

use crate::submit;

const PLACE: &str = "here";
const LEASE: Duration = Duration::from_secs(15);

/// A small generator of numbers that depend on the seed alone.
pub(crate) struct SeededRng(pub(crate) u64);

impl SeededRng {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) fn index(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).expect("the number is smaller than a usize")
    }
}

/// A Runner between two steps.
struct SimulatedRunner {
    membership: Membership,
    paused: bool,
    /// A submit that is prepared but not stored.
    in_flight: Option<NewExecution>,
    /// The executions that it knows to own, with the id that it had when it read them.
    owned: (String, BTreeMap<Id, Record>),
}

impl SimulatedRunner {
    /// Returns true if it acts on an execution now.
    fn acts_on(&self, id: &Id) -> bool {
        self.owned.0 == self.membership.id() && self.membership.is_valid() && self.owned.1.contains_key(id)
    }
}

struct Simulation {
    store: Store,
    millis: Arc<AtomicU64>,
    job: Arc<CanonicalJob>,
    runners: Vec<SimulatedRunner>,
    /// The execution that each token was acknowledged with.
    acknowledged: BTreeMap<String, Id>,
    /// Tokens of failed submits, which are repeated.
    failed: BTreeSet<String>,
    tokens: u64,
    rejected: u64,
}

impl Simulation {
    async fn new(store: Store, runners: usize) -> Self {
        let millis = Arc::new(AtomicU64::new(1_000_000));
        let mut all = Vec::new();
        for _ in 0..runners {
            let clock = Clock::manual(Arc::clone(&millis));
            let membership = Membership::join(&store, FailureDetection::Heartbeats, (PLACE, LEASE), clock)
                .await
                .expect("the Runner joins");
            let owned = (membership.id(), BTreeMap::new());
            all.push(SimulatedRunner { membership, paused: false, in_flight: None, owned });
        }
        let job = Arc::new(CanonicalJob::new(crate::job()));
        let (acknowledged, failed) = (BTreeMap::new(), BTreeSet::new());
        Self { store, millis, job, runners: all, acknowledged, failed, tokens: 0, rejected: 0 }
    }

    async fn step(&mut self, rng: &mut SeededRng) {
        self.millis.fetch_add(rng.below(1500), Ordering::SeqCst);
        let index = rng.index(self.runners.len());
        let runner = &mut self.runners[index];
        if runner.paused {
            runner.paused = rng.below(12) != 0;
            return;
        }
        match rng.below(16) {
            0 => runner.paused = true,
            1..=4 => runner.membership.heartbeat(&self.store).await.expect("the store can be reached"),
            5..=7 => run_maintenance(runner, &self.store).await,
            8..=10 => {
                let token = self.failed.pop_first().unwrap_or_else(|| {
                    self.tokens += 1;
                    format!("t{}", self.tokens)
                });
                // If two submits are in flight, the first one fails.
                let new = new_execution(&self.job, &token, runner.membership.id(), rng);
                let before = runner.in_flight.replace(new);
                self.failed.extend(before.map(|new| new.record.request.token));
            }
            11..=13 => self.write(index).await,
            _ => save(runner, &self.store, rng).await,
        }
    }

    /// Stores the submit that a Runner has in flight.
    async fn write(&mut self, index: usize) {
        let Some(new) = self.runners[index].in_flight.take() else { return };
        let token = new.record.request.token.clone();
        match self.store.submit(new).await {
            Ok(submitted) => {
                let id = submitted.record.id().clone();
                let known = self.acknowledged.entry(token).or_insert_with(|| id.clone());
                assert_eq!(*known, id, "one token, one execution");
                let owned = &mut self.runners[index].owned;
                if submitted.fresh && owned.0 == submitted.record.owner {
                    owned.1.insert(id, submitted.record);
                }
            }
            Err(Error::Unavailable(_)) => {
                self.rejected += 1;
                self.failed.insert(token);
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Checks the conditions that hold after every step.
    async fn check(&self) {
        let absent = self.store.absent_owners().await.expect("the store can be read");
        assert!(absent.is_empty(), "{absent:?} own executions and are no members");
        for id in self.acknowledged.values() {
            let acting = self.runners.iter().filter(|it| it.acts_on(id)).count();
            assert!(acting <= 1, "{acting} Runners act on {id}");
        }
    }

    /// Resumes all Runners, and runs their maintenance tasks for as long as a takeover takes.
    async fn settle(&mut self, rng: &mut SeededRng) {
        for _ in 0..40 {
            self.millis.fetch_add(1000, Ordering::SeqCst);
            for index in 0..self.runners.len() {
                self.runners[index].paused = false;
                self.write(index).await;
                let runner = &mut self.runners[index];
                runner.membership.heartbeat(&self.store).await.expect("the store can be reached");
                run_maintenance(runner, &self.store).await;
                if let Some(token) = self.failed.pop_first() {
                    let again = new_execution(&self.job, &token, self.runners[index].membership.id(), rng);
                    self.runners[index].in_flight = Some(again);
                }
            }
        }
        assert!(self.failed.is_empty(), "submits still fail: {:?}", self.failed);
    }

    /// Checks that exactly one Runner acts on each live execution.
    async fn check_settled(&self) {
        for (token, id) in &self.acknowledged {
            let record =
                self.store.get(id).await.expect("the store can be read").expect("the execution is stored");
            if record.execution.phase.is_final() {
                continue;
            }
            let acting = self.runners.iter().filter(|it| it.acts_on(id)).count();
            assert_eq!(acting, 1, "Runners that act on {token} of {}", record.owner);
        }
    }
}

/// Runs the maintenance tasks of a Runner.
async fn run_maintenance(runner: &mut SimulatedRunner, store: &Store) {
    runner.membership.take_over(store).await.expect("the store can be reached");
    runner.membership.adopt_orphans(store).await.expect("the store can be reached");
    let id = runner.membership.id();
    let mut owned = BTreeMap::new();
    for (execution, _, _) in store.owned(&id).await.expect("the store can be read") {
        let record =
            store.get(&execution).await.expect("the store can be read").expect("the execution is stored");
        owned.insert(execution, record);
    }
    runner.owned = (id, owned);
}

/// Stores a step of an execution that the Runner acts on, based on the record that it knows.
async fn save(runner: &mut SimulatedRunner, store: &Store, rng: &mut SeededRng) {
    let (id, owned) = &mut runner.owned;
    if owned.is_empty() || *id != runner.membership.id() || !runner.membership.is_valid() {
        return;
    }
    let at = rng.index(owned.len());
    let Some(record) = owned.values_mut().nth(at) else { return };
    let ends = rng.below(4) == 0;
    record.execution.phase = if ends { Phase::Succeeded } else { Phase::Running };
    record.execution.ended = ends.then_some(Timestamp::UNIX_EPOCH);
    let saved = store.save(record, SaveExtras::default()).await.expect("the store can be reached");
    let id = record.id().clone();
    if !saved || ends {
        owned.remove(&id);
    }
}

fn new_execution(job: &Arc<CanonicalJob>, token: &str, owner: String, rng: &mut SeededRng) -> NewExecution {
    let at = Timestamp::from_second(1_800_000_000).expect("the timestamp is valid");
    let chance = u128::from(rng.below(u64::MAX)) << 16 | u128::from(rng.below(1 << 16));
    let request = Submit { job: Definition::Inline(Arc::clone(job)), ..submit(token, "work") };
    let execution = Execution::new(Id::new(at, chance), Policy::of(job.job(), None), Backend::Local, at);
    let request = request.request(job.fingerprint().clone());
    let record = Record { request, execution, history: Vec::new(), version: 1, owner, progress: None };
    NewExecution { record, job: Arc::clone(job) }
}

/// Runs a simulation for each seed, with separate stores.
pub(crate) async fn simulate<F: Future<Output = Store>>(seeds: u64, open: impl Fn() -> F) {
    let seeds = match std::env::var("DCP_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..seeds,
    };
    let mut rejected = 0;
    for seed in seeds.clone() {
        println!("DCP_SEED={seed}");
        let mut rng = SeededRng(seed);
        let mut simulation = Simulation::new(open().await, 2 + rng.index(2)).await;
        for _ in 0..150 {
            simulation.step(&mut rng).await;
            simulation.check().await;
        }
        simulation.settle(&mut rng).await;
        simulation.check().await;
        simulation.check_settled().await;
        rejected += simulation.rejected;
        simulation.store.close().await;
    }
    assert!(
        seeds.end - seeds.start == 1 || rejected > 0,
        "no simulation had a submit of a Runner without membership"
    );
}

/// Submits executions of the current owner, and returns the acknowledged ones and the number of rejected submits.
async fn submit_until(
    is_over: &AtomicBool,
    store: &Store,
    owner: &watch::Receiver<String>,
    mut new: impl FnMut(u64, String) -> NewExecution,
) -> (Vec<Id>, u32) {
    let (mut acknowledged, mut rejected) = (Vec::new(), 0);
    for next in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let owner = owner.borrow().clone();
        match store.submit(new(next, owner)).await {
            Ok(submitted) => acknowledged.push(submitted.record.id().clone()),
            Err(Error::Unavailable(_)) => rejected += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    (acknowledged, rejected)
}

/// Runners submit while others take over from them. A takeover must find all executions, or their submits must fail.
pub(crate) async fn submits_during_takeovers_are_not_lost(one: Store, other: Store) {
    const TAKEOVERS: usize = 40;
    let job = Arc::new(CanonicalJob::new(crate::job()));
    one.register("here-0").await.expect("the Runner joins");
    let (current, owner) = watch::channel("here-0".to_owned());
    let is_over = Arc::new(AtomicBool::new(false));
    let mut submitters = tokio::task::JoinSet::new();
    for number in 0..8_u64 {
        let (store, job, owner, is_over) =
            (one.clone(), Arc::clone(&job), owner.clone(), Arc::clone(&is_over));
        submitters.spawn(async move {
            let mut rng = SeededRng(number);
            let new = |next: u64, owner| new_execution(&job, &format!("t-{number}-{next}"), owner, &mut rng);
            submit_until(&is_over, &store, &owner, new).await
        });
    }
    for number in 0..TAKEOVERS {
        let (gone, by) = (format!("here-{number}"), format!("here-{}", number + 1));
        other.register(&by).await.expect("the Runner joins");
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(other.take_over((&gone, 0), &by).await.expect("the store can be reached"));
        // The replaced Runner does not know of the takeover yet.
        tokio::time::sleep(Duration::from_millis(3)).await;
        current.send_replace(by);
    }
    is_over.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut rejected) = (Vec::new(), 0);
    for (ids, failed) in submitters.join_all().await {
        acknowledged.extend(ids);
        rejected += failed;
    }
    assert!(!acknowledged.is_empty() && rejected > 0, "{} {rejected}", acknowledged.len());
    assert_eq!(other.absent_owners().await.expect("the store can be read"), [""; 0]);
    let last = format!("here-{TAKEOVERS}");
    for id in acknowledged {
        assert_eq!(
            other.get(&id).await.expect("the store can be read").expect("the execution is stored").owner,
            last
        );
    }
}

/// An older dcp may have left executions whose owner is no member.
pub(crate) async fn live_executions_of_absent_owners_are_adopted(store: Store, url: &str) {
    let job = Arc::new(CanonicalJob::new(crate::job()));
    for owner in ["here-1", "elsewhere-1"] {
        store.register(owner).await.expect("the Runner joins");
        store
            .submit(new_execution(&job, owner, owner.to_owned(), &mut SeededRng(owner.len() as u64)))
            .await
            .expect("the submit is accepted");
    }
    sqlx::any::install_default_drivers();
    let pool = AnyPool::connect(url).await.expect("the database can be reached");
    let deletion = AssertSqlSafe("DELETE FROM runner_runners".to_owned());
    sqlx::query(deletion).execute(&pool).await.expect("the statement succeeds");
    pool.close().await;
    let membership = Membership::join(&store, FailureDetection::Heartbeats, (PLACE, LEASE), Clock::default())
        .await
        .expect("the Runner joins");
    assert!(membership.adopt_orphans(&store).await.expect("the store can be reached"));
    let owner = async |token: &str| {
        store.by_token(token).await.expect("the store can be read").expect("the execution is stored").owner
    };
    assert_eq!(owner("here-1").await, membership.id());
    assert_eq!(owner("elsewhere-1").await, "elsewhere-1", "another location can't know its state");
    assert!(!membership.adopt_orphans(&store).await.expect("the store can be reached"));
    assert!(
        !store.adopt("elsewhere-1", "here-2").await.expect("the store can be reached"),
        "only members adopt executions"
    );
}

/// A Runner without membership takes over nothing, and can't write to executions that it owned.
pub(crate) async fn runner_without_membership_writes_nothing(store: Store) {
    let job = Arc::new(CanonicalJob::new(crate::job()));
    for runner in ["here-1", "here-2", "here-3"] {
        store.register(runner).await.expect("the Runner joins");
    }
    let submitted = store
        .submit(new_execution(&job, "one", "here-1".to_owned(), &mut SeededRng(1)))
        .await
        .expect("the submit is accepted");
    let mut record = submitted.record;
    assert!(store.take_over(("here-1", 0), "here-2").await.expect("the store can be reached"));
    assert!(!store.take_over(("here-3", 0), "here-1").await.expect("the store can be reached"));
    assert!(!store.heartbeat("here-1").await.expect("the store can be reached"));
    assert!(!store.save(&mut record, SaveExtras::default()).await.expect("the store can be reached"));
    let progress = |owner: &str| {
        (owner.to_owned(), vec![(record.id().clone(), Some(dcp_runner::progress::Progress::default()))])
    };
    let (owner, reported) = progress("here-1");
    store.store_progress(&owner, &reported).await.expect("the store can be reached");
    assert_eq!(store.progress(record.id()).await.expect("the store can be read"), None);
    let (owner, reported) = progress("here-2");
    store.store_progress(&owner, &reported).await.expect("the store can be reached");
    assert!(store.progress(record.id()).await.expect("the store can be read").is_some());
    let rejected = store.submit(new_execution(&job, "two", "here-1".to_owned(), &mut SeededRng(2))).await;
    assert!(matches!(&rejected, Err(Error::Unavailable(said)) if said.contains("retry")), "{rejected:?}");
    // An acknowledged submit can be repeated, even at a Runner without membership.
    let again = store
        .submit(new_execution(&job, "one", "here-1".to_owned(), &mut SeededRng(3)))
        .await
        .expect("the token is known");
    assert_eq!((again.fresh, again.record.id(), again.record.owner.as_str()), (false, record.id(), "here-2"));
}

/// Exclusive keys in byte order, which differs from the order of any language.
const KEYS: [&str; 6] = ["A", "B", "_", "a", "b", "~"];

/// Stores executions with keys, and returns the listings.
pub(crate) async fn listings(store: &Store) -> Listings {
    let job = Arc::new(CanonicalJob::new(crate::job()));
    store.register("here-1").await.expect("the Runner joins");
    for (number, key) in (0..).zip(KEYS) {
        let mut new = new_execution(&job, key, "here-1".to_owned(), &mut SeededRng(0));
        new.record.execution.id = Id::new(Timestamp::from_second(number).expect("the timestamp is valid"), 0);
        new.record.request.exclusive = Some(key.to_owned());
        store.submit(new).await.expect("the submit is accepted");
    }
    read_listings(store).await
}

/// Tokens of executions, newest first, and keys that are held; both are read in pages.
type Listings = (Vec<String>, Vec<String>);

pub(crate) fn expected_listings() -> Listings {
    let keys = KEYS.map(str::to_owned);
    (keys.iter().rev().cloned().collect(), keys.to_vec())
}

pub(crate) async fn read_listings(store: &Store) -> Listings {
    let (mut tokens, mut keys) = (Vec::new(), Vec::new());
    let mut before = None;
    loop {
        let page = store.list(&Filter::default(), before.as_ref(), 2).await.expect("the store can be read");
        let Some(last) = page.last() else { break };
        before = Some(last.id().clone());
        tokens.extend(page.into_iter().map(|it| it.request.token));
    }
    let mut after = String::new();
    loop {
        let page = store.holders(&after, 2).await.expect("the store can be read");
        let Some(last) = page.last() else { break };
        after = last.position();
        keys.extend(page.into_iter().map(|it| it.key));
    }
    (tokens, keys)
}

/// Only the caller that used a lease first can use it.
pub(crate) async fn lease_belongs_to_the_caller_who_used_it_first(runner: &dyn Runner) {
    let fenced = |token: &str, by: &str, epoch: u64| {
        let fence = Some(Fence { lease: "reconciler".to_owned(), epoch });
        Submit { fence, by: by.to_owned(), ..submit(token, "work") }
    };
    runner.submit(fenced("a", "reconciler", 1)).await.expect("the submit is accepted");
    // A higher epoch that would lock the reconciler out, the reconciler's own epoch, and a known token.
    for (token, epoch) in [("b", 900_000), ("c", 1), ("a", 2)] {
        let error = runner.submit(fenced(token, "eve", epoch)).await.expect_err("the submit is rejected");
        let Error::Denied(said) = &error else { panic!("{error:?}") };
        assert!(said.contains("belongs to `reconciler`") && said.contains("`eve` may not"), "{said}");
    }
    assert!(runner.submit(fenced("d", "reconciler", 1)).await.expect("the submit is accepted").fresh);
    assert!(runner.submit(fenced("e", "reconciler", 2)).await.expect("the submit is accepted").fresh);
    // Only one of many concurrent callers becomes the first.
    let all = futures_util::future::join_all((0..16).map(|number| {
        let fence = Some(Fence { lease: "another".to_owned(), epoch: 1 });
        let by = format!("caller-{number}");
        runner.submit(Submit { fence, by, ..submit(&format!("f-{number}"), "work") })
    }));
    let (kept, rejected): (Vec<_>, Vec<_>) = all.await.into_iter().partition(Result::is_ok);
    assert_eq!((kept.len(), rejected.len()), (1, 15));
    assert!(rejected.iter().all(|it| matches!(it, Err(Error::Denied(_)))), "{rejected:?}");
}
