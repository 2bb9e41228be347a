//! Simulates Runners that share a store, and domains with limits. Runners are paused, killed and taken over between any
//! two of: the choice of an action, the action, and the write of its outcome. Limits change meanwhile. `DCP_SEED=N` repeats
//! a single simulation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dcp_gateway::{End, Phase as At, Status};
use dcp_model::manifest::Backend;
use dcp_runner::api::{Filter, Record};
use dcp_runner::clock::Clock;
use dcp_runner::execution::{Execution, Id, Phase, Policy};
use dcp_runner::in_process::membership::{FailureDetection, Membership};
use dcp_runner::machine::{Effect, Event, apply_event, next_effect};
use dcp_runner::request::{CanonicalJob, Definition, Submit};
use dcp_runner::store::{NewExecution, SaveExtras, Start, Store};
use jiff::Timestamp;

use crate::ownership::SeededRng;
use crate::submit;

const PLACE: &str = "here";
const LEASE: Duration = Duration::from_secs(15);
const DOMAINS: [&str; 3] = ["sales", "logistics", "finance"];
/// The domain without a limit.
const UNLIMITED: &str = "finance";

/// The attempts of a simulated backend, by their names. None is ever forgotten.
#[derive(Default)]
struct SimulatedBackend(BTreeMap<String, Attempt>);

struct Attempt {
    domain: String,
    is_alive: bool,
}

impl SimulatedBackend {
    fn alive(&self, domain: &str) -> usize {
        self.0.values().filter(|it| it.is_alive && it.domain == domain).count()
    }

    fn perform(&mut self, effect: &Effect, record: &Record, rng: &mut SeededRng, now: Timestamp) -> Event {
        let (name, domain) = (record.execution.name(), record.request.domain.clone());
        let status = |phase, end| Some(Status { started: Some(now), end, ..Status::new(phase) });
        let ended = |succeeded: bool, stopped: bool| {
            let end = End { succeeded, stopped, ..End::exited(now, Some(i32::from(!succeeded)), None) };
            Event::Polled(status(At::Ended, Some(end)), None)
        };
        match effect {
            Effect::Create if rng.below(8) == 0 => Event::Unavailable("it is down".to_owned()),
            Effect::Create => {
                // An attempt that was stopped before never starts.
                self.0.entry(name).or_insert(Attempt { domain, is_alive: true });
                Event::Created
            }
            Effect::Poll => match self.0.get_mut(&name) {
                None => Event::Polled(None, None),
                Some(attempt) if attempt.is_alive && rng.below(3) > 0 => {
                    Event::Polled(status(At::Running, None), None)
                }
                Some(attempt) => {
                    attempt.is_alive = false;
                    ended(rng.below(3) > 0, false)
                }
            },
            Effect::Delete { .. } => {
                self.0.entry(name).or_insert(Attempt { domain, is_alive: false }).is_alive = false;
                ended(false, true)
            }
            Effect::Nothing | Effect::Wait(_) | Effect::Step | Effect::Claim | Effect::Prepare => {
                Event::Stepped
            }
        }
    }
}

/// A Runner between two steps.
struct SimulatedRunner {
    membership: Membership,
    paused: bool,
    owned: BTreeMap<Id, Record>,
    in_flight: InFlight,
}

#[derive(Default)]
enum InFlight {
    #[default]
    Nothing,
    Effect(Box<Record>, Effect),
    Event(Box<Record>, Box<Event>),
}

struct World {
    store: Store,
    millis: Arc<AtomicU64>,
    job: Arc<CanonicalJob>,
    runners: Vec<SimulatedRunner>,
    backend: SimulatedBackend,
    limits: BTreeMap<&'static str, u32>,
    /// The number of attempts that may be alive: more than the limit, if it was lowered while they were.
    allowed: BTreeMap<&'static str, usize>,
    submitted: Vec<Id>,
    /// Number of starts that were rejected.
    full: u64,
}

impl World {
    async fn new(store: Store, rng: &mut SeededRng) -> Self {
        let limits = BTreeMap::from([("sales", 1 + small(rng, 3)), ("logistics", 1 + small(rng, 2))]);
        let mut world = Self {
            store,
            millis: Arc::new(AtomicU64::new(1_000_000)),
            job: Arc::new(CanonicalJob::new(crate::job())),
            runners: Vec::new(),
            backend: SimulatedBackend::default(),
            allowed: limits.iter().map(|(domain, limit)| (*domain, *limit as usize)).collect(),
            limits,
            submitted: Vec::new(),
            full: 0,
        };
        for _ in 0..2 + rng.index(2) {
            let runner = world.runner().await;
            world.runners.push(runner);
        }
        world
    }

