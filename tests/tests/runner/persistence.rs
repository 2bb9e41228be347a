//! Deletion of expired executions, and takeovers, in each database.

use std::collections::BTreeMap;
use std::sync::Arc;

use dcp_model::manifest::Backend;
use dcp_model::primitive::CoreEtlJob;
use dcp_runner::api::Record;
use dcp_runner::execution::{Execution, Id, Phase, Policy};
use dcp_runner::request::{CanonicalJob, Definition, Submit};
use dcp_runner::store::{NewExecution, SaveExtras, Store};
use jiff::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Stores an execution that was created and ended at these times, and whose output is to be removed at the third.
pub(crate) async fn store_execution(
    store: &Store,
    job: &CoreEtlJob,
    times: (i64, Option<i64>, Option<i64>),
) -> Id {
    let (_, ended, clean_at) = times;
    let new = new_execution(job, times);
    let id = new.record.id().clone();
    let mut record = store.submit(new).await.unwrap().record;
    if let Some(ended) = ended {
        (record.execution.phase, record.execution.ended) = (Phase::Succeeded, Some(at(ended)));
        let also = SaveExtras { clean_at: clean_at.map(at), ..SaveExtras::default() };
        assert!(store.save(&mut record, also).await.unwrap());
    }
    id
}

/// Returns an execution that is created at the first of these times.
pub(crate) fn new_execution(job: &CoreEtlJob, times: (i64, Option<i64>, Option<i64>)) -> NewExecution {
    let made = times.0;
    let job = Arc::new(CanonicalJob::new(job.clone()));
    let id = Id::new(at(made), id_part(times));
    let submit = Submit {
        token: id.to_string(),
        job: Definition::Inline(Arc::clone(&job)),
        parameters: BTreeMap::new(),
        streaming: None,
        exclusive: None,
        order: None,
        fence: None,
        by: "tester".to_owned(),
        on_behalf_of: None,
    };
    let record = Record {
        request: submit.request(job.fingerprint().clone()),
        execution: Execution::new(id, Policy::of(job.job(), None), Backend::Local, at(made)),
        history: Vec::new(),
        version: 1,
        owner: "nobody".to_owned(),
        progress: None,
    };
    NewExecution { record, job }
}

/// Returns a different number for each combination of times, so that ids differ.
fn id_part((made, ended, clean_at): (i64, Option<i64>, Option<i64>)) -> u128 {
    let part = |time: Option<i64>| time.map_or(0, |time| time.unsigned_abs() + 1);
    (u128::from(made.unsigned_abs()) << 40) | (u128::from(part(ended)) << 20) | u128::from(part(clean_at))
}

pub(crate) async fn expired_executions_are_deleted(store: &Store) {
    store.register("nobody").await.unwrap();
    let job = crate::job();
    let mut due = Vec::new();
    for made in [1, 2, 3] {
        due.push(store_execution(store, &job, (made, Some(made + 5), None)).await);
    }
    let mut others = Vec::new();
    for times in [(0, None, None), (1, Some(10), None), (2, Some(8), Some(20)), (11, Some(12), None)] {
        others.push(store_execution(store, &job, times).await);
    }
    assert_eq!(store.delete_ended(at(10), 2).await.unwrap(), 2);
    // The oldest are deleted first.
    for (id, there) in due.iter().zip([false, false, true]) {
        assert_eq!(store.get(id).await.unwrap().is_some(), there, "{id}");
    }
    assert_eq!(store.delete_ended(at(10), 2).await.unwrap(), 1);
    assert_eq!(store.delete_ended(at(10), 2).await.unwrap(), 0);
    for id in &others {
        assert!(store.get(id).await.unwrap().is_some(), "{id}");
    }
}

/// A Runner that was wrongly presumed gone can't write to executions that were taken over from it.
pub(crate) async fn only_the_new_owner_writes_after_a_takeover(store: &Store) {
    store.register("nobody").await.unwrap();
    store.register("somebody").await.unwrap();
    let id = store_execution(store, &crate::job(), (1, None, None)).await;
    let mut old = store.get(&id).await.unwrap().unwrap();
    assert!(store.take_over(("nobody", 0), "somebody").await.unwrap());
    assert!(!store.take_over(("nobody", 0), "somebody else").await.unwrap(), "a Runner is taken over once");
    old.execution.phase = Phase::Cancelled;
    assert!(
        !store.save(&mut old, SaveExtras::default()).await.unwrap(),
        "the old owner has an outdated version"
    );
    let mut new = store.get(&id).await.unwrap().unwrap();
    assert_eq!((new.owner.as_str(), new.execution.phase), ("somebody", Phase::Queued));
    assert!(store.save(&mut new, SaveExtras::default()).await.unwrap());
}

/// A heartbeat that arrives after its Runner has left has no effect.
pub(crate) async fn heartbeat_after_leaving_has_no_effect(store: &Store) {
    let left = i64::MAX.unsigned_abs();
    store.register("here-1").await.unwrap();
    assert!(store.heartbeat("here-1").await.unwrap());
    store.leave("here-1", left).await.unwrap();
    assert!(!store.heartbeat("here-1").await.unwrap());
    assert_eq!(store.members().await.unwrap(), [("here-1".to_owned(), left)]);
}
