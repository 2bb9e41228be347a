//! Rules for exclusive keys, and for the epochs of leases.

use dcp_runner::api::{Error, Holder};
use dcp_runner::execution::{Id, Phase, StopReason};
use dcp_runner::request::{Fence, Submit};
use tokio::task::JoinSet;

use crate::{Fixture, submit, wait_for, wait_for_end};

pub(crate) async fn one_live_execution_holds_a_key(fixture: Fixture) {
    let keyed =
        |token: &str, what: &str| Submit { exclusive: Some("s3://c".to_owned()), ..submit(token, what) };
    let mut tasks = JoinSet::new();
    for number in 0..16 {
        let runner = if number % 2 == 0 { fixture.runner.clone() } else { fixture.other.clone() };
        let asked = keyed(&format!("t{number}"), "wait");
        tasks.spawn(async move { (asked.token.clone(), runner.submit(asked).await) });
    }
    let (held, refused): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(|it| it.1.is_ok());
    let [(token, Ok(holder))] = &held[..] else { panic!("{held:?}") };
    let id = holder.record.id();
    for (_, error) in refused {
        assert_eq!(error.unwrap_err(), Error::Held { key: "s3://c".to_owned(), by: id.clone() });
    }
    // The accepted submit can be repeated.
    let again = fixture.other.submit(keyed(token, "wait")).await.unwrap();
    assert_eq!(again.record.id(), id);
    wait_for(&*fixture.runner, id, |record| record.execution.phase == Phase::Running).await;
    fixture.runner.cancel(id, "tester").await.unwrap();
    wait_for_end(&*fixture.runner, id).await;
    assert!(fixture.other.submit(keyed("next", "work")).await.unwrap().fresh);
}

fn ordered(token: &str, what: &str, order: i64) -> Submit {
    Submit { exclusive: Some("shop/orders".to_owned()), order: Some(order), ..submit(token, what) }
}

pub(crate) async fn later_run_replaces_the_holder_of_the_key(fixture: Fixture) {
    let first = fixture.runner.submit(ordered("a", "wait-a", 10)).await.unwrap().record.id().clone();
    wait_for(&*fixture.other, &first, |record| record.execution.phase == Phase::Running).await;
    let second = fixture.other.submit(ordered("b", "wait-b", 20)).await.unwrap().record.id().clone();
    let replaced = wait_for_end(&*fixture.runner, &first).await;
    assert_eq!(replaced.execution.phase, Phase::Cancelled);
    assert_eq!(replaced.execution.stopping, Some(StopReason::Replaced { by: second.clone() }));
    assert!(replaced.history.iter().any(|it| it.why.starts_with(&format!("replaced by execution {second}"))));
    let next = wait_for(&*fixture.runner, &second, |record| record.execution.phase == Phase::Running).await;
    assert!(replaced.execution.ended <= Some(next.execution.attempts[0].begun), "{next:#?}");
    // A retry of the submit replaces nothing.
    assert!(!fixture.runner.submit(ordered("b", "wait-b", 20)).await.unwrap().fresh);
    // An earlier run that is submitted late is cancelled before it starts.
    let late = fixture.runner.submit(ordered("c", "work", 15)).await.unwrap().record.id().clone();
    let late = wait_for_end(&*fixture.other, &late).await.execution;
    assert_eq!((late.phase, late.attempts.len()), (Phase::Cancelled, 0));
    assert_eq!(late.stopping, Some(StopReason::Replaced { by: second.clone() }));
    // A submit without an order is rejected as usual.
    let plain = Submit { order: None, ..ordered("d", "work", 0) };
    let held = Error::Held { key: "shop/orders".to_owned(), by: second.clone() };
    assert_eq!(fixture.other.submit(plain).await.unwrap_err(), held);
    let record = fixture.other.check(&second).await.unwrap();
    assert_eq!((record.execution.phase, record.request.order), (Phase::Running, Some(20)));
    fixture.runner.cancel(&second, "tester").await.unwrap();
    wait_for_end(&*fixture.runner, &second).await;
    let third = fixture.other.submit(ordered("e", "work", 5)).await.unwrap().record.id().clone();
    assert_eq!(wait_for_end(&*fixture.runner, &third).await.execution.phase, Phase::Succeeded);
    assert_eq!(fixture.fake_spark.lines("started"), ["wait-a", "wait-b", "work"]);
}

pub(crate) async fn runs_of_one_key_never_overlap_and_the_last_one_remains(fixture: Fixture) {
    let mut tasks = JoinSet::new();
    for number in 0..12 {
        let runner = if number % 2 == 0 { fixture.runner.clone() } else { fixture.other.clone() };
        let asked = ordered(&format!("t{number}"), &format!("wait-{number}"), number);
        tasks.spawn(async move { (number, runner.submit(asked).await.unwrap().record.id().clone()) });
    }
    let mut ids = tasks.join_all().await;
    ids.sort();
    let (_, last) = ids.pop().unwrap();
    wait_for(&*fixture.runner, &last, |record| record.execution.phase == Phase::Running).await;
    let mut spans = Vec::new();
    for (_, id) in &ids {
        let execution = wait_for_end(&*fixture.other, id).await.execution;
        assert_eq!(execution.phase, Phase::Cancelled, "{execution:#?}");
        spans.extend(execution.attempts.first().map(|it| (it.begun, execution.ended.unwrap())));
    }
    let last = fixture.runner.check(&last).await.unwrap().execution;
    spans.push((last.attempts[0].begun, last.attempts[0].begun));
    spans.sort();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{spans:?}");
    assert_eq!(last.phase, Phase::Running);
    fixture.runner.cancel(&last.id, "tester").await.unwrap();
    wait_for_end(&*fixture.runner, &last.id).await;
}

