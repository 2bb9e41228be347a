use dcp_model::dag::{Dag, Schedule, Task};
use dcp_model::manifest::ConcurrencyPolicy;
use dcp_server::Credential;
use dcp_server::policy::{Area, Policy, Rule};

use super::*;
use crate::registry::memory::Memory;
use crate::state::{Action, Body as Text};

const JOB: &str = "CoreEtlJob/sales/orders";

fn scope() -> Scope {
    Scope::new("shop", Some("dev"))
}

/// Returns a caller with a role for `sales` in the scope.
fn caller(name: &str, role: Role) -> Caller {
    let only = |name: &str| Names::Only([name.to_owned()].into());
    let area = Area { scopes: only("shop/dev"), domains: only("sales") };
    let granted = Rule { role, users: [name.to_owned()].into(), groups: BTreeSet::new(), area };
    let policy = Arc::new(Policy { rules: vec![granted], ..Policy::default() });
    Caller::new(name, Vec::new(), Credential::Session).with_policy(&policy)
}

struct World {
    memory: Arc<Memory>,
}

impl World {
    fn new() -> Self {
        Self { memory: Arc::new(Memory::default()) }
    }

    fn used_by(&self, caller: &Caller) -> Guarded<dyn Registry> {
        let registry: Arc<dyn Registry> = Arc::clone(&self.memory) as _;
        Protected::new(registry).used_by(caller)
    }

    /// Commits changes as a caller; as the owner of everything without one.
    async fn commit(&self, caller: Option<&Caller>, changes: Vec<Change>) -> Result<Head> {
        let base = self.memory.state(&scope()).await?.base;
        let by = caller.map_or("owner".to_owned(), |caller| caller.name.to_string());
        let id = format!("commit-{}", base.serial);
        let commit = Commit { id, base, by, at: Timestamp::UNIX_EPOCH, commit: None, changes };
        match caller {
            Some(caller) => self.used_by(caller).commit(&scope(), commit).await,
            None => self.memory.commit(&scope(), commit).await,
        }
    }

    /// Applies a text at an address of each domain, and returns the fingerprints.
    async fn with_two_domains() -> (Self, [Fingerprint; 2]) {
        let world = Self::new();
        let change = |domain: &str| create(&format!("CoreEtlJob/{domain}/orders"), domain);
        world.commit(None, vec![change("sales"), change("finance")]).await.expect("it is committed");
        (world, ["sales", "finance"].map(Fingerprint::of))
    }
}

fn create(address: &str, text: &str) -> Change {
    let body = Text { fingerprint: Fingerprint::of(text), text: text.to_owned() };
    Change { address: address.parse().expect("it is an address"), action: Action::Create, body: Some(body) }
}

/// Returns the DAG of a workload, changed by a test before and after its file is rendered.
fn dag(before: impl FnOnce(&mut Dag), after: impl FnOnce(&mut Orchestrator)) -> Change {
    let task = Task {
        task_id: "orders".to_owned(),
        owner: None,
        job: JOB.to_owned(),
        fingerprint: Fingerprint::of("sales").as_str().to_owned(),
        parameters: Vec::new(),
        run_parameters: Vec::new(),
        outlets: Vec::new(),
        execution_timeout_seconds: None,
        upstream: Vec::new(),
    };
    let mut dag = Dag {
        dag_id: "sales__orders".to_owned(),
        scope: scope().to_string(),
        group: false,
        description: String::new(),
        doc: String::new(),
        owner: "data".to_owned(),
        tags: Vec::new(),
        schedule: Schedule::Manual,
        start_date: None,
        timezone: "UTC".to_owned(),
        catchup: false,
        max_active_runs: 1,
        concurrency_policy: ConcurrencyPolicy::default(),
        suspended: false,
        deadline_seconds: None,
        tasks: vec![task],
    };
    before(&mut dag);
    let (file, content) = (airflow::file_name(&dag.dag_id), airflow::render(&dag));
    let mut made = Orchestrator { dag, file, content };
    after(&mut made);
    create("Orchestrator/sales/orders", &Body::Orchestrator(Box::new(made)).canonical())
}

/// Returns the reason why a developer of `sales` can't commit a change, or nothing.
async fn refused(change: Change) -> Option<String> {
    let developer = caller("ada", Role::Developer);
    World::new().commit(Some(&developer), vec![change]).await.err().map(|error| error.to_string())
}