    async fn runner(&self) -> SimulatedRunner {
        let clock = Clock::manual(Arc::clone(&self.millis));
        let membership =
            Membership::join(&self.store, FailureDetection::Heartbeats, (PLACE, LEASE), clock).await;
        let membership = membership.expect("the Runner joins");
        SimulatedRunner { membership, paused: false, owned: BTreeMap::new(), in_flight: InFlight::Nothing }
    }

    fn now(&self) -> Timestamp {
        let millis = i64::try_from(self.millis.load(Ordering::SeqCst)).expect("it is small");
        Timestamp::from_millisecond(millis).expect("it is valid")
    }

    async fn step(&mut self, rng: &mut SeededRng) {
        self.millis.fetch_add(rng.below(1000), Ordering::SeqCst);
        let at = rng.index(self.runners.len());
        if self.runners[at].paused {
            self.runners[at].paused = rng.below(12) != 0;
            return;
        }
        match rng.below(40) {
            0 => self.runners[at].paused = true,
            1 => self.runners[at] = self.runner().await,
            2 => self.change_limit(rng),
            3..=7 => self.submit(at, rng).await,
            8..=9 => self.cancel(rng).await,
            10..=14 => self.maintain(at).await,
            _ => self.drive(at, rng).await,
        }
    }

    fn change_limit(&mut self, rng: &mut SeededRng) {
        let domain = ["sales", "logistics"][rng.index(2)];
        let limit = 1 + small(rng, 4);
        self.limits.insert(domain, limit);
        let allowed = self.allowed.entry(domain).or_default();
        *allowed = (*allowed).max(limit as usize);
    }

    async fn submit(&mut self, at: usize, rng: &mut SeededRng) {
        let (domain, created) = (DOMAINS[rng.index(DOMAINS.len())], self.now());
        let id = Id::new(created, u128::from(rng.below(u64::MAX)));
        let mut submit =
            Submit { job: Definition::Inline(Arc::clone(&self.job)), ..submit(id.as_str(), "work") };
        submit.by = "tester".to_owned();
        let mut request = submit.request(self.job.fingerprint().clone());
        request.domain = domain.to_owned();
        let policy = Policy {
            attempts: 2,
            backoff_seconds: 1,
            max_backoff_seconds: 1,
            ..Policy::of(self.job.job(), None)
        };
        let record = Record {
            request,
            execution: Execution::new(id.clone(), policy, Backend::Local, created),
            history: Vec::new(),
            version: 1,
            owner: self.runners[at].membership.id(),
            progress: None,
        };
        // A Runner that is no member any more is rejected.
        if let Ok(submitted) = self.store.submit(NewExecution { record, job: Arc::clone(&self.job) }).await {
            self.submitted.push(id.clone());
            self.runners[at].owned.insert(id, submitted.record);
        }
    }

    /// Cancels an execution, by any Runner.
    async fn cancel(&mut self, rng: &mut SeededRng) {
        if self.submitted.is_empty() {
            return;
        }
        let mut record = self.read(&self.submitted[rng.index(self.submitted.len())]).await;
        if apply_event(&mut record.execution, Event::Cancel { by: "tester".to_owned() }, self.now()).is_some()
        {
            self.store.save(&mut record, SaveExtras::default()).await.expect("the store can be reached");
        }
    }

    async fn maintain(&mut self, at: usize) {
        let runner = &mut self.runners[at];
        runner.membership.heartbeat(&self.store).await.expect("the store can be reached");
        runner.membership.take_over(&self.store).await.expect("the store can be reached");
        runner.membership.adopt_orphans(&self.store).await.expect("the store can be reached");
        runner.owned.clear();
        for (id, _, _) in self.store.owned(&runner.membership.id()).await.expect("the store can be read") {
            let record = self.store.get(&id).await.expect("the store can be read");
            runner.owned.insert(id, record.expect("it is stored"));
        }
    }

