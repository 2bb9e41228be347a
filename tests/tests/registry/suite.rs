//! Rules of the contract.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_model::primitive::{Address, Fingerprint};
use dcp_reconciler::registry::{Error, Registry};
use dcp_reconciler::state::Action;
use dcp_reconciler::state::{Base, Change, Commit, Head, Scope, State};
use dcp_tests::commits::{AUTHOR, COMMIT_TIME, address, body, commit, create, delete, scope, update};
use tokio::task::JoinSet;

use crate::Fixture;
use crate::model;

pub(crate) async fn new_registry_is_empty(Fixture { registry, .. }: Fixture) {
    assert_eq!(registry.state(&scope()).await.unwrap(), State::default());
    assert_eq!(registry.state_at(&scope(), 0).await.unwrap(), State::default());
    assert!(matches!(registry.state_at(&scope(), 1).await, Err(Error::NotFound(_))));
    assert_eq!(registry.history(&scope(), None, 10).await.unwrap(), []);
    assert_eq!(registry.revisions(&scope(), &address("a")).await.unwrap(), []);
    assert_eq!(registry.bodies(&scope(), &[]).await.unwrap(), [""; 0]);
    assert!(matches!(registry.bodies(&scope(), &[Fingerprint::of("a")]).await, Err(Error::NotFound(_))));
    registry.published(&scope(), &[1, 2]).await.unwrap();
}

