//! Control planes with databases that are restored and copied, on one cluster. Calls are slow, and some fail.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::super::{OrphanAction, Orphans};
use super::OWN;
use crate::clusters::{Binding, Bindings, Clusters, Member, Properties};
use crate::error::{Error, Result};
use crate::kubernetes::fields::FIELDS;
use crate::{
    Capabilities, Compute, Cursor, End, Log, Name, OrphanMark, Phase, Recorded, SparkApplication, Status,
    WatchEvent,
};

const AFTER: Duration = Duration::from_mins(1);
const SEEDS: u64 = 400;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn clock() -> Timestamp {
    let elapsed = START.get().expect("the simulation has begun").elapsed();
    Timestamp::UNIX_EPOCH + SignedDuration::try_from(elapsed).expect("a simulation is short")
}

/// A generator of random numbers (`SplitMix64`).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Database {
    bindings: HashMap<Name, Binding>,
    live: HashSet<Name>,
}

impl Database {
    fn owns(&self, name: &Name) -> bool {
        matches!(self.bindings.get(name), Some(Binding::Cluster(_))) || self.live.contains(name)
    }
}

#[derive(Debug)]
struct World {
    random: Random,
    /// Delays and errors of calls.
    has_faults: bool,
    version: u64,
    records: BTreeMap<Name, (Recorded, Option<Status>)>,
    databases: Vec<Database>,
    /// The time since which each database has owned an application without a break.
    owned_since: HashMap<(usize, Name), Instant>,
    violations: Vec<String>,
}

impl World {
    /// Notes who owns what, after each change of a database.
    fn observe(&mut self) {
        for (index, database) in self.databases.iter().enumerate() {
            for name in self.records.keys() {
                let key = (index, name.clone());
                if database.owns(name) {
                    self.owned_since.entry(key).or_insert_with(Instant::now);
                } else {
                    self.owned_since.remove(&key);
                }
            }
        }
    }

    fn put(&mut self, mut recorded: Recorded, status: Option<Status>) {
        self.version += 1;
        recorded.version = self.version.to_string();
        self.records.insert(recorded.name.clone(), (recorded, status));
        self.observe();
    }

    /// Returns the record that was listed, unless it has changed since.
    fn unchanged(&self, listed: &Recorded) -> Option<(Recorded, Option<Status>)> {
        self.records.get(&listed.name).filter(|(recorded, _)| recorded.version == listed.version).cloned()
    }

    /// Checks a stop by the control plane of a database.
    fn check_stop(&mut self, by: usize, recorded: &Recorded) {
        let name = &recorded.name;
        if recorded.control_plane.as_deref() != Some(OWN) {
            self.violations.push(format!("{name} of another control plane is stopped"));
        }
        if matches!(self.databases[by].bindings.get(name), Some(Binding::Cluster(_))) {
            self.violations.push(format!("{name} is stopped, and has a cluster in the database"));
        }
        // An owner sweeps four times in this time, unless calls are slower.
        let owner = (0..self.databases.len()).find(|index| {
            let since = self.owned_since.get(&(*index, name.clone()));
            since.is_some_and(|since| since.elapsed() > AFTER * 3)
        });
        if owner.is_some_and(|owner| owner != by) {
            self.violations.push(format!("{name} is stopped, and the database {owner:?} has an owner"));
        }
    }
}

/// A control plane: its database, and its connections to the database and to the cluster.
#[derive(Debug, Clone)]
struct ControlPlane {
    world: Arc<Mutex<World>>,
    database: usize,
    /// Maximum delay of a call, in milliseconds.
    slowest: u64,
}

impl ControlPlane {
    fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    async fn delay(&self) {
        let time = self.with(|it| if it.has_faults { it.random.below(self.slowest) } else { 1 });
        sleep(Duration::from_millis(time)).await;
    }

    /// Performs a call, with a delay before and after. It may fail, and its response may be lost.
    async fn call<T>(&self, change: impl FnOnce(&mut World) -> T) -> Result<T> {
        let fails = || self.with(|it| it.has_faults && it.random.below(20) == 0);
        self.delay().await;
        if fails() {
            return Err(Error::Unavailable("rejected".to_owned()));
        }
        let result = self.with(change);
        self.delay().await;
        if fails() { Err(Error::Unavailable("lost".to_owned())) } else { Ok(result) }
    }
}