#[tokio::test]
async fn a_dag_is_committed_if_it_is_of_its_scope_and_address_and_dcp_rendered_its_file() {
    let expected = |why: &Option<String>, text: &str| {
        assert!(why.as_ref().is_some_and(|why| why.contains(text)), "{text}: {why:?}");
    };
    assert_eq!(refused(dag(|_| (), |_| ())).await, None);
    let of_another_scope = dag(|dag| dag.scope = "shop/prod".to_owned(), |_| ());
    expected(&refused(of_another_scope).await, "jobs of the scope `shop/prod`");
    let without_scope = dag(|dag| dag.scope = String::new(), |_| ());
    expected(&refused(without_scope).await, "jobs of the scope ``");
    let of_another_domain = dag(|dag| dag.dag_id = "finance__orders".to_owned(), |_| ());
    expected(&refused(of_another_domain).await, "has to be `sales__orders`");
    let with_code = dag(|_| (), |made| made.content.push_str("import os\n"));
    expected(&refused(with_code).await, "its file is not what dcp");
    let at_another_file = dag(|_| (), |made| made.file = "finance__orders.py".to_owned());
    expected(&refused(at_another_file).await, "its file is not what dcp");
    let of_other_jobs = dag(|dag| dag.tasks[0].job = "CoreEtlJob/finance/orders".to_owned(), |_| ());
    expected(&refused(of_other_jobs).await, "the role `operator` for the domain `finance`");
}

#[tokio::test]
async fn the_job_of_a_pool_is_the_one_at_its_own_address() {
    let pool = |job: &str| {
        let body = serde_json::json!({
            "job": job, "jobFingerprint": Fingerprint::of("job"), "share": "domain",
            "drivers": {"minIdle": 1, "max": 10}, "sessions": {"perDriver": 20, "idleTimeout": "1h"},
            "recycle": {"afterAge": "1d", "afterSessions": 500},
        });
        create("Pool/sales/orders", &body.to_string())
    };
    for other in ["CoreEtlJob/finance/orders", "CoreEtlJob/sales/invoices", "Orchestrator/sales/orders"] {
        let why = refused(pool(other)).await.expect("it is refused");
        assert!(why.contains(&format!("its job is `{other}`, and has to be `{JOB}`")), "{why}");
    }
    let own = refused(pool(JOB)).await;
    assert_eq!(own, None);
}

#[tokio::test]
async fn a_body_of_another_kind_is_rejected() {
    let why = refused(create(JOB, "{}")).await.expect("it is refused");
    assert!(why.contains("the body of `CoreEtlJob/sales/orders` is invalid"), "{why}");
}

#[tokio::test]
async fn bodies_of_other_domains_are_as_if_they_did_not_exist() {
    let (world, [own, other]) = World::with_two_domains().await;
    let viewer = world.used_by(&caller("ada", Role::Viewer));
    assert_eq!(viewer.bodies(&scope(), std::slice::from_ref(&own)).await.expect("it is visible"), ["sales"]);
    for hidden in [[other.clone(), own.clone()], [own, other.clone()]] {
        assert!(matches!(viewer.bodies(&scope(), &hidden).await, Err(Error::NotFound(_))));
    }
    let answer = async |fingerprint: &Fingerprint| {
        let answer = viewer.bodies(&scope(), std::slice::from_ref(fingerprint)).await;
        answer.expect_err("it is hidden").to_string().replace(fingerprint.as_str(), "FINGERPRINT")
    };
    assert_eq!(answer(&other).await, answer(&Fingerprint::of("unknown")).await);
}

#[tokio::test]
async fn states_have_the_visible_domains_and_no_counts_of_others() {
    let (world, _) = World::with_two_domains().await;
    let state = world.used_by(&caller("ada", Role::Viewer)).state(&scope()).await.expect("it is read");
    assert_eq!(state.entries.keys().map(ToString::to_string).collect::<Vec<_>>(), [JOB]);
    assert_eq!(state.visible, Some(["sales".to_owned()].into()));
    let applied = state.applied.expect("there is a commit");
    assert!(applied.counts.is_empty() && applied.by == "owner", "{applied:?}");
    let stranger = Caller::new("bob", Vec::new(), Credential::Session);
    let hidden = world.used_by(&stranger).state(&scope()).await.expect("it is read");
    assert_eq!(hidden, State { visible: Some(BTreeSet::new()), ..State::default() });
}

#[tokio::test]
async fn commits_of_others_can_be_published_by_a_developer_of_all_domains_only() {
    let (world, _) = World::with_two_domains().await;
    let (ada, eve) = (caller("ada", Role::Developer), caller("eve", Role::Developer));
    world.commit(Some(&ada), vec![dag(|_| (), |_| ())]).await.expect("ada is a developer");
    let unpublished = async |of: &Caller| world.used_by(of).state(&scope()).await.map(|it| it.unpublished);
    assert_eq!(unpublished(&ada).await.expect("it is read"), [2]);
    assert_eq!(unpublished(&eve).await.expect("it is read"), [0_u64; 0]);
    for (caller, serials) in [(&eve, &[2_u64][..]), (&ada, &[1, 2])] {
        let published = world.used_by(caller).published(&scope(), serials).await;
        assert!(matches!(published, Err(Error::Denied(_))), "{published:?}");
    }
    world.used_by(&ada).published(&scope(), &[2]).await.expect("it is her commit");
    let owner = Caller::unrestricted("owner", Credential::Process);
    world.used_by(&owner).published(&scope(), &[1]).await.expect("the owner may do everything");
    let left = world.memory.state(&scope()).await.expect("it is read").unpublished;
    assert_eq!(left, [0_u64; 0]);
}
