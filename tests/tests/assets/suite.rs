//! Rules of the contract.

use std::sync::Arc;

use dcp_reconciler::assets::{Assets, Completion, NewCompletions, Page};
use dcp_reconciler::registry::Error;
use dcp_reconciler::state::Scope;
use dcp_tests::commits::{AUTHOR, COMMIT_TIME};
use tokio::task::JoinSet;

use crate::Fixture;

fn scope() -> Scope {
    Scope::new("shop", Some("prod"))
}

pub(crate) fn completions_of(assets: &[&str], partition: &str, run: &str) -> NewCompletions {
    NewCompletions {
        assets: assets.iter().map(|it| (*it).to_owned()).collect(),
        partition: partition.to_owned(),
        run: run.to_owned(),
        job: Some("logistics/orders".to_owned()),
        origin: "airflow".to_owned(),
    }
}

async fn complete(assets: &dyn Assets, new: &NewCompletions) -> Vec<Completion> {
    assets.complete(&scope(), new, AUTHOR, COMMIT_TIME).await.unwrap()
}

async fn after(assets: &dyn Assets, number: u64, limit: u32) -> Page {
    assets.completions(&scope(), Some(number), None, limit).await.unwrap()
}

fn numbers(page: &Page) -> Vec<u64> {
    page.completions.iter().map(|it| it.number).collect()
}

pub(crate) async fn new_store_has_no_completions(fixture: Fixture) {
    let assets = &*fixture.assets;
    assert_eq!(assets.completed(&scope()).await.unwrap(), []);
    assert_eq!(assets.completions(&scope(), None, None, 10).await.unwrap(), Page::default());
    assert_eq!(after(assets, 0, 10).await, Page::default());
    // A number beyond all completions, as after a loss of the state, is returned unchanged.
    assert_eq!(after(assets, 7, 10).await, Page { completions: Vec::new(), seen: 7 });
}

pub(crate) async fn repeated_completion_of_a_run_is_stored_once(fixture: Fixture) {
    let orders = completions_of(&["table:lake.orders", "topic:orders"], "day=2026-11-20", "run-1");
    let first = complete(&*fixture.assets, &orders).await;
    let NewCompletions { partition, run, job, origin, .. } = orders.clone();
    let one = Completion {
        number: 1,
        asset: "table:lake.orders".to_owned(),
        partition,
        run,
        job,
        origin,
        by: first[0].by.clone(),
        at: first[0].at,
    };
    assert_eq!(
        first,
        [one.clone(), Completion { number: 2, asset: "topic:orders".to_owned(), ..one.clone() }]
    );
    // A repeated report returns the first one, even if other fields differ.
    let again = NewCompletions { job: None, origin: "other".to_owned(), ..orders.clone() };
    assert_eq!(complete(&*fixture.other, &again).await, first);
    let more = completions_of(
        &["topic:orders", "path:/x", "table:lake.orders", "path:/x"],
        "day=2026-11-20",
        "run-1",
    );
    let all = complete(&*fixture.assets, &more).await;
    assert_eq!(all.iter().map(|it| it.number).collect::<Vec<_>>(), [2, 3, 1]);
    assert_eq!(numbers(&after(&*fixture.other, 0, 10).await), [1, 2, 3]);
    let completed = fixture.other.completed(&scope()).await.unwrap();
    assert!(completed.iter().all(|it| it.times == 1), "{completed:?}");
}

pub(crate) async fn completions_are_listed_in_order_and_in_pages(fixture: Fixture) {
    let assets = &*fixture.assets;
    for run in 1..=5 {
        complete(assets, &completions_of(&["table:a", "table:b"], "", &format!("run-{run}"))).await;
    }
    let page = after(assets, 0, 4).await;
    assert_eq!((numbers(&page), page.seen), (vec![1, 2, 3, 4], 4));
    let page = after(assets, page.seen, 4).await;
    assert_eq!((numbers(&page), page.seen), (vec![5, 6, 7, 8], 8));
    let page = after(assets, page.seen, 4).await;
    assert_eq!((numbers(&page), page.seen), (vec![9, 10], 10));
    let page = after(assets, page.seen, 4).await;
    assert_eq!((numbers(&page), page.seen), (Vec::new(), 10));
    let scope = scope();
    let of = |after, limit| assets.completions(&scope, after, Some("table:b"), limit);
    let page = of(Some(0), 2).await.unwrap();
    assert_eq!((numbers(&page), page.seen), (vec![2, 4], 4));
    // `seen` also covers completions of other assets, so the client does not request them again.
    let page = of(Some(8), 2).await.unwrap();
    assert_eq!((numbers(&page), page.seen), (vec![10], 10));
    let page = of(None, 3).await.unwrap();
    assert_eq!((numbers(&page), page.seen), (vec![10, 8, 6], 10));
    assert_eq!(numbers(&assets.completions(&scope, None, None, 0).await.unwrap()).len(), 10);
}