#[async_trait]
impl Bindings for ControlPlane {
    async fn bind(&self, name: &Name, binding: Binding) -> Result<Binding> {
        self.call(|world| {
            let bound =
                world.databases[self.database].bindings.entry(name.clone()).or_insert(binding).clone();
            world.observe();
            bound
        })
        .await
    }

    async fn binding(&self, name: &Name) -> Result<Option<Binding>> {
        self.call(|world| world.databases[self.database].bindings.get(name).cloned()).await
    }

    async fn unbind(&self, name: &Name) -> Result<()> {
        self.call(|world| {
            world.databases[self.database].bindings.remove(name);
            world.observe();
        })
        .await
    }

    async fn identity(&self) -> Result<String> {
        self.call(|_| OWN.to_owned()).await
    }

    async fn with_owner(&self, names: &[Name]) -> Result<HashSet<Name>> {
        self.call(|world| {
            let database = &world.databases[self.database];
            names.iter().filter(|name| database.owns(name)).cloned().collect()
        })
        .await
    }
}

#[async_trait]
impl Compute for ControlPlane {
    fn capabilities(&self) -> Capabilities {
        Capabilities { fields: &FIELDS, abilities: &[] }
    }

    fn accepts(&self, _: &SparkApplication) -> Result<()> {
        Ok(())
    }

    async fn create(&self, application: &SparkApplication) -> Result<()> {
        let name: Name = application.metadata.name.parse()?;
        self.call(|world| {
            if !world.records.contains_key(&name) {
                world.put(recorded(name, Some(OWN)), Some(Status::new(Phase::Running)));
            }
        })
        .await
    }

    async fn get(&self, name: &Name) -> Result<Option<Status>> {
        self.call(|world| world.records.get(name).and_then(|(_, status)| status.clone())).await
    }

    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>> {
        Box::pin(futures_util::stream::pending())
    }

    async fn delete(&self, _: &Name, _: Duration) -> Result<()> {
        Ok(())
    }

    async fn logs(&self, _: &Name, after: &Cursor, _: usize) -> Result<Log> {
        Ok(Log { next: after.clone(), bytes: Vec::new() })
    }

    async fn tail(&self, _: &Name, _: usize) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn forget(&self, name: &Name) -> Result<()> {
        self.call(|world| drop(world.records.remove(name))).await
    }

    async fn recorded(&self) -> Result<Vec<Recorded>> {
        self.call(|world| world.records.values().map(|(recorded, _)| recorded.clone()).collect()).await
    }

    async fn set_mark(&self, listed: &Recorded, mark: OrphanMark) -> Result<bool> {
        self.call(|world| {
            let Some((recorded, status)) = world.unchanged(listed) else { return false };
            world.put(Recorded { mark: Some(mark), ..recorded }, status);
            true
        })
        .await
    }

    async fn stop_recorded(&self, listed: &Recorded, _: Duration) -> Result<bool> {
        self.call(|world| {
            let Some((recorded, _)) = world.unchanged(listed) else { return false };
            world.check_stop(self.database, &recorded);
            let end = End::stopped_before_start(clock());
            world.put(recorded, Some(Status { end: Some(end), ..Status::new(Phase::Ended) }));
            true
        })
        .await
    }
}

fn recorded(name: Name, control_plane: Option<&str>) -> Recorded {
    let control_plane = control_plane.map(str::to_owned);
    Recorded { name, control_plane, created: Some(clock()), mark: None, version: String::new() }
}

fn clusters(plane: &ControlPlane) -> Clusters {
    let properties = Properties { weight: 1, ..Properties::default() };
    let orphans = Orphans { action: OrphanAction::End, after: AFTER };
    let member = Member { kind: "double", properties, orphans, compute: Arc::new(plane.clone()) };
    let members = BTreeMap::from([("main".to_owned(), member)]);
    Clusters::new(members, Arc::new(plane.clone()), clock, |_| {})
}

