//! Executions that hold a stream's checkpoint or the reconciler's lease, and that the reconciler did not start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_model::primitive::Body;
use dcp_reconciler::reconcile::JobState;
use dcp_runner::api::Runner as _;
use dcp_runner::execution::Id;
use dcp_runner::request::{CanonicalJob, Definition, Fence, Reference, Submit};
use dcp_runner::streaming::Streaming;
use dcp_tests::fake_spark;

use crate::project::{Project, primitives, stream};

/// Returns a submit of another client for a checkpoint.
fn submit(project: &Project, token: &str, checkpoint: &str, fence: Option<Fence>) -> Submit {
    let job = primitives(&stream("other").manifest(&project.fake_spark.path("")));
    let job = job.into_iter().find_map(|primitive| match primitive.body {
        Body::CoreEtlJob(job) => Some(*job),
        _ => None,
    });
    let defined = CanonicalJob::new(job.expect("the manifest has a job"));
    Submit {
        token: token.to_owned(),
        job: Definition::Inline(Arc::new(defined)),
        parameters: BTreeMap::new(),
        streaming: None,
        exclusive: Some(checkpoint.to_owned()),
        order: None,
        fence,
        by: "ben".to_owned(),
        on_behalf_of: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciler_waits_for_the_end_of_a_manual_run() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let mut clicks = stream("one");
    let checkpoint = format!("file://{}/checkpoints/clicks", project.fake_spark.path("").display());
    let other = project.runner.submit(submit(&project, "by-hand", &checkpoint, None)).await.unwrap().record;
    project.apply(&[&clicks]).await;
    project.wait_until(&clicks, "a start that waits", |state| state.run.is_some()).await;
    fake_spark::wait_until(|| (project.started_drivers() == ["other"]).then_some(()));
    // Several decisions leave the execution unchanged, because this reconciler did not start it.
    for within in 1..4 {
        clicks.start_within = 600 + within;
        project.apply(&[&clicks]).await;
        let revision = u64::from(within) + 1;
        let is_it = |state: &JobState| state.run.as_ref().is_some_and(|run| run.version.revision == revision);
        project.wait_until(&clicks, "another revision", is_it).await;
    }
    let now = project.runner.check(other.id()).await.unwrap();
    assert!(!now.execution.phase.is_final() && now.execution.stopping.is_none());
    project.runner.cancel(other.id(), "ben").await.unwrap();
    let state = project.wait_until_healthy(&clicks, 4).await;
    assert_eq!((state.starts, state.failures), (1, 0));
    fake_spark::wait_until(|| (project.started_drivers() == ["other", "one"]).then_some(()));
    project.assert_no_concurrent_drivers();
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_admitted_late_is_stopped() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let clicks = stream("one");
    project.apply(&[&clicks]).await;
    let state = project.wait_until_healthy(&clicks, 1).await;
    let execution = Id::parse(state.run.unwrap().execution.as_deref().unwrap()).unwrap();
    let mine = project.runner.check(&execution).await.unwrap().request;
    // The request names the lease and the epoch of the leader.
    let fence = mine.fence.clone().expect("the request has a fence");
    assert_eq!(fence.lease, format!("reconciler-{}", project.store.id()));
    let leader = project.store.leader("reconciler").await.unwrap().unwrap();
    assert_eq!(
        (fence.epoch, mine.exclusive),
        (leader.epoch, mine.streaming.clone().and_then(|it| it.checkpoint))
    );
    // A delayed submit of an earlier start. It names another checkpoint, so that it is admitted.
    let mut late = submit(&project, "an-earlier-start", "elsewhere", Some(fence));
    let Definition::Inline(defined) = &late.job else { unreachable!("the submit has a definition") };
    let metadata = &defined.job().metadata;
    let (domain, name) = (metadata.domain.as_str().to_owned(), metadata.name.as_str().to_owned());
    let of = Reference { scope: "shop".to_owned(), domain, name, fingerprint: Some(mine.job) };
    late.job = Definition::Applied(of);
    // A reconciler sets how the stream runs.
    late.streaming =
        mine.streaming.map(|it| Streaming { checkpoint: Some("elsewhere".to_owned()), state: None, ..it });
    // A lease belongs to the caller that used it first.
    late.by = mine.by;
    let late = project.runner.submit(late).await.unwrap().record;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !project.runner.check(late.id()).await.unwrap().execution.phase.is_final() {
        assert!(Instant::now() < deadline, "the late execution is not stopped");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let state = project.wait_until_healthy(&clicks, 1).await;
    assert_eq!((state.starts, state.run.unwrap().execution.unwrap()), (1, execution.to_string()));
    reconciler.stop().await;
}
