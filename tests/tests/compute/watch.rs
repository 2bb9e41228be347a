//! The watch of a backend: which changes it reports, and when.

use std::fs;
use std::time::Duration;

use dcp_gateway::{Change, Compute, Name, Phase, Result, Status, WatchEvent};
use dcp_tests::fake_spark::{self, FakeSpark, parent_pid, send_signal};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use rustix::process::Signal;

use crate::contract::Open;
use crate::local::{application, name, wait_for_end, was_lost};

/// Runs until the file `go` exists.
const WAITING: &str = "echo $$ > pid; while [ ! -e go ]; do sleep 0.01; done";
/// Maximum time until a change is reported. It is shorter than the interval at which `local` reads all statuses.
const EVENT_TIMEOUT: Duration = Duration::from_millis(1500);
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

type Events = BoxStream<'static, Result<WatchEvent>>;

async fn next(events: &mut Events, within: Duration) -> WatchEvent {
    let event = tokio::time::timeout(within, events.next()).await.expect("an event is reported in time");
    event.expect("the watch does not end").expect("the watch does not fail")
}

/// Waits until the watch reports a status of an application that satisfies a condition.
async fn wait_until(
    events: &mut Events,
    of: &Name,
    within: Duration,
    is: impl Fn(&Status) -> bool,
) -> Status {
    loop {
        if let WatchEvent::Changed(Change { name, status: Some(status) }) = next(events, within).await
            && name == *of
            && is(&status)
        {
            return status;
        }
    }
}

async fn start_watch(local: &dyn Compute) -> (Events, Vec<Change>) {
    let (mut events, mut changes) = (local.watch(), Vec::new());
    loop {
        match next(&mut events, LONG_TIMEOUT).await {
            WatchEvent::Changed(change) => changes.push(change),
            WatchEvent::Listed => return (events, changes),
        }
    }
}

pub(crate) async fn a_start_and_an_end_are_reported_at_once(backend: Open) {
    let fake_spark = FakeSpark::new(WAITING);
    let local = backend(&fake_spark);
    let (mut events, changes) = start_watch(&*local).await;
    assert_eq!(changes, []);
    for number in 1..=3 {
        let name = name(&format!("a-{number}"));
        local.create(&application(name.as_str())).await.expect("the application starts");
        wait_until(&mut events, &name, EVENT_TIMEOUT, |status| status.phase == Phase::Running).await;
        fs::write(fake_spark.path("go"), "").expect("the temporary folder is writable");
        let status =
            wait_until(&mut events, &name, EVENT_TIMEOUT, |status| status.phase == Phase::Ended).await;
        assert_eq!(local.get(&name).await, Ok(Some(status)), "the watch and `get` report the same");
        fs::remove_file(fake_spark.path("go")).expect("the file was written");
    }
}

pub(crate) async fn a_watch_begins_with_the_applications_that_have_not_ended(backend: Open) {
    let fake_spark =
        FakeSpark::new("case $* in *b-1*) exit 0 ;; esac; while [ ! -e go ]; do sleep 0.01; done");
    let local = backend(&fake_spark);
    for name in ["a-1", "b-1"] {
        local.create(&application(name)).await.expect("the application starts");
    }
    wait_for_end(&*local, &name("b-1")).await;
    let (mut events, changes) = start_watch(&*backend(&fake_spark)).await;
    let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(names, ["a-1"]);
    fs::write(fake_spark.path("go"), "").expect("the temporary folder is writable");
    wait_until(&mut events, &name("a-1"), EVENT_TIMEOUT, |status| status.phase == Phase::Ended).await;
}

pub(crate) async fn the_kill_of_a_supervisor_is_reported(backend: Open) {
    let fake_spark = FakeSpark::new(WAITING);
    let local = backend(&fake_spark);
    let (mut events, _) = start_watch(&*local).await;
    local.create(&application("a-1")).await.expect("the application starts");
    send_signal(&parent_pid(&fake_spark.wait_for_line("pid")), Signal::KILL);
    let status =
        wait_until(&mut events, &name("a-1"), LONG_TIMEOUT, |status| status.phase == Phase::Ended).await;
    assert!(was_lost(&status.end.expect("the application has ended")));
}

pub(crate) async fn an_application_whose_folder_is_removed_runs_until_its_processes_have_ended(
    backend: Open,
) {
    let fake_spark = FakeSpark::new(WAITING);
    let local = backend(&fake_spark);
    let (mut events, _) = start_watch(&*local).await;
    local.create(&application("a-1")).await.expect("the application starts");
    wait_until(&mut events, &name("a-1"), EVENT_TIMEOUT, |status| status.phase == Phase::Running).await;
    fake_spark.wait_for_line("pid");
    // The watch may create the lock file meanwhile.
    fake_spark::wait_until(|| fs::remove_dir_all(fake_spark.path("runs/a-1")).ok());
    loop {
        if let WatchEvent::Changed(Change { name: of, status: None }) = next(&mut events, LONG_TIMEOUT).await
        {
            assert_eq!(of, name("a-1"));
            break;
        }
    }
    let status = local.get(&name("a-1")).await.expect("processes can be listed");
    assert_eq!(status.map(|it| it.phase), Some(Phase::Running), "a second attempt must not be started");
    fs::write(fake_spark.path("go"), "").expect("the temporary folder is writable");
    let end = wait_for_end(&*local, &name("a-1")).await;
    assert!(end.succeeded, "{end:?}");
}