pub(crate) async fn completions_are_counted_per_partition_and_run(fixture: Fixture) {
    let assets = &*fixture.assets;
    for (partition, run) in [("", "1"), ("day=1", "1"), ("day=2", "1"), ("day=2", "2"), ("day=2", "2")] {
        complete(assets, &completions_of(&["table:a"], partition, run)).await;
    }
    complete(assets, &completions_of(&["asset:z", "table:b"], "day=1", "1")).await;
    let completed = assets.completed(&scope()).await.unwrap();
    let shown: Vec<_> =
        completed.iter().map(|it| (it.last.asset.as_str(), it.last.run.as_str(), it.times)).collect();
    assert_eq!(shown, [("asset:z", "1", 1), ("table:a", "2", 4), ("table:b", "1", 1)]);
}

pub(crate) async fn asset_names_are_normalized(fixture: Fixture) {
    let assets = &*fixture.assets;
    for (given, normalized) in [
        ("table:Lake.`Orders`", "table:lake.orders"),
        ("path:s3a://bucket/orders/", "path:s3://bucket/orders"),
        ("topic:Orders", "topic:Orders"),
        ("asset:a:b", "asset:a:b"),
        ("table:größe \"x\"", "table:größe \"x\""),
    ] {
        assert_eq!(complete(assets, &completions_of(&[given], "", "1")).await[0].asset, normalized);
    }
    let page = assets.completions(&scope(), Some(0), Some("table:LAKE.orders"), 10).await.unwrap();
    assert_eq!(numbers(&page), [1]);
}

pub(crate) async fn scopes_are_independent(fixture: Fixture) {
    let (assets, other) = (&*fixture.assets, Scope::new("shop", Some("dev")));
    complete(assets, &completions_of(&["table:a"], "", "1")).await;
    assert_eq!(assets.completed(&other).await.unwrap(), []);
    let first =
        assets.complete(&other, &completions_of(&["table:a"], "", "1"), AUTHOR, COMMIT_TIME).await.unwrap();
    assert_eq!(first[0].number, 1);
    assert_eq!(numbers(&after(assets, 0, 10).await), [1]);
}

pub(crate) async fn invalid_completions_are_rejected(fixture: Fixture) {
    let right = completions_of(&["table:a"], "day=1", "1");
    let long = format!("table:{}", "x".repeat(1_500));
    let with =
        |assets: &[&str]| NewCompletions { assets: completions_of(assets, "", "1").assets, ..right.clone() };
    let many = vec!["table:a"; 1_001];
    for wrong in [
        with(&[]),
        with(&many),
        with(&["table:a", "orders"]),
        with(&["view:a"]),
        with(&["table:"]),
        with(&["table:``"]),
        with(&["table:a\nb"]),
        with(&[&long]),
        NewCompletions { partition: "x".repeat(501), ..right.clone() },
        NewCompletions { partition: "a\0".to_owned(), ..right.clone() },
        NewCompletions { run: String::new(), ..right.clone() },
        NewCompletions { run: "with space".to_owned(), ..right.clone() },
        NewCompletions { run: "x".repeat(129), ..right.clone() },
        NewCompletions { origin: String::new(), ..right.clone() },
        NewCompletions { origin: "é".to_owned(), ..right.clone() },
        NewCompletions { job: Some("orders".to_owned()), ..right.clone() },
        NewCompletions { job: Some("a/b/c".to_owned()), ..right.clone() },
    ] {
        let refused = fixture.assets.complete(&scope(), &wrong, AUTHOR, COMMIT_TIME).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{wrong:?}: {refused:?}");
    }
    assert_eq!(fixture.assets.completed(&scope()).await.unwrap(), []);
    complete(&*fixture.assets, &right).await;
}

pub(crate) async fn follower_sees_all_completions_of_concurrent_reporters(fixture: Fixture) {
    const REPORTERS: u64 = 6;
    const RUNS: u64 = 25;
    let mut reporters = JoinSet::new();
    for reporter in 0..REPORTERS {
        let assets = Arc::clone(if reporter % 2 == 0 { &fixture.assets } else { &fixture.other });
        reporters.spawn(async move {
            for run in 0..RUNS {
                // Every third run is reported by all tasks.
                let run = if run % 3 == 0 { format!("all-{run}") } else { format!("{reporter}-{run}") };
                complete(&*assets, &completions_of(&["table:a", "table:b"], "", &run)).await;
            }
        });
    }
    let shared = RUNS.div_ceil(3);
    let expected = 2 * (shared + REPORTERS * (RUNS - shared));
    let (mut seen, mut runs) = (0, Vec::new());
    while seen < expected {
        let page = after(&*fixture.other, seen, 7).await;
        for it in &page.completions {
            assert_eq!(it.number, seen + 1, "a completion was added below a number that was seen");
            seen = it.number;
            runs.push((it.asset.clone(), it.run.clone()));
        }
        assert_eq!(page.seen, seen);
    }
    reporters.join_all().await;
    assert_eq!(after(&*fixture.other, seen, 7).await.completions, []);
    let count = runs.len();
    runs.sort();
    runs.dedup();
    assert_eq!((runs.len(), runs.len() as u64), (count, expected));
}
