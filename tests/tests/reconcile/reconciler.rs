//! Reconcilers with a real Runner: declared jobs run exactly once, despite failures.

use std::time::{Duration, Instant};

use dcp_reconciler::assets::Assets as _;
use dcp_reconciler::reconcile::{JobState, Scale};
use dcp_reconciler::registry::Registry as _;
use dcp_runner::api::Runner as _;
use dcp_tests::fake_spark;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::project::{Project, Stream, start_runner, stream};

/// The events of a job with two changes that need a restart, until it is deleted.
const EVENTS_OF_THREE_RUNS: &str = "\
    run 1 of revision 1 is started\nrun 1 of revision 1 is healthy\n\
    run 1 is stopped: another revision takes its place\n\
    run 1 has stopped: another revision takes its place\nrun 2 of revision 3 is started\n\
    run 2 of revision 3 is healthy\nrun 2 is stopped: another revision takes its place\n\
    run 2 has stopped: another revision takes its place\nrun 3 of revision 4 is started\n\
    run 3 of revision 4 is healthy\nrun 3 is stopped: it is deleted\nrun 3 has stopped: it is deleted\n";

/// Returns the names of the checkpoints that were set aside.
fn set_aside(project: &Project) -> Vec<String> {
    let all = std::fs::read_dir(project.fake_spark.path("checkpoints")).expect("the folder exists");
    let names = all.filter_map(|it| Some(it.ok()?.file_name().to_string_lossy().into_owned()));
    names.filter(|name| name != "clicks").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declared_job_runs_and_restarts_only_if_needed() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let mut clicks = stream("one");
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 1).await;
    assert_eq!(project.started_drivers(), ["one"]);
    // Changed health settings need no restart.
    clicks.start_within = 500;
    project.apply(&[&clicks]).await;
    let state = project.wait_until_healthy(&clicks, 2).await;
    assert_eq!((state.starts, project.started_drivers().len()), (1, 1));
    // A changed program: the run is drained, and another one starts on the same checkpoint.
    clicks.behaviour = "two".to_owned();
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 3).await;
    assert_eq!(
        (project.started_drivers(), project.fake_spark.lines("stopped")),
        (vec!["one".into(), "two".into()], vec!["one".into()])
    );
    assert_eq!(set_aside(&project), [""; 0]);
    std::fs::write(project.fake_spark.path("checkpoints/clicks/offsets"), "of state 1")
        .expect("the folder exists");
    // A changed state version: the checkpoint is moved away.
    clicks.state_version = 2;
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 4).await;
    let [old] = set_aside(&project).try_into().expect("one checkpoint is set aside");
    let old: String = old;
    let state = std::fs::read_to_string(project.fake_spark.path(&format!("checkpoints/{old}/offsets")));
    assert_eq!(state.expect("the file exists"), "of state 1");
    assert!(!project.fake_spark.path("checkpoints/clicks/offsets").exists());
    project.apply(&[]).await;
    project.wait_until_stopped(&clicks).await;
    project.assert_no_concurrent_drivers();
    assert_eq!(project.events(&clicks).await, EVENTS_OF_THREE_RUNS);
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_pause_resume_and_restart_a_job() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let mut clicks = stream("one");
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 1).await;
    project.store.pause(&clicks.key(), true, "ada", Timestamp::now()).await.unwrap();
    project.wait_until_stopped(&clicks).await;
    assert_eq!(project.fake_spark.lines("stopped"), ["one"]);
    project.store.pause(&clicks.key(), false, "ada", Timestamp::now()).await.unwrap();
    assert_eq!(project.wait_until_healthy(&clicks, 1).await.starts, 2);
    project.store.restart(&clicks.key(), "ada", Timestamp::now()).await.unwrap();
    project.wait_until(&clicks, "a restart", |state| state.starts == 3).await;
    project.wait_until_healthy(&clicks, 1).await;
    clicks.paused = true;
    project.apply(&[&clicks]).await;
    project.wait_until_stopped(&clicks).await;
    clicks.paused = false;
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 3).await;
    assert_eq!(project.started_drivers().len(), 4);
    project.assert_no_concurrent_drivers();
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_cancelled_runs_restart() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let mut clicks = stream("one");
    clicks.attempts = 2;
    project.apply(&[&clicks]).await;
    let first = project.wait_until_healthy(&clicks, 1).await;
    // The Runner starts another attempt by itself.
    fake_spark::send_signal(project.fake_spark.wait_for_line("pid").trim(), rustix::process::Signal::KILL);
    fake_spark::wait_until(|| (project.started_drivers().len() == 2).then_some(()));
    assert_eq!(project.state(&clicks).await.run, first.run);
    // The job comes back from a cancellation after a backoff. The failure says how to pause it instead.
    let execution = first.run.unwrap().execution.unwrap();
    let execution = dcp_runner::execution::Id::parse(&execution).unwrap();
    project.runner.cancel(&execution, "ben").await.unwrap();
    let failed = project.wait_until(&clicks, "a failure", |state| state.failures == 1).await;
    assert_eq!(failed.failure.unwrap(), "it was cancelled by ben; to have it stay so, pause it");
    project.wait_until(&clicks, "a start", |state| state.starts == 2).await;
    project.wait_until_healthy(&clicks, 1).await;
    fake_spark::wait_until(|| (project.started_drivers().len() == 3).then_some(()));
    project.assert_no_concurrent_drivers();
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unhealthy_revision_is_rolled_back() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let mut clicks = stream("one");
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 1).await;
    clicks.behaviour = "wrong".to_owned();
    project.apply(&[&clicks]).await;
    let state = project
        .wait_until(&clicks, "a rollback", |state| state.given_up.is_some() && state.run.is_some())
        .await;
    assert_eq!(state.given_up.as_ref().unwrap().build, 2);
    let back = project.wait_until_healthy(&clicks, 1).await;
    assert_eq!(back.given_up, state.given_up);
    assert!(
        project.events(&clicks).await.contains("revision 2 is given up, revision 1 takes its place again: ")
    );
    // The next revision is tried, and clears the given-up one.
    clicks.behaviour = "two".to_owned();
    project.apply(&[&clicks]).await;
    assert_eq!(project.wait_until_healthy(&clicks, 3).await.given_up, None);
    assert_eq!(project.started_drivers(), ["one", "wrong", "one", "two"]);
    // A run without progress is given up at the start timeout.
    (clicks.behaviour, clicks.start_within, clicks.on_unhealthy) = ("hang".to_owned(), 2, "pause");
    project.apply(&[&clicks]).await;
    project.wait_until(&clicks, "a pause", |state| state.given_up.is_some() && state.run.is_none()).await;
    project.wait_until_stopped(&clicks).await;
    project.assert_no_concurrent_drivers();
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_job_restarts_after_its_backoff() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let clicks = stream("fail");
    project.apply(&[&clicks]).await;
    let state =
        project.wait_until(&clicks, "a failure", |state| state.failures == 1 && state.run.is_none()).await;
    assert!(state.not_before.is_some());
    let failure = state.failure.unwrap();
    assert!(failure.contains("heap was full"), "{failure}");
    std::fs::write(project.fake_spark.path("mended"), "").unwrap();
    project.wait_until_healthy(&clicks, 1).await;
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_reconciler_takes_over_from_a_dead_leader() {
    let project = Project::new().await;
    let (first, second) = (project.start_reconciler(), project.start_reconciler());
    let mut clicks = stream("0");
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 1).await;
    let mut reconcilers = vec![first, second];
    for number in 1..5_u64 {
        let epoch = project.store.leader("reconciler").await.unwrap().unwrap().epoch;
        // The oldest reconciler may be the leader. It is aborted at an arbitrary point and sends no more heartbeats.
        reconcilers.remove(0).abort().await;
        reconcilers.push(project.start_reconciler());
        clicks.behaviour = number.to_string();
        project.apply(&[&clicks]).await;
        project.wait_until_healthy(&clicks, number + 1).await;
        assert!(project.store.leader("reconciler").await.unwrap().unwrap().epoch >= epoch);
    }
    assert_eq!(project.started_drivers(), ["0", "1", "2", "3", "4"]);
    project.assert_no_concurrent_drivers();
    for reconciler in reconcilers {
        reconciler.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed_stream_waits_for_the_end_of_the_old_one() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let clicks = stream("old");
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 1).await;
    let other = Stream { name: "taps", behaviour: "new".to_owned(), ..clicks.clone() };
    project.apply(&[&other]).await;
    project.wait_until_healthy(&other, 1).await;
    assert_eq!(project.started_drivers(), ["old", "new"]);
    project.assert_no_concurrent_drivers();
    reconciler.stop().await;
}

