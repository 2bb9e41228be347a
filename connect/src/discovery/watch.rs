//! Watches the servers of a source, and stores them as drivers.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use dcp_gateway::kubernetes::{Client, connect_servers};
use dcp_reconciler::reconcile::lease::Log;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::state::{State, Step};
use super::{Source, report};
use crate::session::{Driver, DriverState};
use crate::store::Store;

/// Interval at which drivers are stored.
const INTERVAL: Duration = Duration::from_secs(2);
/// Pauses before another list: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Maximum time of a connection to a new driver. Pods of all applications of Spark name the port, and most do not listen there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_CONNECTS: usize = 16;

/// The drivers of a source on a cluster.
pub struct Discovery {
    pub source: Source,
    pub client: Client,
    pub store: Store,
    pub clock: fn() -> Timestamp,
    pub log: Log,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The problem that was logged last, which is not repeated.
#[derive(Default)]
struct Problem(Option<String>);

impl Discovery {
    /// Watches, and stores drivers, until the task is stopped.
    pub async fn run(self) {
        let (mut state, mut problem) = (State::default(), Problem::default());
        let mut pause = FIRST_PAUSE;
        loop {
            let why = self.watch(&mut state, &mut problem).await;
            if state.is_complete() {
                pause = FIRST_PAUSE;
            }
            // Without a problem, the position of the watch was too old, and the pods are listed again.
            if why.is_some() {
                self.note(&mut problem, why);
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Lists the pods, and watches them until this fails. Returns the problem, if there is one.
    async fn watch(&self, state: &mut State, problem: &mut Problem) -> Option<String> {
        let stored = match self.stored().await {
            Ok(stored) => stored,
            Err(why) => return Some(why),
        };
        state.begin(stored.into_keys().collect());
        let Source { namespace, labels, .. } = &self.source;
        let mut events = connect_servers(self.client.clone(), namespace, labels);
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => state.handle(&self.source, event),
                    Some(Err(error)) => return Some(error.to_string()),
                    None => return None,
                },
                _ = ticks.tick() => if state.is_complete() {
                    let stored = self.apply(state).await.err().or_else(|| self.without_engine(state));
                    self.note(problem, stored);
                },
            }
        }
    }

    /// Returns the stored drivers of the source that are not gone.
    async fn stored(&self) -> Result<HashMap<String, DriverState>, String> {
        let drivers = self.store.drivers().await.map_err(|error| error.to_string())?;
        let own = drivers.into_iter().filter(|stored| self.source.has(&stored.driver.id));
        Ok(own.map(|stored| (stored.driver.id, stored.state)).collect())
    }

    /// Stores the changes of the drivers since the last call.
    async fn apply(&self, state: &mut State) -> Result<(), String> {
        let stored = self.stored().await?;
        let (mut new, at) = (Vec::new(), (self.clock)());
        for step in state.steps(&self.source, &stored) {
            let done = match &step {
                Step::Add(driver) => {
                    new.push(driver.clone());
                    Ok(())
                }
                Step::Report(driver) => report(&self.store, driver, self.source.idle_timeout, at).await,
                Step::Drain(id) => self.store.drain(id, false).await.map(drop),
                Step::Reopen(id) => self.store.reopen(id).await,
                Step::End(id) => self.store.set_gone(id).await.map(|()| state.settle(id)),
            };
            done.map_err(|error| error.to_string())?;
        }
        let mut listening = stream::iter(new)
            .map(listening)
            .buffer_unordered(MAX_CONNECTS)
            .filter_map(std::future::ready)
            .boxed();
        while let Some(driver) = listening.next().await {
            let stored = self.store.report(&driver, (self.clock)()).await;
            stored.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn without_engine(&self, state: &State) -> Option<String> {
        let pod = state.without_engine(&self.source)?;
        Some(format!(
            "the pod `{pod}` serves Spark Connect, and has no label `spark-version`: add `engine` to the entry `{}`",
            self.source.name
        ))
    }

    /// Logs a problem that is new, and its end.
    fn note(&self, problem: &mut Problem, now: Option<String>) {
        let name = &self.source.name;
        if now != problem.0 {
            match &now {
                Some(why) => (self.log)(&format!("the drivers of `{name}` can't be followed: {why}")),
                None => (self.log)(&format!("the drivers of `{name}` are followed again")),
            }
            problem.0 = now;
        }
    }
}

/// Returns a driver if something listens at its address.
async fn listening(driver: Driver) -> Option<Driver> {
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(&driver.address)).await;
    connected.is_ok_and(|connected| connected.is_ok()).then_some(driver)
}
