//! Publishing DAG files: concurrent applies, repair after a crash, and the revision and commit in each file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dcp_compiler::compile::{Compiler, Goal, PROJECT_FILE};
use dcp_compiler::project::Project;
use dcp_model::primitive::{Kind, Primitive};
use dcp_objects::object_store::memory::InMemory;
use dcp_reconciler::apply::{self, CommitMetadata, Step, Target, apply, repair};
use dcp_reconciler::drift;
use dcp_reconciler::plan::{Context, Inclusion, Plan, compare};
use dcp_reconciler::publish::DagFolder;
use dcp_reconciler::registry::memory::Memory;
use dcp_reconciler::registry::{self, Registry};
use dcp_reconciler::state::Action;
use dcp_reconciler::state::{Change, Commit, Scope, State};
use futures_util::FutureExt as _;
use jiff::Timestamp;

fn primitives() -> Vec<Primitive> {
    of("o", &["a"])
}

/// Returns the primitives of workloads with these names and this owner.
fn of(owner: &str, names: &[&str]) -> Vec<Primitive> {
    let manifest = |name: &&str| {
        format!(
            "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: d, owner: {owner}}}\nspec:\n  \
             engine: {{version: \"4.1\"}}\n  job: {{pyspark: {{main: a.py}}}}\n  run: {{manual: {{}}}}\n"
        )
    };
    let text = names.iter().map(manifest).collect::<Vec<_>>().join("---\n");
    let files = BTreeMap::from([("a.yaml".to_owned(), text)]);
    let project = Project::none();
    let (project_source, project_diagnostics) = (None, Vec::new());
    let compiler = Compiler { project: &project, project_source, project_diagnostics, goal: Goal::Compile };
    compiler.link(vec![compiler.analyze(0, "a.yaml", &files)]).primitives
}

fn plan(desired: &[Primitive], scope: &Scope) -> Plan {
    let state = State::default();
    let context = Context { scope: scope.clone(), commit: None, locate: &|_, _, _| None };
    compare(desired, &state, |_, _| Inclusion::Compared)
        .plan(&HashMap::new(), &context)
        .expect("nothing has to be read")
}

/// The slower apply has committed and is about to switch its file when the faster one deletes the workload.
#[tokio::test]
async fn later_commit_wins_over_a_slower_apply() {
    let (registry, scope) = (Memory::default(), Scope::new("shop", None));
    let dags = DagFolder::with_store(Arc::new(InMemory::new()), "dags");
    let plan = plan(&primitives(), &scope);
    let target = Target { registry: &registry, dags: &dags, scope: &scope };
    let metadata = CommitMetadata { id: "slow".to_owned(), by: "slow".to_owned(), at: Timestamp::UNIX_EPOCH };
    let mut serials = Vec::new();
    let mut report = |step| {
        if let Step::Committed { serial } = step {
            serials.push(serial);
            let faster = async {
                let state = registry.state(&scope).await.expect("it exists");
                let change = |address: &_| Change {
                    address: Clone::clone(address),
                    action: Action::Delete,
                    body: None,
                };
                let changes = state.entries.keys().map(change).collect();
                let (id, by, at) = ("fast".to_owned(), "fast".to_owned(), Timestamp::UNIX_EPOCH);
                let commit = Commit { id, base: state.base, by, at, commit: None, changes };
                registry.commit(&scope, commit).await.expect("it is the next one");
                registry.published(&scope, &[2]).await.expect("it exists");
            };
            faster.now_or_never().expect("nothing in memory waits");
        }
        if step == Step::Published {
            let state = registry.state(&scope).now_or_never().expect("nothing waits").expect("it exists");
            assert_eq!(state.unpublished, [0_u64; 0]);
        }
    };
    let done = apply(target, &plan, &metadata, &mut report).await.expect("it is applied");
    assert_eq!((serials, done.written), (vec![1], 1));
    let state = registry.state(&scope).await.expect("it exists");
    assert!(state.entries.keys().all(|address| address.kind != Kind::Orchestrator));
    assert_eq!(dags.list().await.expect("it can be listed"), [], "no DAG is there whose job is not");
}

async fn planned(target: Target<'_>, desired: &[Primitive], commit: Option<&str>) -> Plan {
    let Target { registry, scope, dags: _ } = target;
    let state = registry.state(scope).await.expect("it exists");
    let commit = commit.map(str::to_owned);
    let context = Context { scope: scope.clone(), commit, locate: &|_, _, _| None };
    let comparison = compare(desired, &state, |_, _| Inclusion::Compared);
    let wanted = comparison.needed_bodies();
    let texts = registry.bodies(scope, &wanted).await.expect("they are there");
    comparison.plan(&wanted.into_iter().zip(texts).collect(), &context).expect("it can be read")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made")
}

