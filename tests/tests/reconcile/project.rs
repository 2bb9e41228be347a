//! An applied project with a real Runner, real processes and real files.
//!
//! The drivers are shell scripts that write the same events as Spark; other tests use a real Spark.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_gateway::local::Local;
use dcp_model::manifest;
use dcp_model::primitive::{Address, Fingerprint, Kind, Primitive};
use dcp_reconciler::apply::{CommitMetadata, Target, apply};
use dcp_reconciler::plan::{Context, Inclusion, compare};
use dcp_reconciler::publish::DagFolder;
use dcp_reconciler::reconcile::store::{Key, Store};
use dcp_reconciler::reconcile::{JobState, LocalJobs, Reconciler};
use dcp_reconciler::registry::Registry as _;
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::state::Scope;
use dcp_runner::api::{Filter, Runner as _, live};
use dcp_runner::in_process::{Backend, InProcessRunner, Jobs, Options};
use dcp_runner::request::Reference;
use dcp_tests::fake_spark::{self, FakeSpark, STREAM_SCRIPT};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_dcp-test-supervisor");

/// An applied project with a Runner. Tests start reconcilers as needed.
pub(crate) struct Project {
    pub(crate) fake_spark: FakeSpark,
    pub(crate) registry: Sql,
    pub(crate) store: Store,
    pub(crate) runner: InProcessRunner,
    pub(crate) dags: DagFolder,
    pub(crate) scope: Scope,
}

#[derive(Debug)]
struct RegistryJobs(Sql);

#[async_trait::async_trait]
impl Jobs for RegistryJobs {
    async fn current(&self, of: &Reference) -> dcp_runner::api::Result<Option<Fingerprint>> {
        let Reference { domain, name, .. } = of.clone();
        let address = Address { domain, name, kind: Kind::CoreEtlJob };
        let revisions =
            self.0.revisions(&Scope::new("shop", None), &address).await.expect("the registry can be read");
        Ok(revisions.into_iter().next().and_then(|it| it.fingerprint))
    }

    async fn is_continuous(&self, of: &Reference) -> dcp_runner::api::Result<bool> {
        let Reference { domain, name, .. } = of.clone();
        let address = Address { domain, name, kind: Kind::ContinuousJob };
        let revisions =
            self.0.revisions(&Scope::new("shop", None), &address).await.expect("the registry can be read");
        Ok(revisions.first().is_some_and(|it| it.fingerprint.is_some()))
    }

    async fn job(
        &self,
        _: &Reference,
        revision: &Fingerprint,
    ) -> dcp_runner::api::Result<Option<dcp_model::primitive::CoreEtlJob>> {
        let texts = self.0.bodies(&Scope::new("shop", None), std::slice::from_ref(revision)).await;
        let texts = texts.expect("the revision was applied");
        Ok(texts.first().map(|text| serde_json::from_str(text).expect("the body is a job")))
    }
}

/// The settings of a declared stream or service.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) behaviour: String,
    pub(crate) state_version: u32,
    pub(crate) start_within: u32,
    pub(crate) on_unhealthy: &'static str,
    pub(crate) paused: bool,
    pub(crate) attempts: u32,
    pub(crate) scaled: bool,
    /// Set if it reports partitions of the table `lake.clicks` as complete.
    pub(crate) completes: bool,
    /// `continuous` or `service`, which has no checkpoint.
    pub(crate) run: &'static str,
}

pub(crate) fn stream(behaviour: &str) -> Stream {
    Stream {
        name: "clicks",
        behaviour: behaviour.to_owned(),
        state_version: 1,
        start_within: 600,
        on_unhealthy: "rollback",
        paused: false,
        attempts: 1,
        scaled: false,
        completes: false,
        run: "continuous",
    }
}

pub(crate) fn service(behaviour: &str) -> Stream {
    Stream { run: "service", ..stream(behaviour) }
}

