//! One simulation: a time with faults, then a calm time in which everything must come to its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dcp_gateway::application::CONNECT;
use dcp_gateway::kubernetes::{Namespaces, Operator, Settings};
use dcp_gateway::{ConnectKey, Name, Phase, SparkApplication, Status};
use serde_json::json;
use tokio::time::sleep;

use crate::RECORDS;
use crate::checks::record;
use crate::cluster::{Run, SIDECAR};
use crate::runner::{Gateway, Kind, Operation, Runner};
use crate::server::{self, Key};
use crate::world::{Rates, State, World};

const DOMAINS: [&str; 2] = ["sales", "hr"];
/// Maximum virtual time in which a calm cluster must come to its end, in seconds.
const MAX_SECONDS: u32 = 400;

pub(crate) async fn simulate(seed: u64, has_history: bool) -> (Vec<String>, Vec<String>) {
    let world = World::new(seed, has_history);
    let settings = settings(&world);
    let applications = applications(&world, settings.operator.is_none());
    world.with(|state| {
        for application in &applications {
            state.checks.applications.entry(application.metadata.name.clone()).or_default();
        }
    });
    let runners = runners(&world, &settings, &applications);
    for runner in &runners {
        let (runner, world) = (Arc::clone(runner), world.clone());
        tokio::spawn(async move { runner.run(world).await });
    }
    let cluster = world.clone();
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(700)).await;
            cluster.with(State::step_cluster);
        }
    });
    let duration = world.with(|state| state.random.between(20, 120));
    sleep(Duration::from_secs(duration)).await;
    let names: Vec<Name> =
        applications.iter().map(|it| it.metadata.name.parse().expect("the name is valid")).collect();
    let end = End { world: world.clone(), settings, names, runners };
    if let Err(text) = end.run().await {
        world.with(|state| state.checks.fail(6, &text));
    }
    world.with(|state| (std::mem::take(&mut state.checks.violations), state.take_history()))
}

fn settings(world: &World) -> Settings {
    let namespaces = if world.with(|state| state.random.chance(500)) {
        Namespaces { default: Some("{domain}".to_owned()), of_domains: BTreeMap::new() }
    } else {
        let of_domains = DOMAINS.map(|domain| (domain.to_owned(), format!("spark-{domain}")));
        Namespaces { default: None, of_domains: of_domains.into() }
    };
    let operator = world.with(|state| state.random.chance(500)).then_some(Operator::Kubeflow);
    let connect_key = Some(connect_key());
    Settings { records: RECORDS.to_owned(), namespaces, operator, connect_key, ..Settings::new("main") }
}

/// Returns the key of all simulations.
fn connect_key() -> ConnectKey {
    static KEY: LazyLock<ConnectKey> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        ConnectKey::load_or_create(&folder.path().join("key")).expect("the folder is writable")
    });
    KEY.clone()
}

fn applications(world: &World, have_pools: bool) -> Vec<SparkApplication> {
    let count = world.with(|state| state.random.between(1, 2));
    let application = |number| {
        let mut application = SparkApplication::default();
        application.metadata.name = format!("a-{number}");
        application.metadata.namespace = world.with(|state| state.random.pick(&DOMAINS).to_owned());
        let image = ("spark.kubernetes.container.image".to_owned(), "spark".to_owned());
        application.spec.spark_conf.extend([image]);
        let map = json!({"name": format!("a-{number}-job"), "data": {"job.json": "{}"}});
        application.spec.config_map_specs = vec![serde_json::from_value(map).expect("it is valid")];
        let volumes = json!([{"name": "dcp-job", "configMap": {"name": format!("a-{number}-job")}}]);
        application.spec.driver_spec.pod_template_spec = json!({"spec": {"volumes": volumes}});
        if have_pools && world.with(|state| state.random.chance(500)) {
            application.spec.spark_conf.insert(CONNECT.to_owned(), "true".to_owned());
        }
        if world.with(|state| state.random.chance(200)) {
            let containers = json!([{"name": "spark-kubernetes-driver"}, {"name": SIDECAR, "image": "i"}]);
            application.spec.driver_spec.pod_template_spec["spec"]["containers"] = containers;
        }
        application
    };
    (0..count).map(application).collect()
}

