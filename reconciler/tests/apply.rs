//! Two applies that publish their DAG files at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dcp_compiler::compile::{Compiler, Goal};
use dcp_compiler::primitive::{Kind, Primitive};
use dcp_compiler::project::Project;
use dcp_objects::object_store::memory::InMemory;
use dcp_reconciler::apply::{Step, Target, Who, apply};
use dcp_reconciler::dags::DagFolder;
use dcp_reconciler::plan::{Action, Concern, Context, Plan, compare};
use dcp_reconciler::registry::memory::Memory;
use dcp_reconciler::registry::{Change, Commit, Registry, Scope, State};
use futures_util::FutureExt as _;
use jiff::Timestamp;

fn primitives() -> Vec<Primitive> {
    let text = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: a, domain: d, owner: o}\nspec:\n  \
                engine: {version: \"4.1\"}\n  job: {pyspark: {main: a.py}}\n  run: {manual: {}}\n";
    let files = BTreeMap::from([("a.yaml".to_owned(), text.to_owned())]);
    let project = Project::none();
    let (project_source, project_diagnostics) = (None, Vec::new());
    let compiler = Compiler { project: &project, project_source, project_diagnostics, goal: Goal::Compile };
    compiler.link(vec![compiler.analyze(0, "a.yaml", &files)]).primitives
}

fn plan(desired: &[Primitive], scope: &Scope) -> Plan {
    let state = State::default();
    let context = Context { scope: scope.clone(), commit: None, place: &|_, _, _| None };
    compare(desired, &state, |_, _| Concern::Compared)
        .plan(&HashMap::new(), &context)
        .expect("nothing has to be read")
}

/// The slower one has committed and is about to switch its file, when the other takes the workload away again.
#[tokio::test]
async fn what_was_applied_last_is_what_stays() {
    let (registry, scope) = (Memory::default(), Scope::new("shop", None));
    let dags = DagFolder::over(Arc::new(InMemory::new()), "dags");
    let plan = plan(&primitives(), &scope);
    let target = Target { registry: &registry, dags: &dags, scope: &scope };
    let who = Who { id: "slow".to_owned(), by: "slow".to_owned(), at: Timestamp::UNIX_EPOCH };
    let mut serials = Vec::new();
    let mut tell = |step| {
        if let Step::Committed { serial } = step {
            serials.push(serial);
            let faster = async {
                let state = registry.state(&scope).await.expect("it is there");
                let change = |address: &_| Change {
                    address: Clone::clone(address),
                    action: Action::Delete,
                    body: None,
                };
                let changes = state.entries.keys().map(change).collect();
                let (id, by, at) = ("fast".to_owned(), "fast".to_owned(), Timestamp::UNIX_EPOCH);
                let commit = Commit { id, base: state.base, by, at, commit: None, changes };
                registry.commit(&scope, commit).await.expect("it is the next one");
                registry.published(&scope, &[2]).await.expect("it is there");
            };
            faster.now_or_never().expect("nothing in memory waits");
        }
        if step == Step::Published {
            let state = registry.state(&scope).now_or_never().expect("nothing waits").expect("it is there");
            assert_eq!(state.unpublished, [0_u64; 0]);
        }
    };
    let done = apply(target, &plan, &who, &mut tell).await.expect("it is applied");
    assert_eq!((serials, done.written), (vec![1], 1));
    let state = registry.state(&scope).await.expect("it is there");
    assert!(state.entries.keys().all(|address| address.kind != Kind::Orchestrator));
    assert_eq!(dags.list().await.expect("it can be listed"), [], "no DAG is there whose job is not");
}