/// Creates an application as a Runner does: it is tried again until it succeeds, while its execution is live.
async fn create(plane: ControlPlane, clusters: Clusters, name: Name) {
    plane.with(|world| world.databases[plane.database].live.insert(name.clone()));
    let mut application = SparkApplication::default();
    application.metadata.name = name.to_string();
    while plane.with(|world| world.databases[plane.database].live.contains(&name)) {
        if clusters.create(&application).await.is_ok() {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Ends an execution as a Runner does, and forgets its application.
async fn finish(plane: ControlPlane, clusters: Clusters, name: Name) {
    plane.with(|world| {
        world.databases[plane.database].live.remove(&name);
        world.observe();
    });
    while clusters.forget(&name).await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
}

async fn act(planes: &[ControlPlane], all: &[Clusters], backups: &mut Vec<Database>, number: usize) {
    let choose = |limit: u64| planes[0].with(|world| world.random.below(limit));
    let chosen = usize::try_from(choose(planes.len() as u64)).expect("it fits");
    let (plane, clusters) = (planes[chosen].clone(), all[chosen].clone());
    let name = |number: u64| format!("a-{number}").parse::<Name>().expect("it is a name");
    match choose(12) {
        0..5 => drop(tokio::spawn(create(plane, clusters, name(number as u64)))),
        5..8 => drop(tokio::spawn(finish(plane, clusters, name(choose(number as u64 + 1))))),
        8 => backups.push(plane.with(|world| world.databases[plane.database].clone())),
        9 if !backups.is_empty() => {
            let backup = backups[usize::try_from(choose(backups.len() as u64)).expect("it fits")].clone();
            plane.with(|world| {
                world.databases[plane.database] = backup;
                world.observe();
            });
        }
        10 => plane.with(|world| world.put(recorded(name(1000 + number as u64), Some("other")), None)),
        11 => plane.with(|world| world.put(recorded(name(2000 + number as u64), None), None)),
        _ => {}
    }
    let pause = choose(40);
    sleep(Duration::from_secs(pause)).await;
}

async fn simulate(seed: u64) -> Vec<String> {
    START.set(Some(Instant::now()));
    let mut random = Random(seed);
    let databases = usize::try_from(random.below(2) + 1).expect("it fits");
    let world = World {
        random,
        has_faults: true,
        version: 0,
        records: BTreeMap::new(),
        databases: vec![Database::default(); databases],
        owned_since: HashMap::new(),
        violations: Vec::new(),
    };
    let world = Arc::new(Mutex::new(world));
    // Two Gateways for each database. Without a copy, a call may take longer than an orphan has to wait.
    let slowest = if databases == 1 { 200_000 } else { 3000 };
    let plane = |database| ControlPlane { world: Arc::clone(&world), database, slowest };
    let planes: Vec<ControlPlane> = (0..databases * 2).map(|index| plane(index / 2)).collect();
    let all: Vec<Clusters> = planes.iter().map(clusters).collect();
    let mut backups = Vec::new();
    for number in 0..25 {
        act(&planes, &all, &mut backups, number).await;
    }
    planes[0].with(|world| world.has_faults = false);
    sleep(Duration::from_mins(25)).await;
    let mut world = world.lock().unwrap();
    let mut violations = std::mem::take(&mut world.violations);
    for (name, (recorded, _)) in &world.records {
        let is_owned = world.databases.iter().any(|database| database.owns(name));
        let is_own = recorded.control_plane.as_deref() == Some(OWN);
        if is_own && !is_owned && recorded.mark != Some(OrphanMark::Claimed) {
            violations.push(format!("{name} has no owner, and is left: {recorded:?}"));
        }
        if !is_own && recorded.mark.is_some() {
            violations.push(format!("{name} of another control plane was changed"));
        }
    }
    violations
}

#[test]
fn applications_without_an_owner_are_ended_and_no_others() {
    for seed in 0..SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let violations = runtime.expect("a runtime starts").block_on(simulate(seed));
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
}