fn runners(world: &World, settings: &Settings, applications: &[SparkApplication]) -> Vec<Arc<Runner>> {
    let count = world.with(|state| state.random.between(2, 3));
    let count = usize::try_from(count).expect("it fits");
    let mut operations: Vec<Vec<Operation>> = (0..count).map(|_| Vec::new()).collect();
    for application in 0..applications.len() {
        for (at, kind) in world.with(operations_of_one) {
            let runner = world.with(|state| state.random.index(count));
            let at = Duration::from_millis(at);
            operations[runner].push(Operation { at, application, kind, is_done: AtomicBool::new(false) });
        }
    }
    let runner = |(number, operations)| {
        let (mut settings, applications) = (settings.clone(), applications.to_vec());
        // The clusters file was changed, and this Runner is the first or the last to read it.
        if number > 0 && world.with(|state| state.random.chance(150)) {
            settings.operator = None;
        }
        Arc::new(Runner { number, settings, applications, operations })
    };
    operations.into_iter().enumerate().map(runner).collect()
}

/// Returns the operations on one application, with their times in milliseconds.
fn operations_of_one(state: &mut State) -> Vec<(u64, Kind)> {
    let random = &mut state.random;
    let begin = random.pick(&[0, 0, 10_000]);
    let mut all = Vec::new();
    for _ in 0..random.between(1, 3) {
        all.push((begin + random.between(0, 300), Kind::Create));
    }
    if random.chance(500) {
        let at = random.pick(&[300, 300, 2000, 30_000]);
        let grace = Duration::from_secs(random.pick(&[0, 5, 30]));
        all.push((begin + random.between(0, at), Kind::Delete { grace }));
    }
    for _ in 0..random.between(0, 4) {
        all.push((begin + random.between(0, 60_000), Kind::Get));
    }
    if random.chance(100) {
        all.push((begin + random.between(20_000, 90_000), Kind::Forget));
    }
    all
}

/// The end of a simulation.
struct End {
    world: World,
    settings: Settings,
    names: Vec<Name>,
    runners: Vec<Arc<Runner>>,
}

/// The status that the facts of the server demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    Nothing,
    Phase(Phase),
    /// The facts must change first.
    Change,
}

impl End {
    async fn run(&self) -> Result<(), String> {
        self.world.with(|state| {
            state.rates = Rates::default();
            state.cluster.is_calm = true;
            state.note(|| "faults have stopped".to_owned());
        });
        self.wait("an operation does not end", || self.is_idle()).await?;
        self.settle().await?;
        self.end_drivers().await?;
        self.settle().await?;
        let gateway = Gateway::new(&self.world, &self.settings);
        for name in &self.names {
            gateway.forget(name).await.map_err(|error| format!("{name} can't be forgotten: {error}"))?;
        }
        self.wait("an object is left", || self.world.with(|it| it.server.objects.is_empty())).await?;
        self.settle().await
    }

    /// Waits until a condition holds.
    async fn wait(&self, what: &str, condition: impl Fn() -> bool) -> Result<(), String> {
        for _ in 0..MAX_SECONDS {
            if condition() {
                return Ok(());
            }
            sleep(Duration::from_secs(1)).await;
        }
        let objects =
            |it: &mut State| it.server.objects.keys().map(|key| key.name.clone()).collect::<Vec<_>>();
        Err(format!("{what}; objects: {:?}", self.world.with(objects)))
    }

    /// Returns true if every creation, deletion and delayed request has ended.
    fn is_idle(&self) -> bool {
        let mut operations = self.runners.iter().flat_map(|runner| &runner.operations);
        // An application that never ends is not forgotten.
        operations.all(|it| it.is_done.load(Ordering::Relaxed) || matches!(it.kind, Kind::Forget))
            && self.world.with(|state| state.open_requests == 0)
    }