/// Repairs leftovers and applies. Returns false if the plan is based on an outdated commit.
async fn repair_and_apply(
    target: Target<'_>,
    id: String,
    desired: &[Primitive],
) -> Result<bool, apply::Error> {
    let state = target.registry.state(target.scope).await.expect("it exists");
    repair(target, &state).await.expect("what is there can be repaired");
    let plan = planned(target, desired, None).await;
    let metadata = CommitMetadata { id, by: "t".to_owned(), at: Timestamp::UNIX_EPOCH };
    match apply(target, &plan, &metadata, &mut |_| {}).await {
        Ok(_) => Ok(true),
        Err(apply::Error::Registry(registry::Error::Moved(_))) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Each apply repairs leftovers and then publishes its own files to the same disk, like the command. An apply based on
/// an outdated commit is rejected; no other error may occur.
#[test]
fn concurrent_applies_keep_the_staged_files_of_others() {
    const APPLIES: usize = 8;
    const ROUNDS: usize = 40;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (registry, scope) = (Memory::default(), Scope::new("shop", None));
    let apply_once = |id: String, desired: &[Primitive]| {
        let dags = DagFolder::open("dags", folder.path()).expect("it can be opened");
        let target = Target { registry: &registry, dags: &dags, scope: &scope };
        let result = runtime().block_on(repair_and_apply(target, id.clone(), desired));
        result.unwrap_or_else(|error| panic!("{id}: {error}"))
    };
    let applied = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..APPLIES {
            let (apply_once, applied) = (&apply_once, &applied);
            scope.spawn(move || {
                let names = ["a", "b", "c", "d"];
                let desired = [of(&format!("one{number}"), &names), of(&format!("two{number}"), &names)];
                for round in 0..ROUNDS {
                    let done = apply_once(format!("a{number}-{round}"), &desired[round % 2]);
                    applied.fetch_add(usize::from(done), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert!(applied.into_inner() >= ROUNDS, "some of them were applied");
    let dags = DagFolder::open("dags", folder.path()).expect("it can be opened");
    let target = Target { registry: &registry, dags: &dags, scope: &scope };
    runtime().block_on(async {
        let state = registry.state(&scope).await.expect("it exists");
        repair(target, &state).await.expect("it can be repaired");
        let found = drift::find(target, &state).await.expect("it can be read");
        assert_eq!(found.drifts, [], "what is there is what is applied");
        assert_eq!(dags.leftovers().await, Ok(Vec::new()));
    });
}

/// A registry and a DAG folder for a sequence of applies.
struct Fixture {
    registry: Memory,
    dags: DagFolder,
    scope: Scope,
    applied: usize,
}

impl Fixture {
    fn new() -> Self {
        let dags = DagFolder::with_store(Arc::new(InMemory::new()), "dags");
        Self { registry: Memory::default(), dags, scope: Scope::new("shop", None), applied: 0 }
    }

    fn target(&self) -> Target<'_> {
        Target { registry: &self.registry, dags: &self.dags, scope: &self.scope }
    }

    async fn state(&self) -> State {
        self.registry.state(&self.scope).await.expect("it exists")
    }

    async fn planned(&self, desired: &[Primitive], commit: Option<&str>) -> Plan {
        planned(self.target(), desired, commit).await
    }

    async fn apply(&mut self, desired: &[Primitive], commit: Option<&str>) {
        let plan = self.planned(desired, commit).await;
        self.applied += 1;
        let metadata = CommitMetadata {
            id: format!("a{}", self.applied),
            by: "t".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        };
        apply(self.target(), &plan, &metadata, &mut |_| {}).await.expect("it is applied");
        let found = drift::find(self.target(), &self.state().await).await.expect("it can be read");
        assert_eq!(found.drifts, [], "what was just applied is as applied");
    }

    /// Simulates a crash after the commit and before any file is published.
    async fn crash(&mut self, desired: &[Primitive], commit: Option<&str>) {
        let plan = self.planned(desired, commit).await;
        self.applied += 1;
        let metadata = CommitMetadata {
            id: format!("a{}", self.applied),
            by: "t".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        };
        let (committed, killed) = tokio::sync::oneshot::channel();
        let mut committed = Some(committed);
        let mut report = |step| {
            if matches!(step, Step::Committed { .. }) {
                let _ = committed.take().map(|committed| committed.send(()));
                std::panic::resume_unwind(Box::new("killed"));
            }
        };
        let work = std::panic::AssertUnwindSafe(apply(self.target(), &plan, &metadata, &mut report));
        work.catch_unwind().await.expect_err("it is killed");
        killed.await.expect("it was committed");
    }

    async fn file(&self, name: &str) -> String {
        let file = self.dags.read(&format!("d__{name}.py")).await.expect("it can be read");
        String::from_utf8(file.expect("it exists")).expect("it is UTF-8 text")
    }

    /// Returns the line of a DAG file that names its revision and commit.
    async fn stamp(&self, name: &str) -> String {
        let file = self.file(name).await;
        let stamps: Vec<&str> = file.lines().filter(|line| line.contains("- revision: ")).collect();
        assert_eq!(stamps.len(), 1, "{stamps:?}");
        stamps[0].trim().trim_matches('"').trim_end_matches("\\n").to_owned()
    }
}

/// The scope in a DAG equals the scope that the command uses for the same target.
#[test]
fn scope_in_a_dag_equals_that_of_the_command() {
    let text = "project: shop\ntargets: {dev: {default: true}, prod: {}}\n";
    for target in [None, Some("dev"), Some("prod")] {
        let project = Project::read(PROJECT_FILE, text, target).0.expect("it is fine");
        let scope = Scope::new(project.file.project.as_str(), project.target.as_deref());
        assert_eq!(project.scope(), scope.as_str());
    }
    assert_eq!(Project::none().scope(), "default");
}

const HASH: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";

#[tokio::test]
async fn dag_has_its_revision_and_commit() {
    let mut fixture = Fixture::new();
    fixture.apply(&of("o", &["a", "b"]), Some(HASH)).await;
    assert_eq!(fixture.stamp("a").await, "- revision: 1, commit 1a2b3c4d5e6f");
    // Only a changed workload gets the new commit.
    fixture.apply(&[of("p", &["a"]), of("o", &["b"])].concat(), Some("release-2")).await;
    assert_eq!(fixture.stamp("a").await, "- revision: 2, commit release-2");
    assert_eq!(fixture.stamp("b").await, "- revision: 1, commit 1a2b3c4d5e6f");
    // A commit with characters that names don't have is left out.
    fixture.apply(&of("q", &["b"]), Some("\"); import os")).await;
    assert_eq!(fixture.stamp("b").await, "- revision: 2");
    // A workload that was deleted before continues its revision numbers, which only the commit reveals; a new one
    // begins at 1.
    fixture.apply(&of("q", &["a", "b", "c"]), None).await;
    assert_eq!(fixture.stamp("a").await, "- revision: 4");
    assert_eq!(fixture.stamp("c").await, "- revision: 1");
}

#[tokio::test]
async fn repair_after_a_crash_writes_the_same_bytes() {
    let (mut one, mut other) = (Fixture::new(), Fixture::new());
    for fixture in [&mut one, &mut other] {
        fixture.apply(&of("o", &["a", "b"]), Some(HASH)).await;
        fixture.apply(&of("o", &["b"]), Some(HASH)).await;
    }
    let last = of("p", &["a", "b"]);
    one.apply(&last, Some("release-3")).await;
    other.crash(&last, Some("release-3")).await;
    assert_eq!(other.stamp("b").await, "- revision: 1, commit 1a2b3c4d5e6f", "it is not published yet");
    let repaired = repair(other.target(), &other.state().await).await.expect("it can be repaired");
    assert_eq!(repaired, 2);
    for name in ["a", "b"] {
        assert_eq!(one.file(name).await, other.file(name).await);
    }
    assert_eq!(other.stamp("a").await, "- revision: 3, commit release-3");
    let found = drift::find(other.target(), &other.state().await).await.expect("it can be read");
    assert_eq!(found.drifts, []);
}

/// Repair restores the revision and commit of each file, even if its commit is much older than that of other files.
#[tokio::test]
async fn files_changed_by_hand_are_restored() {
    let mut fixture = Fixture::new();
    fixture.apply(&of("o", &["a", "b"]), Some(HASH)).await;
    for turn in 0..5 {
        let owner = format!("o{turn}");
        fixture.apply(&[of("o", &["a"]), of(&owner, &["b"])].concat(), Some(&format!("turn-{turn}"))).await;
    }
    let before = fixture.file("a").await;
    let by_hand = before.replace("commit 1a2b3c4d5e6f", "commit 000000000000");
    let file = dcp_reconciler::publish::File { name: "d__a.py".to_owned(), content: by_hand };
    fixture.dags.put(&[file]).await.expect("it can be written");
    let found = drift::find(fixture.target(), &fixture.state().await).await.expect("it can be read");
    assert_eq!(found.drifts.len(), 1, "{:?}", found.drifts);
    drift::repair(fixture.target(), &found).await.expect("it can be repaired");
    assert_eq!(fixture.file("a").await, before);
    assert_eq!(fixture.stamp("b").await, "- revision: 6, commit turn-4");
}