    /// Does the next of: the choice of an action, the action, the write of its outcome.
    async fn drive(&mut self, at: usize, rng: &mut SeededRng) {
        let now = self.now();
        let runner = &mut self.runners[at];
        let next = match std::mem::take(&mut runner.in_flight) {
            InFlight::Nothing => {
                if runner.owned.is_empty() || !runner.membership.is_valid() {
                    return;
                }
                let index = rng.index(runner.owned.len());
                let record = runner.owned.values().nth(index).expect("it is one of them").clone();
                match next_effect(&record.execution, now) {
                    Effect::Nothing | Effect::Wait(_) => InFlight::Nothing,
                    effect => InFlight::Effect(Box::new(record), effect),
                }
            }
            InFlight::Effect(record, effect) => {
                let event = self.backend.perform(&effect, &record, rng, now);
                InFlight::Event(record, Box::new(event))
            }
            InFlight::Event(record, event) => {
                self.write(at, *record, *event).await;
                InFlight::Nothing
            }
        };
        self.runners[at].in_flight = next;
    }

    async fn write(&mut self, at: usize, before: Record, event: Event) {
        let (id, mut record) = (before.id().clone(), before.clone());
        apply_event(&mut record.execution, event, self.now());
        if record.execution == before.execution {
            return;
        }
        let starts = !before.execution.phase.may_be_alive() && record.execution.phase.may_be_alive();
        let limit = self.limits.get(record.request.domain.as_str()).copied().filter(|_| starts);
        let stored = match limit {
            Some(limit) => self.store.start(&mut record, SaveExtras::default(), limit).await,
            None => self.store.save(&mut record, SaveExtras::default()).await.map(|saved| match saved {
                true => Start::Stored,
                false => Start::Changed,
            }),
        };
        match stored.expect("the store can be reached") {
            Start::Stored if record.execution.phase.is_final() => drop(self.runners[at].owned.remove(&id)),
            Start::Stored => drop(self.runners[at].owned.insert(id, record)),
            Start::Changed => drop(self.runners[at].owned.remove(&id)),
            Start::Full => self.full += 1,
        }
    }

    async fn read(&self, id: &Id) -> Record {
        self.store.get(id).await.expect("the store can be read").expect("it is stored")
    }

    /// Checks that no domain has more live attempts than its limit, in the store and in the backend.
    async fn check(&mut self) {
        for (domain, limit) in &self.limits {
            let phases = Phase::ALL.into_iter().filter(|phase| phase.may_be_alive()).collect();
            let filter = Filter { domain: Some((*domain).to_owned()), phases, ..Filter::default() };
            let counted = self.store.list(&filter, None, 1000).await.expect("the store can be read").len();
            let (alive, allowed) = (self.backend.alive(domain), self.allowed[domain]);
            assert!(alive <= counted, "{domain}: {alive} attempts are alive, and {counted} are counted");
            assert!(counted <= allowed, "{domain}: {counted} executions run, and {allowed} may");
            self.allowed.insert(domain, counted.max(*limit as usize));
        }
    }

    /// Resumes all Runners until all executions have ended.
    async fn settle(&mut self, rng: &mut SeededRng) {
        for runner in &mut self.runners {
            runner.paused = false;
        }
        for _ in 0..200 {
            for at in 0..self.runners.len() {
                self.millis.fetch_add(1000, Ordering::SeqCst);
                self.maintain(at).await;
                for _ in 0..3 * self.runners[at].owned.len() {
                    self.drive(at, rng).await;
                }
                self.check().await;
            }
            let filter = Filter { phases: dcp_runner::api::live(), ..Filter::default() };
            if self.store.list(&filter, None, 1).await.expect("the store can be read").is_empty() {
                return;
            }
        }
        panic!("executions wait although there is room");
    }
}

fn small(rng: &mut SeededRng, limit: u64) -> u32 {
    u32::try_from(rng.below(limit)).expect("it is small")
}

/// Runs a simulation for each seed, with separate stores.
pub(crate) async fn simulate<F: Future<Output = Store>>(seeds: u64, open: impl Fn() -> F) {
    let seeds = match std::env::var("DCP_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..seeds,
    };
    let (mut full, mut ran) = (0, BTreeMap::<String, usize>::new());
    for seed in seeds.clone() {
        println!("DCP_SEED={seed}");
        let mut rng = SeededRng(seed);
        let mut world = World::new(open().await, &mut rng).await;
        for _ in 0..250 {
            world.step(&mut rng).await;
            world.check().await;
        }
        world.settle(&mut rng).await;
        full += world.full;
        for attempt in world.backend.0.values() {
            *ran.entry(attempt.domain.clone()).or_default() += 1;
        }
        world.store.close().await;
    }
    assert!(full > 0 || seeds.end - seeds.start == 1, "no limit was ever reached");
    assert!(ran.contains_key(UNLIMITED) || seeds.end - seeds.start == 1, "{ran:?}");
}
