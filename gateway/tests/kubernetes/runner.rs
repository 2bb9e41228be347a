//! Runners: each has a Gateway at a time, which watches and performs the Runner's operations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dcp_gateway::kubernetes::{Kubernetes, Settings};
use dcp_gateway::{Compute as _, End, Error, Name, Phase, Result, SparkApplication, Status, WatchEvent};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::service::client;
use crate::world::{World, time};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Create,
    Delete { grace: Duration },
    Get,
    Forget,
}

/// An operation on an application, with the time at which it begins.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) at: Duration,
    pub(crate) application: usize,
    pub(crate) kind: Kind,
    pub(crate) is_done: AtomicBool,
}

/// The operations of one Runner.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) number: usize,
    pub(crate) settings: Settings,
    pub(crate) applications: Vec<SparkApplication>,
    pub(crate) operations: Vec<Operation>,
}

impl Runner {
    /// Runs Gateways one after the other. Each performs the operations that are not done.
    pub(crate) async fn run(&self, world: World) {
        let begun = tokio::time::Instant::now();
        loop {
            let gateway = Gateway::new(&world, &self.settings);
            world.with(|state| state.gateways.insert(self.number, gateway.clone()));
            let operations = self.operations.iter().map(async |operation| {
                tokio::time::sleep_until(begun + operation.at).await;
                gateway.perform(&self.applications[operation.application], operation).await;
            });
            let work = async { tokio::join!(gateway.watch(self), join_all(operations)) };
            let life = world.with(|state| {
                let is_short = state.rates.stalls > 0 && state.random.chance(400);
                is_short.then(|| Duration::from_millis(state.random.between(100, 60_000)))
            });
            match life {
                Some(life) => drop(timeout(life, work).await),
                None => drop(work.await),
            }
            world.with(|state| {
                state.gateways.remove(&self.number);
                state.note(|| format!("G{} is dropped", gateway.instance));
            });
            sleep(Duration::from_secs(2)).await;
        }
    }
}

/// A Gateway: one process with its own memory.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    world: World,
    backend: Kubernetes,
    instance: u64,
}

impl Gateway {
    pub(crate) fn new(world: &World, settings: &Settings) -> Self {
        let instance = world.with(|state| {
            state.instances += 1;
            state.instances
        });
        let backend = Kubernetes::new(client(world, instance), settings.clone(), time);
        Self { world: world.clone(), backend, instance }
    }

    async fn perform(&self, application: &SparkApplication, operation: &Operation) {
        let name: Name = application.metadata.name.parse().expect("the name is valid");
        while !operation.is_done.load(Ordering::Relaxed) {
            let result = match operation.kind {
                Kind::Create => self.create(application).await,
                Kind::Delete { grace } => self.delete(&name, grace).await,
                Kind::Get => self.get(&name).await.map(drop),
                Kind::Forget => self.forget(&name).await,
            };
            if result.is_ok() || matches!(operation.kind, Kind::Get) {
                operation.is_done.store(true, Ordering::Relaxed);
            } else {
                sleep(Duration::from_secs(3)).await;
            }
        }
    }

    /// Notes the result of a call. Only errors that a retry can mend are expected.
    fn ended<T>(&self, call: &str, name: &str, result: &Result<T>) {
        let error = result.as_ref().err();
        self.world.with(|state| {
            state.note(|| format!("G{} {call} {name}: {error:?}", self.instance));
            if error.is_some_and(|error| !matches!(error, Error::Unavailable(_))) {
                state.checks.fail(6, &format!("{call} {name} failed: {error:?}"));
            }
        });
    }

    async fn create(&self, application: &SparkApplication) -> Result<()> {
        let result = self.backend.create(application).await;
        self.ended("create", &application.metadata.name, &result);
        result
    }

    pub(crate) async fn delete(&self, name: &Name, grace: Duration) -> Result<()> {
        let result = self.backend.delete(name, grace).await;
        self.ended("delete", name.as_str(), &result);
        if result.is_ok() {
            self.world.with(|state| state.checks.deleted(name.as_str()));
        }
        result
    }

    pub(crate) async fn get(&self, name: &Name) -> Result<Option<Status>> {
        let (end, step, has_seen) = self.world.with(|state| {
            let checks = &mut state.checks;
            (checks.end(name.as_str()), checks.step, checks.has_seen_success(self.instance, name.as_str()))
        });
        let result = self.backend.get(name).await;
        self.ended("get", name.as_str(), &result);
        match &result {
            Ok(Some(status)) => {
                self.reports(name, status, end.as_ref());
                if has_seen {
                    self.world.with(|state| state.checks.set_success_known(name.as_str()));
                }
            }
            Ok(None) => self.world.with(|state| state.checks.unknown(self.instance, name.as_str(), step)),
            Err(_) => {}
        }
        result
    }

    fn reports(&self, name: &Name, status: &Status, before: Option<&End>) {
        self.world.with(|state| {
            state.note(|| format!("G{} reports {name}: {:?} {:?}", self.instance, status.phase, status.end));
            state.checks.status(self.instance, name.as_str(), status, before);
        });
    }

    /// Forgets an application once it has ended.
    pub(crate) async fn forget(&self, name: &Name) -> Result<()> {
        match self.get(name).await? {
            Some(Status { phase: Phase::Ended, .. }) => {}
            Some(_) => return Err(Error::Unavailable("it has not ended".to_owned())),
            None => return Ok(()),
        }
        let before = self.world.with(|state| state.server.pods_of(name.as_str()));
        let result = self.backend.forget(name).await;
        self.ended("forget", name.as_str(), &result);
        if result.is_ok() {
            self.world.with(|state| state.check_forgotten(name.as_str(), &before));
        }
        result
    }

    /// Watches again and again. After each list, applications that it did not report are read, and some others.
    async fn watch(&self, runner: &Runner) {
        loop {
            self.world.with(|state| state.views.retain(|(number, _), _| *number != runner.number));
            let mut events = self.backend.watch();
            let mut ends = BTreeMap::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(WatchEvent::Changed(change)) => {
                        if let Some(status) = &change.status {
                            self.reports(&change.name, status, ends.get(&change.name));
                            ends.extend(status.end.clone().map(|end| (change.name.clone(), end)));
                        } else {
                            ends.remove(&change.name);
                        }
                        self.view(runner.number, &change.name, change.status);
                    }
                    Ok(WatchEvent::Listed) => self.read_all(runner).await,
                    Err(error) => {
                        self.ended("watch", "", &Err::<(), _>(error));
                        break;
                    }
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn read_all(&self, runner: &Runner) {
        for application in &runner.applications {
            let name: Name = application.metadata.name.parse().expect("the name is valid");
            let key = (runner.number, name.to_string());
            if self.world.with(|state| state.views.contains_key(&key) && state.random.chance(500)) {
                continue;
            }
            let status = loop {
                match self.get(&name).await {
                    Ok(status) => break status,
                    Err(_) => sleep(Duration::from_secs(1)).await,
                }
            };
            self.view(runner.number, &name, status);
        }
    }

    fn view(&self, runner: usize, name: &Name, status: Option<Status>) {
        let key = (runner, name.to_string());
        self.world.with(|state| {
            state.note(|| format!("runner {runner} sees {name}: {:?}", status.as_ref().map(|it| it.phase)));
            state.views.insert(key, status)
        });
    }
}
