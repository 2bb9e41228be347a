//! The loop in a simulated world: the Runner loses responses, drivers die, and the loop is interrupted between any two steps.

mod failing;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dcp_gateway::Addresses;
use dcp_model::manifest::Backend;
use dcp_runner::api::{Error, Filter, Holder, LogPart, LogRequest, Record, Result, Submitted};
use dcp_runner::execution::{Attempt, Execution, Id, Phase, Policy, Transition, Wait};
use dcp_runner::request::Submit;
use dcp_runner::results::Format;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use super::declared::DeclaredPool;
use super::*;
use crate::session::{DriverState, PoolKey, SessionKey, Share, Size};
use crate::store::Bound;
use failing::{check_ends_of_silent_drivers, hangs};

const MAX: u64 = 4;
const PER_DRIVER: u64 = 2;
const SEEDS: u64 = 60;
const STEPS: usize = 120;

/// A Runner that forgets nothing, and whose responses may be lost.
#[derive(Debug)]
struct World(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    random: StdRng,
    /// Of 100 calls, how many lose their response.
    lost: u32,
    by_token: BTreeMap<String, Id>,
    records: BTreeMap<Id, Record>,
    newest: u64,
    /// The error of all submits.
    rejection: Option<Error>,
}

impl World {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// Loses a call before or after its effect.
    fn call<T>(&self, act: impl FnOnce(&mut Inner) -> Result<T>) -> Result<T> {
        self.with(|inner| {
            let lost = Err(Error::Unavailable("the response is lost".to_owned()));
            match inner.random.random_range(0..200) {
                at if at < inner.lost => lost,
                at if at < 2 * inner.lost => act(inner).and(lost),
                _ => act(inner),
            }
        })
    }

    fn live(&self) -> Vec<Record> {
        let is_live = |record: &&Record| !record.execution.phase.is_final();
        self.with(|inner| inner.records.values().filter(is_live).cloned().collect())
    }

    /// Lets time pass: executions start, end on request, and sometimes die.
    fn step(&self, dies: u32) {
        self.with(|inner| {
            let ids: Vec<Id> = inner.records.keys().cloned().collect();
            for id in ids {
                let (go, die) = (inner.random.random_bool(0.5), inner.random.random_range(0..100) < dies);
                let record = inner.records.get_mut(&id).unwrap();
                let execution = &mut record.execution;
                execution.phase = match execution.phase {
                    phase if phase.is_final() => phase,
                    Phase::Cancelling if go => Phase::Cancelled,
                    Phase::Queued if go => {
                        execution.attempts.push(attempt());
                        Phase::Running
                    }
                    _ if die => Phase::Failed,
                    phase => phase,
                };
            }
        });
    }
}

/// Returns the record of a new execution.
fn record(submit: &Submit, id: &Id) -> Record {
    let policy = Policy {
        attempts: 1,
        remedies: 0,
        backoff_seconds: 1,
        max_backoff_seconds: 1,
        causes: Vec::new(),
        start_seconds: 1,
        run_seconds: None,
        stop_seconds: 1,
        ttl_seconds: 1,
    };
    Record {
        request: submit.request(submit.job_fingerprint()),
        execution: Execution::new(id.clone(), policy, Backend::Local, now()),
        history: Vec::new(),
        version: 0,
        owner: String::new(),
        progress: None,
    }
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        backend: Backend::Local,
        begun: Timestamp::UNIX_EPOCH,
        running: Some(now()),
        queued: Wait::None,
        addresses: Addresses { connect: Some("127.0.0.1:1".to_owned()), ..Addresses::default() },
        cluster: None,
        end: None,
        diagnosis: None,
        adjusted: BTreeMap::new(),
    }
}

#[async_trait]
impl Runner for World {
    async fn submit(&self, submit: Submit) -> Result<Submitted> {
        tokio::task::yield_now().await;
        submit.check()?;
        let epoch = submit.fence.as_ref().unwrap().epoch;
        self.call(|inner| {
            if epoch < inner.newest {
                return Err(Error::Fenced { lease: "pools".to_owned(), epoch, newest: inner.newest });
            }
            inner.newest = epoch;
            if let Some(error) = &inner.rejection {
                return Err(error.clone());
            }
            if let Some(id) = inner.by_token.get(&submit.token) {
                return Ok(Submitted { record: inner.records[id].clone(), fresh: false });
            }
            let key = submit.exclusive.clone().unwrap();
            let holds = |record: &&Record| {
                !record.execution.phase.is_final() && record.request.exclusive.as_ref() == Some(&key)
            };
            if let Some(holder) = inner.records.values().find(holds) {
                return Err(Error::Held { key, by: holder.id().clone() });
            }
            let id = Id::new(now(), u128::from(inner.random.next_u64()));
            let record = record(&submit, &id);
            inner.by_token.insert(submit.token.clone(), id.clone());
            inner.records.insert(id, record.clone());
            Ok(Submitted { record, fresh: true })
        })
    }

