//! Continuous jobs, read and requested in-process and through a control plane.

use std::sync::Arc;

use dcp_model::primitive::Address;
use dcp_reconciler::reconcile::{
    Condition, ContinuousJobs, Convergence, JobState, Leader, Request, Requested,
};
use dcp_reconciler::registry::remote::{self, Remote};
use dcp_reconciler::registry::{self};
use dcp_reconciler::service;
use dcp_reconciler::state::Scope;
use dcp_server::Services;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;

use crate::house::{House, stream};
/// Tests the contract of `ContinuousJobs` on an implementation.
async fn told(house: &House, keep: &dyn ContinuousJobs) {
    let clicks = stream("one");
    let address: Address = clicks.key().address.parse().unwrap();
    let none: Address = "ContinuousJob/logistics/taps".parse().unwrap();
    let jobs = async |address: Option<&Address>| {
        let overview = keep.jobs(&house.scope, address).await.unwrap();
        assert_eq!(overview.runner_error, None);
        overview.jobs
    };
    assert_eq!(keep.leader().await.unwrap(), None);
    assert_eq!(jobs(None).await, []);
    house.apply(&[&clicks]).await;
    let all = jobs(None).await;
    let [job] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(
        (&job.address, &job.state, &job.requested),
        (&address, &JobState::default(), &Requested::default())
    );
    assert_eq!(job.desired.as_ref().map(|it| it.version.revision), Some(1));
    assert_eq!(jobs(Some(&address)).await, all);
    assert_eq!(jobs(Some(&none)).await, []);
    assert_eq!(keep.jobs(&Scope::new("other", None), None).await.unwrap().jobs, []);
    let ask = |address, ask| keep.request(&house.scope, address, ask, "ada", Timestamp::now());
    let refused = ask(&none, Request::Pause).await.unwrap_err();
    assert!(
        matches!(&refused, registry::Error::NotFound(why) if why.contains("`logistics/taps` is applied to `shop`")),
        "{refused:?}"
    );
    ask(&address, Request::Pause).await.unwrap();
    ask(&address, Request::Restart).await.unwrap();
    let requested = || async { jobs(None).await[0].requested.clone() };
    assert_eq!(requested().await, Requested { paused: true, restarts: 1 });
    ask(&address, Request::Resume).await.unwrap();
    assert_eq!(requested().await, Requested { paused: false, restarts: 1 });
    assert_eq!(keep.events(&house.scope, &address, 10).await.unwrap(), []);
    let before = Timestamp::now() - SignedDuration::from_secs(1);
    let keeping = house.keeper();
    let state = house.healthy(&clicks, 1).await;
    let job = &jobs(None).await[0];
    assert_eq!((&job.state, &job.condition), (&state, &Condition::Healthy));
    assert!(job.runs && job.convergence == Convergence::Converged && job.progress.is_some(), "{job:?}");
    assert!(keep.leader().await.unwrap().is_some_and(|it| it.epoch == 1 && it.heartbeat > Some(before)));
    let events = keep.events(&house.scope, &address, 10).await.unwrap();
    let said: Vec<&str> = events.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(said, ["run 1 of revision 1 is healthy", "run 1 of revision 1 is started"]);
    assert_eq!(keep.events(&house.scope, &address, 1).await.unwrap(), events[..1]);
    house.apply(&[]).await;
    house.rests(&clicks).await;
    assert_eq!(jobs(None).await, [], "what is gone is not told");
    keeping.leave().await;
    assert_eq!(keep.leader().await.unwrap(), Some(Leader { epoch: 1, heartbeat: None }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuous_jobs_are_told_here() {
    let house = House::new().await;
    told(&house, &house.here()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuous_jobs_are_told_by_a_control_plane() {
    let house = House::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let services = Services::new(dcp_proto::DESCRIPTORS);
    let services = service::add_jobs(services, Arc::new(house.here()), Timestamp::now);
    let options = dcp_tests::server_options("ada");
    tokio::spawn(dcp_server::serve(listener, services, options, std::future::pending()));
    let remote = Remote::new(remote::Options::new(&url, dcp_tests::TOKEN)).unwrap();
    told(&house, &remote).await;
}