impl Stream {
    pub(crate) fn manifest(&self, folder: &Path) -> String {
        let Self { name, behaviour, attempts, scaled, completes, run, .. } = self;
        let scaling = match scaled {
            true => {
                "      trigger: {every: 1s}\n      scaling: {}\n  resources: {executors: {min: 2, max: 8, initial: 3}}\n"
            }
            false => "",
        };
        let completes = match completes {
            true => "      completes: {every: 1h}\n  outputs: [{table: lake.clicks}]\n",
            false => "",
        };
        let run = if *run == "service" { self.as_service() } else { self.as_continuous(folder) };
        format!(
            "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: logistics, owner: o}}\nspec:\n  \
             engine: {{version: \"4.1\"}}\n  job: {{pyspark: {{main: main.py, args: [\"{behaviour}\"]}}}}\n  \
             retry: {{attempts: {attempts}, backoff: 1s}}\n  run:\n{run}{scaling}{completes}"
        )
    }

    fn as_continuous(&self, folder: &Path) -> String {
        let Self { state_version, start_within, on_unhealthy, paused, .. } = self;
        let folder = folder.display();
        format!(
            "    continuous:\n      checkpoint: \"file://{folder}/checkpoints/clicks\"\n      \
             stateVersion: {state_version}\n      paused: {paused}\n      \
             health: {{startWithin: {start_within}s, progressWithin: 600s}}\n      \
             upgrade: {{onUnhealthy: {on_unhealthy}, grace: 5s, reset: allow}}\n"
        )
    }

    fn as_service(&self) -> String {
        let Self { start_within, on_unhealthy, paused, .. } = self;
        format!(
            "    service:\n      paused: {paused}\n      \
             health: {{startWithin: {start_within}s, stableAfter: 1s}}\n      \
             upgrade: {{onUnhealthy: {on_unhealthy}, grace: 5s}}\n"
        )
    }

    pub(crate) fn key(&self) -> Key {
        Key { scope: "shop".to_owned(), address: format!("ContinuousJob/logistics/{}", self.name) }
    }
}

pub(crate) fn primitives(manifest: &str) -> Vec<Primitive> {
    let files = BTreeMap::from([("manifest.yaml".to_owned(), manifest.to_owned())]);
    let compiled = dcp_tests::compile(&files, None);
    let errors = dcp_tests::describe(&compiled.sources, &compiled.diagnostics);
    assert!(!errors.contains("error"), "{errors}");
    compiled.primitives
}

pub(crate) async fn start_runner(fake_spark: &FakeSpark, registry: &Sql) -> InProcessRunner {
    let compute: Arc<Local> = Arc::new(fake_spark::local_backend(&fake_spark.path(""), SUPERVISOR));
    let backend = Backend { compute, slots: None };
    let mut options = Options::new(vec![(manifest::Backend::Local, backend)], Timestamp::now);
    options.poll_interval = Duration::from_millis(20);
    options.lease = Duration::from_secs(2);
    options.jobs = Some(Arc::new(RegistryJobs(registry.clone())));
    let store = dcp_runner::store::Store::sqlite(&fake_spark.path("runs.db"))
        .await
        .expect("the store or folder can be created");
    InProcessRunner::start(store, options).await.expect("the Runner starts")
}

impl Project {
    pub(crate) async fn new() -> Self {
        let fake_spark = FakeSpark::with_version("4.1.1", STREAM_SCRIPT);
        std::fs::create_dir(fake_spark.path("checkpoints")).expect("the temporary folder is writable");
        let registry =
            Sql::sqlite(&fake_spark.path("state.db")).await.expect("the store or folder can be created");
        let store =
            Store::sqlite(&fake_spark.path("state.db")).await.expect("the store or folder can be created");
        let runner = start_runner(&fake_spark, &registry).await;
        let dags = DagFolder::open("dags", &fake_spark.path("")).expect("the store or folder can be created");
        Self { fake_spark, registry, store, runner, dags, scope: Scope::new("shop", None) }
    }