/// Reconcilers and Runners die at random while the jobs change. `DCP_SEED=N` repeats a single seed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_converge_despite_random_deaths() {
    let seeds = match std::env::var("DCP_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..3).collect::<Vec<u64>>(),
    };
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut project = Project::new().await;
        let mut reconciler = project.start_reconciler();
        let mut clicks = stream("0");
        // The Runner restarts killed drivers, so that the job needs no backoff.
        clicks.attempts = 5;
        for round in 0..8 {
            match rng.random_range(0..4) {
                0 => clicks.behaviour = format!("{round}"),
                1 => clicks.state_version += 1,
                2 => clicks.start_within += 1,
                _ => project.store.restart(&clicks.key(), "ada", Timestamp::now()).await.unwrap(),
            }
            project.apply(&[&clicks]).await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..700))).await;
            let death = rng.random_range(0..3);
            if death == 1 {
                let _ = project.runner.stop().await;
                project.runner = start_runner(&project.fake_spark, &project.registry).await;
            }
            if death < 2 {
                reconciler.abort().await;
                reconciler = project.start_reconciler();
            }
        }
        let newest = project.registry.state(&project.scope).await.unwrap();
        let revision = newest.entries.iter().find(|(address, _)| address.to_string() == clicks.key().address);
        project.wait_until_healthy(&clicks, revision.unwrap().1.revision).await;
        assert_eq!(project.started_drivers().last(), Some(&clicks.behaviour), "seed {seed}");
        project.assert_no_concurrent_drivers();
        project.apply(&[]).await;
        project.wait_until_stopped(&clicks).await;
        reconciler.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaled_stream_starts_with_its_initial_executors() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let mut clicks = stream("one");
    let given = || {
        let all = project.fake_spark.lines("arguments");
        all.into_iter().find_map(|it| Some(it.strip_prefix("spark.executor.instances=")?.to_owned()))
    };
    project.apply(&[&clicks]).await;
    let state = project.wait_until_healthy(&clicks, 1).await;
    assert_eq!((given().as_deref(), state.run.unwrap().executors), (Some("1"), None));
    clicks.scaled = true;
    project.apply(&[&clicks]).await;
    let state = project.wait_until(&clicks, "another start", |state| state.starts == 2).await;
    assert_eq!(state.run.unwrap().executors, Some(3));
    fake_spark::wait_until(|| (given().as_deref() == Some("3")).then_some(()));
    reconciler.stop().await;
    // A determined number of executors overrides the initial number of the manifest.
    let mut stored = project.store.job(&clicks.key()).await.unwrap();
    let why = "it was too busy".to_owned();
    stored.state.scale = Some(Scale { executors: 5, since: Timestamp::now(), why });
    assert!(project.store.save(&clicks.key(), &mut stored, &[], Timestamp::now()).await.unwrap());
    let reconciler = project.start_reconciler();
    let state = project.wait_until(&clicks, "a restart", |state| state.starts == 3).await;
    assert_eq!(state.run.unwrap().executors, Some(5));
    fake_spark::wait_until(|| (given().as_deref() == Some("5")).then_some(()));
    assert!(project.events(&clicks).await.contains("run 2 is stopped: it gets another number of executors"));
    reconciler.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciler_continues_from_a_restored_backup() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let clicks = stream("one");
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 1).await;
    project.store.pause(&clicks.key(), true, "ada", Timestamp::now()).await.unwrap();
    project.wait_until_stopped(&clicks).await;
    reconciler.stop().await;
    // Restores the state before the first start, as from an old backup.
    let mut stored = project.store.job(&clicks.key()).await.unwrap();
    stored.state = JobState::default();
    assert!(project.store.save(&clicks.key(), &mut stored, &[], Timestamp::now()).await.unwrap());
    project.store.pause(&clicks.key(), false, "ada", Timestamp::now()).await.unwrap();
    let reconciler = project.start_reconciler();
    // The first start has the token of the earlier one, whose execution has ended.
    let state = project.wait_until(&clicks, "another start", |state| state.starts == 2).await;
    assert_eq!(state.failures, 1);
    project.wait_until_healthy(&clicks, 1).await;
    fake_spark::wait_until(|| (project.started_drivers() == ["one", "one"]).then_some(()));
    project.assert_no_concurrent_drivers();
    reconciler.stop().await;
}