pub(crate) async fn committed_changes_are_read_back(Fixture { registry, other, .. }: Fixture) {
    let texts = ["one", "zwei ✓ \u{1f600}\r\n\t\"'\\", "three"];
    let changes = vec![create("a", texts[0]), create("b", texts[1]), create("c", texts[0])];
    let first = commit(&Base::default(), changes);
    let head = registry.commit(&scope(), first.clone()).await.unwrap();
    assert_eq!(head, first.head());
    assert_eq!(head.base, Base { lineage: Some(first.id.clone()), serial: 1 });
    let applied = head.applied.clone().unwrap();
    assert_eq!(
        (applied.by.as_str(), applied.at, applied.commit.as_deref()),
        (AUTHOR, COMMIT_TIME, Some("0123abc"))
    );
    assert_eq!(applied.counts.into_iter().collect::<Vec<_>>(), [(Action::Create, 3)]);

    let second = commit(&head.base, vec![update("b", texts[2]), delete("c")]);
    let head = registry.commit(&scope(), second.clone()).await.unwrap();
    assert_eq!(head.base, Base { lineage: Some(first.id.clone()), serial: 2 });

    let state = other.state(&scope()).await.unwrap();
    assert_eq!((&state.base, &state.applied), (&head.base, &head.applied));
    let entries: Vec<_> =
        state.entries.iter().map(|(at, it)| (at.name.as_str(), it.revision, it.serial)).collect();
    assert_eq!(entries, [("a", 1, 1), ("b", 2, 2)]);

    let of = |text: &str| Fingerprint::of(text);
    let asked = [of(texts[2]), of(texts[0]), of(texts[1]), of(texts[0])];
    let bodies = other.bodies(&scope(), &asked).await.unwrap();
    assert_eq!(bodies, [texts[2], texts[0], texts[1], texts[0]]);
    let unknown = other.bodies(&scope(), &[of(texts[0]), of("four")]).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))), "{unknown:?}");

    let then = other.state_at(&scope(), 1).await.unwrap();
    assert_eq!(then.applied, first.head().applied);
    assert_eq!(then.entries.keys().map(|at| at.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(then.entries[&address("b")].fingerprint, of(texts[1]));
}

pub(crate) async fn revisions_are_counted_across_deletes(Fixture { registry, .. }: Fixture) {
    let mut base = Base::default();
    for change in
        [create("a", "1"), update("a", "2"), delete("a"), create("a", "1"), delete("a"), create("a", "3")]
    {
        base = registry.commit(&scope(), commit(&base, vec![change])).await.unwrap().base;
    }
    let revisions = registry.revisions(&scope(), &address("a")).await.unwrap();
    let seen: Vec<_> =
        revisions.iter().map(|it| (it.revision, it.serial, it.action, it.fingerprint.clone())).collect();
    let of = |text: &str| Some(Fingerprint::of(text));
    let expected = [
        (6, 6, Action::Create, of("3")),
        (5, 5, Action::Delete, None),
        (4, 4, Action::Create, of("1")),
        (3, 3, Action::Delete, None),
        (2, 2, Action::Update, of("2")),
        (1, 1, Action::Create, of("1")),
    ];
    assert_eq!(seen, expected);
    assert_eq!(registry.state(&scope()).await.unwrap().entries[&address("a")].revision, 6);
}

pub(crate) async fn history_is_read_in_pages(Fixture { registry, .. }: Fixture) {
    let mut base = Base::default();
    for index in 1..=5 {
        let head = registry.commit(&scope(), commit(&base, vec![create(&format!("job-{index}"), "x")])).await;
        base = head.unwrap().base;
    }
    let serials = async |before, limit| {
        let page = registry.history(&scope(), before, limit).await.unwrap();
        page.into_iter().map(|it| it.serial).collect::<Vec<_>>()
    };
    assert_eq!(serials(None, 3).await, [5, 4, 3]);
    assert_eq!(serials(Some(3), 3).await, [2, 1]);
    assert_eq!(serials(Some(1), 3).await, [0; 0]);
    assert_eq!(serials(None, 0).await, [0; 0]);
    assert_eq!(serials(Some(u64::MAX), u32::MAX).await, [5, 4, 3, 2, 1]);
}

pub(crate) async fn commit_on_an_outdated_base_is_rejected_with_the_head(
    Fixture { registry, other, .. }: Fixture,
) {
    let winner = commit(&Base::default(), vec![create("a", "winner")]);
    let head = registry.commit(&scope(), winner).await.unwrap();
    let late = |base: &Base| commit(base, vec![create("b", "loser")]);
    let otherwise = Base { lineage: Some("another-line".to_owned()), serial: 1 };
    let ahead = |serial| Base { serial, ..head.base.clone() };
    for base in [Base::default(), otherwise, ahead(9), ahead(u64::MAX)] {
        assert_eq!(expect_moved(other.commit(&scope(), late(&base)).await), head);
    }
    let empty = Scope::new("elsewhere", None);
    assert_eq!(expect_moved(other.commit(&empty, late(&head.base)).await), Head::default());
    assert_eq!(other.state(&scope()).await.unwrap().entries.len(), 1);
    assert!(matches!(other.bodies(&scope(), &[Fingerprint::of("loser")]).await, Err(Error::NotFound(_))));
    let error = other.commit(&scope(), late(&Base::default())).await.unwrap_err().to_string();
    assert_eq!(error, "the state moved on: it is at serial 1, applied by tester at 2025-10-09T08:53:20Z");
}

pub(crate) async fn repeated_commit_returns_the_same_head(Fixture { registry, other, .. }: Fixture) {
    let first = commit(&Base::default(), vec![create("a", "1")]);
    let head = registry.commit(&scope(), first.clone()).await.unwrap();
    assert_eq!(other.commit(&scope(), first.clone()).await.unwrap(), head);
    let second = commit(&head.base, vec![update("a", "2")]);
    let next = registry.commit(&scope(), second.clone()).await.unwrap();
    // Others may have committed since.
    assert_eq!(other.commit(&scope(), first.clone()).await.unwrap(), head);
    assert_eq!(other.commit(&scope(), second).await.unwrap(), next);
    assert_eq!(other.revisions(&scope(), &address("a")).await.unwrap().len(), 2);
    // Another commit with the same id is an error, not a retry.
    for serial in [2, u64::MAX] {
        let mistaken = Commit { base: Base { serial, ..next.base.clone() }, ..first.clone() };
        let refused = other.commit(&scope(), mistaken).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    assert_eq!(other.state(&scope()).await.unwrap().base, next.base);
}

/// Returns variants of a commit that are invalid. The registry has one commit, which created `a`.
fn invalid_commits(good: &Commit) -> Vec<Commit> {
    let with = |change: Change| Commit { changes: vec![create("c", "3"), change], ..good.clone() };
    let named = |domain: &str, name: &str| {
        let address = Address { domain: domain.to_owned(), name: name.to_owned(), ..address("x") };
        with(Change { address, ..create("x", "x") })
    };
    let based = |lineage: Option<&str>, serial| Base { lineage: lineage.map(str::to_owned), serial };
    vec![
        with(Change { action: Action::None, ..update("a", "2") }),
        with(Change { body: None, ..update("a", "2") }),
        with(Change { body: Some(body("2")), ..delete("a") }),
        with(Change {
            body: Some(dcp_reconciler::state::Body { text: "3".to_owned(), ..body("2") }),
            ..update("a", "2")
        }),
        with(create("d", "nul\0")),
        with(create("a", "is there")),
        with(update("d", "is not there")),
        with(delete("d")),
        with(create("c", "twice")),
        named("", "b"),
        named("sales", ""),
        named("sales", "Upper"),
        named("sales", "a\nb"),
        named("sales/x", "b"),
        Commit { id: String::new(), ..good.clone() },
        Commit { id: "a b".to_owned(), ..good.clone() },
        Commit { id: "a".repeat(65), ..good.clone() },
        Commit { commit: Some("a\u{1b}[31m".to_owned()), ..good.clone() },
        Commit { base: based(None, 1), ..good.clone() },
        Commit { base: based(Some("a"), 0), ..good.clone() },
    ]
}

pub(crate) async fn invalid_commits_are_rejected(Fixture { registry, .. }: Fixture) {
    let head = registry.commit(&scope(), commit(&Base::default(), vec![create("a", "1")])).await.unwrap();
    let good = commit(&head.base, vec![create("b", "2")]);
    let before = registry.state(&scope()).await.unwrap();
    for commit in invalid_commits(&good) {
        let refused = registry.commit(&scope(), commit.clone()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{commit:?}: {refused:?}");
        assert_eq!(registry.state(&scope()).await.unwrap(), before, "{commit:?}");
    }
    for project in ["", "A", "a b", "a\0", "../a", "a/b/c"] {
        let refused = registry.commit(&Scope::new(project, None), good.clone()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{project:?}: {refused:?}");
    }
    registry.commit(&scope(), good).await.unwrap();
}

pub(crate) async fn scopes_are_independent(Fixture { registry, .. }: Fixture) {
    let (dev, prod) = (Scope::new("shop", Some("dev")), scope());
    let first = commit(&Base::default(), vec![create("a", "dev only")]);
    registry.commit(&dev, first.clone()).await.unwrap();
    assert_eq!(registry.state(&prod).await.unwrap(), State::default());
    let of_dev = registry.bodies(&prod, &[Fingerprint::of("dev only")]).await;
    assert!(matches!(of_dev, Err(Error::NotFound(_))), "{of_dev:?}");
    // Ids of commits are separate for each scope.
    registry.commit(&prod, first).await.unwrap();
    assert_eq!(registry.state(&prod).await.unwrap().entries.len(), 1);
}

pub(crate) async fn unpublished_serials_are_tracked(Fixture { registry, .. }: Fixture) {
    let mut base = Base::default();
    for name in ["a", "b", "c"] {
        base = registry.commit(&scope(), commit(&base, vec![create(name, name)])).await.unwrap().base;
    }
    let unpublished = async || registry.state(&scope()).await.unwrap().unpublished;
    assert_eq!(unpublished().await, [1, 2, 3]);
    registry.published(&scope(), &[3, 1, 77, u64::MAX]).await.unwrap();
    assert_eq!(unpublished().await, [2]);
    registry.published(&Scope::new("elsewhere", None), &[2]).await.unwrap();
    registry.published(&scope(), &[]).await.unwrap();
    assert_eq!(unpublished().await, [2]);
    assert_eq!(registry.state_at(&scope(), 3).await.unwrap().unpublished, [0; 0]);
}

/// Makes a number of commits, each with five jobs, and returns their serials.
async fn commit_until_applied(registry: &dyn Registry, task: u64, count: u64) -> Vec<u64> {
    let mut won = Vec::new();
    let mut base = Base::default();
    while (won.len() as u64) < count {
        let round = won.len();
        let name = |it: u64| format!("job-{task}-{round}-{it}");
        let changes = (0..5).map(|it| create(&name(it), &format!("{task}"))).collect();
        match registry.commit(&scope(), commit(&base, changes)).await {
            Ok(head) => {
                won.push(head.base.serial);
                base = head.base;
            }
            Err(Error::Moved(head)) => {
                assert!(head.base.serial > base.serial, "the head moved from {base:?} to {head:?}");
                assert_eq!(head.applied.as_ref().map(|it| it.serial), Some(head.base.serial));
                base = head.base;
            }
            Err(error) => panic!("{error}"),
        }
    }
    won
}

/// Tasks retry until all of their commits are applied. Each commit must exist exactly once, and completely.
pub(crate) async fn concurrent_commits_get_one_serial_each(Fixture { registry, other, .. }: Fixture) {
    const TASKS: u64 = 6;
    const EACH: u64 = 4;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let registry = Arc::clone(if task % 2 == 0 { &registry } else { &other });
        tasks.spawn(async move { commit_until_applied(&*registry, task, EACH).await });
    }
    let won: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    let serials: BTreeSet<_> = won.iter().copied().collect();
    assert_eq!(serials, (1..=TASKS * EACH).collect(), "each serial was won once: {won:?}");
    let state = registry.state(&scope()).await.unwrap();
    assert_eq!((state.base.serial, state.entries.len() as u64), (TASKS * EACH, TASKS * EACH * 5));
    for serial in serials {
        let whole = state.entries.values().filter(|it| it.serial == serial);
        assert_eq!(
            whole.map(|it| &it.fingerprint).collect::<BTreeSet<_>>().len(),
            1,
            "each serial has the commit of one task"
        );
        assert_eq!(state.entries.values().filter(|it| it.serial == serial).count(), 5);
    }
}

pub(crate) async fn same_commit_by_many_is_applied_once(Fixture { registry, other, .. }: Fixture) {
    let only = commit(&Base::default(), vec![create("a", "1")]);
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        let (registry, only) = (Arc::clone(if task % 2 == 0 { &registry } else { &other }), only.clone());
        tasks.spawn(async move { registry.commit(&scope(), only).await.unwrap() });
    }
    for head in tasks.join_all().await {
        assert_eq!(head, only.head());
    }
    assert_eq!(registry.history(&scope(), None, 10).await.unwrap().len(), 1);
}

/// More than a single statement or message, and a multiple of neither.
pub(crate) async fn large_commits_are_read_back(Fixture { registry, other, .. }: Fixture) {
    let count = 2_345;
    let text = |index: usize| {
        format!("{index} {}", "x".repeat(if index.is_multiple_of(1_000) { 700_000 } else { index % 50 }))
    };
    let name = |index: usize| format!("job-{index}");
    let changes = (0..count).map(|index| create(&name(index), &text(index))).collect();
    let head = registry.commit(&scope(), commit(&Base::default(), changes)).await.unwrap();
    let changes = (0..count).map(|index| {
        if index.is_multiple_of(2) { delete(&name(index)) } else { update(&name(index), &text(index)) }
    });
    registry.commit(&scope(), commit(&head.base, changes.collect())).await.unwrap();
    let (now, then) = (other.state(&scope()).await.unwrap(), other.state_at(&scope(), 1).await.unwrap());
    assert_eq!((now.entries.len(), then.entries.len()), (count / 2, count));
    assert!(now.entries.values().all(|it| (it.revision, it.serial) == (2, 2)));
    let wanted: Vec<_> = (0..count).rev().map(|index| Fingerprint::of(&text(index))).collect();
    let bodies = other.bodies(&scope(), &wanted).await.unwrap();
    assert!((0..count).rev().map(text).eq(bodies));
}

pub(crate) async fn random_histories_match_the_model(Fixture { registry, other, .. }: Fixture) {
    for seed in 1..=3 {
        let scope = Scope::new(&format!("seed-{seed}"), None);
        model::compare(seed, &scope, [&registry, &other].map(|it| it.as_ref() as &dyn Registry)).await;
    }
}

/// The limits are ten times the duration on an idle machine, to allow for load and debug builds.
pub(crate) async fn twenty_thousand_changes_are_committed_quickly(Fixture { registry, .. }: Fixture) {
    let text = |index| format!("{{\"index\":{index},\"sql\":\"{}\"}}", "SELECT 1 ".repeat(200));
    let changes = (0..20_000).map(|index| create(&format!("job-{index}"), &text(index))).collect();
    let first = commit(&Base::default(), changes);
    let began = Instant::now();
    let head = registry.commit(&scope(), first).await.unwrap();
    let committed = began.elapsed();
    let state = timed(registry.state(&scope())).await;
    let one = timed(registry.commit(&scope(), commit(&head.base, vec![update("job-7", "changed")]))).await;
    println!("{registry:?}: 20,000 changes: {committed:?}; the state: {state:?}; one change: {one:?}");
    assert!(committed.as_secs() < 30 && state.as_secs() < 5 && one.as_secs() < 2);
}

async fn timed<T>(done: impl Future<Output = Result<T, Error>>) -> Duration {
    let began = Instant::now();
    done.await.unwrap();
    began.elapsed()
}

fn expect_moved<T: std::fmt::Debug>(result: Result<T, Error>) -> Head {
    match result {
        Err(Error::Moved(head)) => *head,
        other => panic!("expected that the state moved on: {other:?}"),
    }
}
