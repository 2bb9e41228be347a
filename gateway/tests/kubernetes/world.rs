//! The state that the API server, the cluster, the Gateways and the checks of one seed share.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dcp_gateway::Status;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::checks::Checks;
use crate::cluster::Cluster;
use crate::random::Random;
use crate::runner::Gateway;
use crate::server::{Answer, Call, Change, Server};

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the virtual time.
pub(crate) fn time() -> Timestamp {
    let start = START.get().expect("the simulation has begun");
    let elapsed = SignedDuration::try_from(start.elapsed()).expect("a simulation is short");
    Timestamp::from_second(1_767_225_600).expect("the time is valid") + elapsed
}

/// Probabilities of faults in thousandths; all are zero once faults have stopped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    /// A request is answered with an error, and not applied.
    pub(crate) errors: u64,
    /// A request is applied, and its answer is lost.
    pub(crate) lost: u64,
    /// A request or its answer is delayed for a long time.
    pub(crate) stalls: u64,
    /// A watch is cut, is answered with 410, or lags, with each change.
    pub(crate) watches: u64,
    /// A node does not respond for a while, in each step of the cluster.
    pub(crate) nodes: u64,
    /// Another user deletes a pod or a record, in each step of the cluster.
    pub(crate) users: u64,
}

impl Rates {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            errors: random.pick(&[0, 10, 60]),
            lost: random.pick(&[0, 10, 60]),
            stalls: random.pick(&[0, 10, 60]),
            watches: random.pick(&[0, 20, 150]),
            nodes: random.pick(&[0, 0, 5, 20]),
            users: random.pick(&[0, 0, 5, 20]),
        }
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) server: Server,
    pub(crate) cluster: Cluster,
    pub(crate) checks: Checks,
    pub(crate) random: Random,
    pub(crate) rates: Rates,
    /// The number of requests that are not answered yet, without watches.
    pub(crate) open_requests: usize,
    /// The number of Gateways so far.
    pub(crate) instances: u64,
    /// The Gateway of each Runner.
    pub(crate) gateways: BTreeMap<usize, Gateway>,
    /// The last status of an application that the watch of a Runner reported.
    pub(crate) views: BTreeMap<(usize, String), Option<Status>>,
    observed: usize,
    history: Option<Vec<String>>,
}

impl State {
    /// Adds a line to the history, if it is recorded.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(history) = &mut self.history {
            history.push(format!("{} {}", time(), line()));
        }
    }

    pub(crate) fn apply(&mut self, instance: u64, call: &Call) -> Answer {
        self.checks.before(instance, call, &self.server);
        let answer = self.server.apply(call);
        self.note(|| format!("G{instance} {} -> {}", call.describe(), answer.code));
        self.observe();
        answer
    }

    /// Checks the events that are new.
    pub(crate) fn observe(&mut self) {
        while let Some(event) = self.server.events.get(self.observed).cloned() {
            self.observed += 1;
            if self.history.is_some() && event.change != Change::Modified {
                self.note(|| format!("  {:?} {:?} {}", event.change, event.key.kind, event.key.name));
            }
            self.checks.event(&event);
        }
        self.checks.update(&self.server, &self.cluster);
    }

    /// Checks that `forget` has left no pod of those that existed before. Another user may delete the record first, and
    /// then it does nothing.
    pub(crate) fn check_forgotten(&mut self, name: &str, before: &BTreeSet<String>) {
        let left: Vec<String> = self.server.pods_of(name).intersection(before).cloned().collect();
        if !left.is_empty() && self.rates.users == 0 {
            self.checks.fail(6, &format!("{name} is forgotten, and these pods are left: {left:?}"));
        }
    }

    pub(crate) fn take_history(&mut self) -> Vec<String> {
        self.history.take().unwrap_or_default()
    }
}

/// The shared state.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub(crate) fn new(seed: u64, has_history: bool) -> Self {
        START.set(Some(Instant::now()));
        let mut random = Random::new(seed);
        let rates = Rates::draw(&mut random);
        Self(Arc::new(Mutex::new(State {
            server: Server::new(),
            cluster: Cluster::default(),
            checks: Checks::default(),
            random,
            rates,
            open_requests: 0,
            instances: 0,
            gateways: BTreeMap::new(),
            views: BTreeMap::new(),
            observed: 0,
            history: has_history.then(Vec::new),
        })))
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