    async fn check(&self, id: &Id) -> Result<Record> {
        tokio::task::yield_now().await;
        self.call(|inner| Ok(inner.records[id].clone()))
    }

    async fn cancel(&self, id: &Id, _: &str) -> Result<Record> {
        tokio::task::yield_now().await;
        self.call(|inner| {
            let record = inner.records.get_mut(id).unwrap();
            if !record.execution.phase.is_final() {
                record.execution.phase = Phase::Cancelling;
            }
            Ok(record.clone())
        })
    }

    async fn list(&self, _: &Filter, _: Option<&Id>, _: u32) -> Result<Vec<Record>> {
        unreachable!("the loop lists nothing")
    }

    async fn holders(&self, _: &str, _: u32) -> Result<Vec<Holder>> {
        unreachable!("the loop reads no holders")
    }

    fn watch(&self, _: &Id, _: usize) -> BoxStream<'static, Result<Transition>> {
        stream::empty().boxed()
    }

    fn logs(&self, _: &Id, _: LogRequest) -> BoxStream<'static, Result<LogPart>> {
        stream::empty().boxed()
    }

    fn result(&self, _: &Id, _: Format) -> BoxStream<'static, Result<Bytes>> {
        stream::empty().boxed()
    }
}

trait Fingerprinted {
    fn job_fingerprint(&self) -> dcp_model::primitive::Fingerprint;
}

impl Fingerprinted for Submit {
    fn job_fingerprint(&self) -> dcp_model::primitive::Fingerprint {
        match &self.job {
            dcp_runner::request::Definition::Applied(reference) => reference.fingerprint.clone().unwrap(),
            dcp_runner::request::Definition::Inline(_) => panic!("jobs of pools are applied"),
        }
    }
}

thread_local! {
    /// The simulated time of a test, in seconds.
    static NOW: Cell<i64> = const { Cell::new(1_000) };
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW.get()).unwrap()
}

fn advance(seconds: i64) {
    NOW.set(NOW.get() + seconds);
}

fn key() -> PoolKey {
    PoolKey { scope: "shop".to_owned(), domain: "logistics".to_owned(), name: "small".to_owned() }
}

fn declared(share: Share, build: u64) -> DeclaredPools {
    let pool = DeclaredPool {
        job: dcp_model::primitive::Fingerprint::of(&build.to_string()).as_str().to_owned(),
        build,
        revision: build,
        engine: "4.1".to_owned(),
        resources: Size::default(),
        idle_timeout: SignedDuration::from_hours(1),
        size: size::Declared {
            share,
            min_idle: 1,
            max_idle: 1,
            max: MAX,
            sessions_per_driver: PER_DRIVER,
            recycle_after: SignedDuration::from_hours(1),
            recycle_sessions: 6,
        },
        author: "ada".to_owned(),
    };
    DeclaredPools::of([(key(), pool)])
}

/// Runs a round, and interrupts it after a number of steps, if one is given.
async fn round(
    pools: &Pools,
    declared: &DeclaredPools,
    epoch: u64,
    memory: &mut Memory,
    steps: Option<usize>,
) -> std::result::Result<(), String> {
    let fence = Fence { lease: "pools".to_owned(), epoch };
    let round = Round { pools, declared, fence: &fence, is_leading: &|| true };
    let mut running = Box::pin(round.run(memory));
    let Some(steps) = steps else { return running.await };
    let mut left = steps;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(Err("interrupted".to_owned()));
        }
        left -= 1;
        running.as_mut().poll(context)
    })
    .await
}

/// Sessions of users, as proxies bind and end them.
struct Users {
    random: StdRng,
    sessions: HashMap<SessionKey, String>,
    count: u64,
}

impl Users {
    async fn step(&mut self, store: &Store) {
        for stored in store.drivers().await.unwrap() {
            let answers = !hangs(&stored.driver.id) && self.random.random_bool(0.7);
            if stored.state == DriverState::Starting && answers {
                store.set_open(&stored.driver.id, now()).await.unwrap();
            }
        }
        for _ in 0..self.random.random_range(0..3) {
            self.count += 1;
            let user = ["ada", "grace", "edsger"][self.random.random_range(0..3)].to_owned();
            let session =
                SessionKey { domain: "logistics".to_owned(), user, session: self.count.to_string() };
            let mut is_bound = false;
            for stored in store.drivers().await.unwrap() {
                if store.bind(&session, &stored.driver.id, now()).await.unwrap() == Bound::New {
                    self.sessions.insert(session.clone(), stored.driver.id);
                    is_bound = true;
                    break;
                }
            }
            if !is_bound {
                store.want(&session, &key(), now()).await.unwrap();
            }
        }
        let ending: Vec<SessionKey> =
            self.sessions.keys().filter(|_| self.random.random_bool(0.3)).cloned().collect();
        for session in ending {
            store.end(&session, now()).await.unwrap();
            self.sessions.remove(&session);
        }
    }