    /// Applies exactly these streams, and deletes others.
    pub(crate) async fn apply(&self, streams: &[&Stream]) {
        let manifests = streams.iter().map(|stream| stream.manifest(&self.fake_spark.path("")));
        let desired: Vec<Primitive> = manifests.flat_map(|it| primitives(&it)).collect();
        let state = self.registry.state(&self.scope).await.expect("the registry can be read");
        let context = Context { scope: self.scope.clone(), commit: None, locate: &|_, _, _| None };
        let comparison = compare(&desired, &state, |_, _| Inclusion::Compared);
        let wanted = comparison.needed_bodies();
        let texts = self.registry.bodies(&self.scope, &wanted).await.expect("the bodies exist");
        let bodies = wanted.into_iter().zip(texts).collect();
        let plan = comparison.plan(&bodies, &context).expect("the store can be read");
        let target = Target { registry: &self.registry, dags: &self.dags, scope: &self.scope };
        let id = format!("{:032x}", rand::random::<u128>());
        let who = CommitMetadata { id, by: "tester".to_owned(), at: Timestamp::now() };
        apply(target, &plan, &who, &mut |_| {}).await.expect("the plan can be applied");
    }

    pub(crate) fn local_jobs(&self) -> LocalJobs {
        LocalJobs { registry: self.registry.clone(), store: self.store.clone() }
    }

    pub(crate) fn start_reconciler(&self) -> RunningReconciler {
        let (stop, stopped) = watch::channel(false);
        let reconciler = Reconciler {
            registry: self.registry.clone(),
            store: self.store.clone(),
            runner: Arc::new(self.runner.clone()),
            lease: Duration::from_secs(1),
            clock: Timestamp::now,
            log: Arc::new(|_| {}),
        };
        RunningReconciler { stop, task: tokio::spawn(reconciler.run(stopped)) }
    }

    pub(crate) async fn state(&self, stream: &Stream) -> JobState {
        self.store.job(&stream.key()).await.expect("the store can be read").state
    }

    pub(crate) async fn wait_until(
        &self,
        stream: &Stream,
        what: &str,
        is: impl Fn(&JobState) -> bool,
    ) -> JobState {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let state = self.state(stream).await;
            if is(&state) {
                return state;
            }
            if Instant::now() >= deadline {
                let messages = self.store.events(&stream.key(), 50).await.expect("the store can be read");
                let all =
                    self.runner.list(&Filter::default(), None, 50).await.expect("the store can be read");
                let logs = all.iter().map(|it| format!("{} {:?}", it.id(), it.history)).collect::<Vec<_>>();
                panic!("{what} did not happen: {state:#?} {messages:#?} {logs:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a revision runs and is healthy.
    pub(crate) async fn wait_until_healthy(&self, stream: &Stream, revision: u64) -> JobState {
        let runs = |state: &JobState| {
            let of = |it: &dcp_reconciler::reconcile::Version| it.revision == revision;
            let run = state.run.as_ref().filter(|run| run.stopping.is_none() && run.execution.is_some());
            run.is_some_and(|run| of(&run.version)) && state.healthy.as_ref().is_some_and(of)
        };
        self.wait_until(stream, &format!("a healthy revision {revision}"), runs).await
    }

    pub(crate) async fn wait_until_stopped(&self, stream: &Stream) {
        self.wait_until(stream, "rest", |state| state.run.is_none() && state.starts > 0).await;
        let filter = Filter { phases: live(), ..Filter::default() };
        assert_eq!(self.runner.list(&filter, None, 10).await.expect("the store can be read"), []);
    }

    pub(crate) async fn events(&self, stream: &Stream) -> String {
        let events = self.store.events(&stream.key(), 1000).await.expect("the store can be read");
        let messages: Vec<&str> = events.iter().rev().map(|it| it.message.as_str()).collect();
        format!("{}\n", messages.join("\n"))
    }

    pub(crate) fn started_drivers(&self) -> Vec<String> {
        self.fake_spark.lines("started")
    }

    pub(crate) fn assert_no_concurrent_drivers(&self) {
        assert_eq!(self.fake_spark.lines("concurrent"), [""; 0]);
    }
}

/// A running reconciler.
pub(crate) struct RunningReconciler {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningReconciler {
    /// Aborts the reconciler at an arbitrary point.
    pub(crate) async fn abort(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("the reconciler ends");
    }
}