pub(crate) async fn older_epoch_is_rejected(fixture: Fixture) {
    let fenced = |token: &str, epoch: u64| {
        let fence = Some(Fence { lease: "reconciler".to_owned(), epoch });
        Submit { fence, ..submit(token, "work") }
    };
    fixture.runner.submit(fenced("a", 3)).await.unwrap();
    fixture.other.submit(fenced("b", 4)).await.unwrap();
    let error = fixture.runner.submit(fenced("c", 3)).await.unwrap_err();
    assert_eq!(error, Error::Fenced { lease: "reconciler".to_owned(), epoch: 3, newest: 4 });
    // The next leader can repeat the submits of its predecessor.
    assert!(!fixture.runner.submit(fenced("a", 4)).await.unwrap().fresh);
    let other = Fence { lease: "another".to_owned(), epoch: 1 };
    assert!(fixture.runner.submit(Submit { fence: Some(other), ..submit("d", "work") }).await.unwrap().fresh);
}

pub(crate) async fn implausible_epochs_are_rejected(fixture: Fixture) {
    let fenced = |token: &str, epoch: u64| {
        let fence = Some(Fence { lease: "reconciler".to_owned(), epoch });
        Submit { fence, ..submit(token, "work") }
    };
    fixture.runner.submit(fenced("a", 7)).await.unwrap();
    for epoch in [7 + 1_000_001, 1 << 53, (1 << 53) + 1, i64::MAX.unsigned_abs(), u64::MAX] {
        let error = fixture.other.submit(fenced("b", epoch)).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid { field, .. } if field == "fence.epoch"), "{error:?}");
    }
    // Rejected epochs are not stored.
    fixture.runner.submit(fenced("c", 7)).await.unwrap();
    fixture.other.submit(fenced("d", 7 + 1_000_000)).await.unwrap();
    let error = fixture.runner.submit(fenced("e", 7)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { newest: 1_000_007, .. }), "{error:?}");
}

pub(crate) async fn holders_of_keys_are_listed(fixture: Fixture) {
    assert_eq!(fixture.runner.holders("", 10).await.unwrap(), []);
    let keyed = |key: &str, what: &str| Submit { exclusive: Some(key.to_owned()), ..submit(key, what) };
    let mut ids = Vec::new();
    for key in ["b", "a", "d", "c"] {
        ids.push(fixture.runner.submit(keyed(key, "wait")).await.unwrap().record.id().clone());
    }
    fixture.runner.submit(submit("without", "work")).await.unwrap();
    let over = fixture.other.submit(keyed("e", "work")).await.unwrap().record;
    wait_for_end(&*fixture.runner, over.id()).await;
    for id in &ids {
        wait_for(&*fixture.runner, id, |it| it.execution.phase == Phase::Running).await;
    }
    let found = fixture.other.holders("", 10).await.unwrap();
    let listed: Vec<(&str, &Id, Phase)> =
        found.iter().map(|it| (it.key.as_str(), &it.id, it.phase)).collect();
    let running = |key, at: usize| (key, &ids[at], Phase::Running);
    assert_eq!(listed, [running("a", 1), running("b", 0), running("c", 3), running("d", 2)]);
    let place = |it: &Holder| (it.scope.clone(), it.domain.clone(), it.name.clone());
    assert_eq!(place(&found[0]), (None, "tests".to_owned(), "job".to_owned()));
    let keys = async |after: &str, limit: u32| {
        let found = fixture.runner.holders(after, limit).await.unwrap();
        found.into_iter().map(|it| it.key).collect::<Vec<_>>()
    };
    let after = |index: usize| found[index].position();
    assert_eq!(
        (keys(&after(0), 2).await, keys(&after(3), 2).await),
        (vec!["b".to_owned(), "c".to_owned()], vec![])
    );
    let error = fixture.other.holders("a", 2).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { field, .. } if field == "after"), "{error:?}");
    // Any change increases the version.
    fixture.runner.cancel(&ids[1], "tester").await.unwrap();
    let after = fixture.other.holders("", 1).await.unwrap();
    assert!(after.iter().all(|it| it.id != ids[1] || it.version > found[0].version), "{after:?}");
    for id in &ids {
        fixture.runner.cancel(id, "tester").await.unwrap();
        wait_for_end(&*fixture.runner, id).await;
    }
    assert_eq!(keys("", 10).await, [""; 0]);
}