    /// Checks that no session was ended but by its user or with its driver, and that private drivers have one user.
    async fn check(&mut self, store: &Store, world: &World, is_private: bool) {
        let live: BTreeMap<String, Phase> =
            world.live().iter().map(|it| (it.execution.name(), it.execution.phase)).collect();
        let mut users: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for (session, driver) in &self.sessions {
            users.entry(driver).or_default().insert(&session.user);
            let phase = live.get(driver);
            assert_ne!(
                phase,
                Some(&Phase::Cancelling),
                "the driver `{driver}` is ended with the session {session:?}"
            );
        }
        if is_private {
            assert!(users.values().all(|users| users.len() == 1), "{users:?}");
        }
        // Sessions of drivers that have died are gone.
        self.sessions.retain(|_, driver| live.contains_key(driver));
        for stored in store.drivers().await.unwrap() {
            assert!(stored.live <= PER_DRIVER, "{stored:?}");
        }
    }
}

fn world(seed: u64, lost: u32) -> Arc<World> {
    Arc::new(World(Mutex::new(Inner {
        random: StdRng::seed_from_u64(seed),
        lost,
        by_token: BTreeMap::new(),
        records: BTreeMap::new(),
        newest: 0,
        rejection: None,
    })))
}

async fn pools(path: &Path, world: &Arc<World>) -> Pools {
    Pools {
        registry: Sql::sqlite(path).await.unwrap(),
        jobs: dcp_reconciler::reconcile::store::Store::sqlite(path).await.unwrap(),
        store: Store::sqlite(path).await.unwrap(),
        runner: Arc::clone(world) as Arc<dyn Runner>,
        lease: Duration::from_secs(5),
        clock: now,
        log: Arc::new(|_| {}),
    }
}

async fn simulate(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let random = StdRng::seed_from_u64(seed);
    let world = world(seed ^ 1, 20);
    let pools = pools(&folder.path().join("state.db"), &world).await;
    let is_private = seed % 2 == 1;
    let share = if is_private { Share::Private } else { Share::Domain };
    let mut users = Users { random, sessions: HashMap::new(), count: 0 };
    let (mut memory, mut epoch, mut build) = (Memory::default(), 1, 1);
    for _ in 0..STEPS {
        advance(10);
        world.step(2);
        users.step(&pools.store).await;
        if users.random.random_ratio(1, 20) {
            build += 1;
        }
        let steps = users.random.random_bool(0.5).then(|| users.random.random_range(1..60));
        if round(&pools, &declared(share, build), epoch, &mut memory, steps).await.is_err() {
            // Another loop takes over, which remembers nothing.
            (memory, epoch) = (Memory::default(), epoch + 1);
        }
        let live = world.live();
        assert!(live.len() as u64 <= MAX, "seed {seed}: {} drivers", live.len());
        users.check(&pools.store, &world, is_private).await;
        check_ends_of_silent_drivers(&world, seed);
    }
    settle(&pools, &world, &mut users, &declared(share, build), epoch + 1).await;
}

/// Checks that the pool is as declared once nothing fails any more, and that all drivers end with the pool.
async fn settle(pools: &Pools, world: &World, users: &mut Users, declared: &DeclaredPools, epoch: u64) {
    world.with(|inner| inner.lost = 0);
    let mut memory = Memory::default();
    let open: Vec<SessionKey> = users.sessions.keys().cloned().collect();
    for session in open {
        pools.store.end(&session, now()).await.unwrap();
    }
    users.sessions.clear();
    for _ in 0..80 {
        advance(30);
        world.step(0);
        for stored in pools.store.drivers().await.unwrap() {
            pools.store.set_open(&stored.driver.id, now()).await.unwrap();
        }
        round(pools, declared, epoch, &mut memory, None).await.unwrap();
    }
    let live = world.live();
    assert_eq!(live.len(), 1, "one idle driver is left");
    let members = pools.store.members().await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].execution.as_deref(), Some(live[0].id().as_str()));
    for _ in 0..20 {
        advance(30);
        world.step(0);
        round(pools, &DeclaredPools::default(), epoch, &mut memory, None).await.unwrap();
    }
    assert_eq!(world.live().len(), 0, "all drivers end with their pool");
    assert_eq!(pools.store.members().await.unwrap(), []);
}

#[test]
fn drivers_are_kept_whatever_fails() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for seed in 0..SEEDS {
        runtime.block_on(simulate(seed));
    }
}