    /// Waits until every Gateway and every watch reports the status that the facts demand.
    async fn settle(&self) -> Result<(), String> {
        // A list may be from an old cache several times in a row.
        let mut pauses = [1, 2, 5, 10, 20, 60, 120, 180].into_iter().chain(std::iter::repeat_n(1, 30));
        while let Some(text) = self.disagreement().await {
            let Some(seconds) = pauses.next() else { return Err(text) };
            sleep(Duration::from_secs(seconds)).await;
        }
        Ok(())
    }

    async fn disagreement(&self) -> Option<String> {
        let fresh = Gateway::new(&self.world, &self.settings);
        for name in &self.names {
            let demand = self.world.with(|state| demand(state, name));
            let phase = match demand {
                Demand::Nothing => None,
                Demand::Phase(phase) => Some(phase),
                Demand::Change => return Some(format!("{name} does not come to its status")),
            };
            if let Some(text) = self.wrong_view(name, phase) {
                return Some(text);
            }
            let gateways = self.world.with(|it| it.gateways.values().cloned().collect::<Vec<_>>());
            for gateway in gateways.iter().chain([&fresh]) {
                let status = gateway.get(name).await;
                if !status.as_ref().is_ok_and(|status| has_phase(status.as_ref(), phase)) {
                    return Some(format!("{name} should be {phase:?}, and is {status:?}"));
                }
            }
        }
        None
    }

    /// Returns the difference of a watch from the phase that the facts demand.
    fn wrong_view(&self, name: &Name, phase: Option<Phase>) -> Option<String> {
        self.runners.iter().find_map(|runner| {
            let key = (runner.number, name.to_string());
            let view = self.world.with(|state| state.views.get(&key).cloned().flatten());
            let is_right = has_phase(view.as_ref(), phase);
            (!is_right)
                .then(|| format!("runner {} should see {name} {phase:?}, and sees {view:?}", runner.number))
        })
    }

    /// Ends each driver that runs: by itself, or by a request.
    async fn end_drivers(&self) -> Result<(), String> {
        let gateway = Gateway::new(&self.world, &self.settings);
        for name in &self.names {
            let must_delete = self.world.with(|state| {
                let ends = state.random.chance(500);
                let mut drivers = state.cluster.processes.values_mut();
                let driver = drivers.find(|it| it.is_driver && it.application == name.as_str());
                match driver {
                    Some(driver) if ends && driver.main == Run::Running => {
                        driver.main = Run::Ended(0);
                        false
                    }
                    _ => demand(state, name) != Demand::Nothing,
                }
            });
            if must_delete {
                let deleted = gateway.delete(name, Duration::from_secs(5)).await;
                deleted.map_err(|error| format!("{name} can't be deleted: {error}"))?;
            }
        }
        Ok(())
    }
}

fn has_phase(status: Option<&Status>, phase: Option<Phase>) -> bool {
    let is_clear = status.is_none_or(|status| status.obstacle.is_none());
    status.map(|status| status.phase) == phase && is_clear
}

fn demand(state: &State, name: &Name) -> Demand {
    let key = Key::new(server::Kind::ConfigMap, RECORDS, name.as_str());
    let Some(object) = state.server.objects.get(&key) else {
        let is_left = state.checks.is_running(name.as_str());
        return if is_left { Demand::Change } else { Demand::Nothing };
    };
    let record = record(object);
    if !record["stop"].is_null() || !record["end"].is_null() {
        return Demand::Phase(Phase::Ended);
    }
    let Some(driver) = record["driver"].as_str() else {
        // A creator whose record was deleted meanwhile may have left this one.
        let is_disowned = state.checks.applications[name.as_str()].is_disowned;
        return if is_disowned { Demand::Phase(Phase::Pending) } else { Demand::Change };
    };
    match state.cluster.processes.get(driver) {
        Some(process) if process.main == Run::Running => Demand::Phase(Phase::Running),
        None if state.server.has_uid(driver) => Demand::Change,
        _ => Demand::Phase(Phase::Ended),
    }
}
