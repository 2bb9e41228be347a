//! Continuous jobs, read and requested in-process and through a control plane.

use std::sync::Arc;

use dcp_model::primitive::Address;
use dcp_reconciler::reconcile::{
    Condition, ContinuousJobs, Convergence, JobState, JobStatus, Leader, Request, Requested,
};
use dcp_reconciler::registry::remote::{self, Remote};
use dcp_reconciler::registry::{self};
use dcp_reconciler::service;
use dcp_reconciler::state::Scope;
use dcp_server::Services;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;

use crate::project::{Project, Stream, stream};

/// Tests the contract of `ContinuousJobs` on an implementation.
async fn check_contract(project: &Project, jobs: &dyn ContinuousJobs) {
    let clicks = stream("one");
    let address: Address = clicks.key().address.parse().unwrap();
    assert_eq!(jobs.leader().await.unwrap(), None);
    assert_eq!(overview(project, jobs, None).await, []);
    check_requests(project, jobs, &clicks, &address).await;
    check_reports(project, jobs, &clicks, &address).await;
    assert_eq!(jobs.leader().await.unwrap(), Some(Leader { epoch: 1, heartbeat: None }));
}

/// Returns the status of all jobs, or of one.
async fn overview(project: &Project, jobs: &dyn ContinuousJobs, address: Option<&Address>) -> Vec<JobStatus> {
    let all = jobs.jobs(&project.scope, address).await.unwrap();
    assert_eq!(all.runner_error, None);
    all.jobs
}

/// Applies a job, and makes requests about it before a reconciler runs.
async fn check_requests(project: &Project, jobs: &dyn ContinuousJobs, clicks: &Stream, address: &Address) {
    let none: Address = "ContinuousJob/logistics/taps".parse().unwrap();
    let overview = async |address| overview(project, jobs, address).await;
    project.apply(&[clicks]).await;
    let all = overview(None).await;
    let [job] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(
        (&job.address, &job.state, &job.requested),
        (address, &JobState::default(), &Requested::default())
    );
    assert_eq!(job.desired.as_ref().map(|it| it.version.revision), Some(1));
    assert_eq!(overview(Some(address)).await, all);
    assert_eq!(overview(Some(&none)).await, []);
    assert_eq!(jobs.jobs(&Scope::new("other", None), None).await.unwrap().jobs, []);
    let request = |address, it| jobs.request(&project.scope, address, it, "ada", Timestamp::now());
    let refused = request(&none, Request::Pause).await.unwrap_err();
    assert!(
        matches!(&refused, registry::Error::NotFound(why) if why.contains("`logistics/taps` is applied to `shop`")),
        "{refused:?}"
    );
    request(address, Request::Pause).await.unwrap();
    request(address, Request::Restart).await.unwrap();
    let requested = || async { overview(None).await[0].requested.clone() };
    assert_eq!(requested().await, Requested { paused: true, restarts: 1 });
    request(address, Request::Resume).await.unwrap();
    assert_eq!(requested().await, Requested { paused: false, restarts: 1 });
    assert_eq!(jobs.events(&project.scope, address, 10).await.unwrap(), []);
}

/// Checks the status and the events of a job from its start to its end.
async fn check_reports(project: &Project, jobs: &dyn ContinuousJobs, clicks: &Stream, address: &Address) {
    let before = Timestamp::now() - SignedDuration::from_secs(1);
    let reconciler = project.start_reconciler();
    let state = project.wait_until_healthy(clicks, 1).await;
    let job = &overview(project, jobs, None).await[0];
    assert_eq!((&job.state, &job.condition), (&state, &Condition::Healthy));
    assert!(job.runs && job.convergence == Convergence::Converged && job.progress.is_some(), "{job:?}");
    assert!(jobs.leader().await.unwrap().is_some_and(|it| it.epoch == 1 && it.heartbeat > Some(before)));
    let events = jobs.events(&project.scope, address, 10).await.unwrap();
    let messages: Vec<&str> = events.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(messages, ["run 1 of revision 1 is healthy", "run 1 of revision 1 is started"]);
    assert_eq!(jobs.events(&project.scope, address, 1).await.unwrap(), events[..1]);
    project.apply(&[]).await;
    project.wait_until_stopped(clicks).await;
    assert_eq!(overview(project, jobs, None).await, [], "deleted jobs are not listed");
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_jobs_meet_the_contract() {
    let project = Project::new().await;
    check_contract(&project, &project.local_jobs()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_control_plane_meet_the_contract() {
    let project = Project::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let services = Services::new(dcp_proto::DESCRIPTORS);
    let services = service::add_jobs(services, Arc::new(project.local_jobs()), Timestamp::now);
    let options = dcp_tests::server_options("ada");
    tokio::spawn(dcp_server::serve(listener, services, options, std::future::pending()));
    let remote = Remote::new(remote::Options::new(&url, dcp_tests::TOKEN)).unwrap();
    check_contract(&project, &remote).await;
}