/// Waits until exactly these completions are reported.
async fn wait_until_reported(project: &Project, expected: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let page = project.registry.completions(&project.scope, Some(0), None, 0).await.unwrap();
        let reported =
            page.completions.iter().map(|it| format!("{} {} by {}", it.asset, it.partition, it.run));
        let reported: Vec<String> = reported.collect();
        if reported == expected {
            return;
        }
        assert!(Instant::now() < deadline, "expected {expected:?}, but {reported:?} were reported");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_behind_the_watermark_are_reported_once() {
    let project = Project::new().await;
    let reconciler = project.start_reconciler();
    let mut clicks = stream("one");
    clicks.completes = true;
    let watermark = |text: &str| {
        // The rename makes the whole text visible at once.
        std::fs::write(project.fake_spark.path("next"), text).unwrap();
        std::fs::rename(project.fake_spark.path("next"), project.fake_spark.path("watermark")).unwrap();
    };
    let complete =
        |up_to: &str, state: u64| format!("table:lake.clicks to={up_to} by logistics/clicks-{state}");
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 1).await;
    watermark("2026-11-20T14:30:00.000Z");
    let first = complete("2026-11-20T14:00:00Z", 1);
    wait_until_reported(&project, &[&first]).await;
    // If the watermark passes several partitions at once, the report is up to the latest.
    watermark("2026-11-20T16:59:59.999Z");
    let second = complete("2026-11-20T16:00:00Z", 1);
    wait_until_reported(&project, &[&first, &second]).await;
    // Another reconciler or another run does not report partitions again.
    reconciler.abort().await;
    let reconciler = project.start_reconciler();
    project.store.restart(&clicks.key(), "ada", Timestamp::now()).await.unwrap();
    project.wait_until(&clicks, "another start", |state| state.starts == 2).await;
    project.wait_until_healthy(&clicks, 1).await;
    watermark("2026-11-20T17:00:00.000Z");
    let third = complete("2026-11-20T17:00:00Z", 1);
    wait_until_reported(&project, &[&first, &second, &third]).await;
    // A stream that starts from nothing writes its partitions again, and reports them again.
    std::fs::remove_file(project.fake_spark.path("watermark")).unwrap();
    clicks.state_version = 2;
    project.apply(&[&clicks]).await;
    project.wait_until_healthy(&clicks, 2).await;
    watermark("2026-11-20T14:10:00.000Z");
    let anew = complete("2026-11-20T14:00:00Z", 2);
    wait_until_reported(&project, &[&first, &second, &third, &anew]).await;
    reconciler.stop().await;
}
