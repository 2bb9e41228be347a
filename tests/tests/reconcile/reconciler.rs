//! Reconcilers with a real Runner: declared jobs run exactly once, despite failures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_model::primitive::Body;
use dcp_reconciler::assets::Assets as _;
use dcp_reconciler::reconcile::{JobState, Scale};
use dcp_reconciler::registry::Registry as _;
use dcp_runner::api::Runner as _;
use dcp_runner::execution::Id;
use dcp_runner::request::{CanonicalJob, Definition, Fence, Reference, Submit};
use dcp_runner::streaming::Streaming;
use dcp_tests::machine;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::house::{House, Stream, primitives, service, started, stream};
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_runs_and_what_changes_restarts_only_where_it_must() {
    let house = House::new().await;
    let keeping = house.keeper();
    let mut clicks = stream("one");
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 1).await;
    assert_eq!(house.started(), ["one"]);
    // Changed health settings need no restart.
    clicks.start_within = 500;
    house.apply(&[&clicks]).await;
    let state = house.healthy(&clicks, 2).await;
    assert_eq!((state.starts, house.started().len()), (1, 1));
    // A changed program: the run is drained, and another one starts on the same checkpoint.
    clicks.does = "two".to_owned();
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 3).await;
    assert_eq!(
        (house.started(), house.machine.lines("stopped")),
        (vec!["one".into(), "two".into()], vec!["one".into()])
    );
    let aside = || {
        let all = std::fs::read_dir(house.machine.path("checkpoints")).expect("it is there");
        all.filter_map(|it| Some(it.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| name != "clicks")
            .collect::<Vec<_>>()
    };
    assert_eq!(aside(), [""; 0]);
    std::fs::write(house.machine.path("checkpoints/clicks/offsets"), "of state 1").expect("it is there");
    // A changed state version: the checkpoint is moved away.
    clicks.state = 2;
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 4).await;
    let [old] = aside().try_into().expect("it is set aside once");
    let old: String = old;
    let state = std::fs::read_to_string(house.machine.path(&format!("checkpoints/{old}/offsets")));
    assert_eq!(state.expect("it is whole"), "of state 1");
    assert!(!house.machine.path("checkpoints/clicks/offsets").exists());
    house.apply(&[]).await;
    house.rests(&clicks).await;
    house.no_two_at_once();
    assert_eq!(
        house.events(&clicks).await,
        "run 1 of revision 1 is started\nrun 1 of revision 1 is healthy\n\
         run 1 is stopped: another revision takes its place\n\
         run 1 has stopped: another revision takes its place\nrun 2 of revision 3 is started\n\
         run 2 of revision 3 is healthy\nrun 2 is stopped: another revision takes its place\n\
         run 2 has stopped: another revision takes its place\nrun 3 of revision 4 is started\n\
         run 3 of revision 4 is healthy\nrun 3 is stopped: it is deleted\nrun 3 has stopped: it is deleted\n"
    );
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_pause_resume_and_restart_a_job() {
    let house = House::new().await;
    let keeping = house.keeper();
    let mut clicks = stream("one");
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 1).await;
    house.store.pause(&clicks.key(), true, "ada", Timestamp::now()).await.unwrap();
    house.rests(&clicks).await;
    assert_eq!(house.machine.lines("stopped"), ["one"]);
    house.store.pause(&clicks.key(), false, "ada", Timestamp::now()).await.unwrap();
    assert_eq!(house.healthy(&clicks, 1).await.starts, 2);
    house.store.restart(&clicks.key(), "ada", Timestamp::now()).await.unwrap();
    house.until(&clicks, "a restart", |state| state.starts == 3).await;
    house.healthy(&clicks, 1).await;
    clicks.paused = true;
    house.apply(&[&clicks]).await;
    house.rests(&clicks).await;
    clicks.paused = false;
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 3).await;
    assert_eq!(house.started().len(), 4);
    house.no_two_at_once();
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_is_started_again_whenever_it_ends() {
    let house = House::new().await;
    let keeping = house.keeper();
    let mut server = service("end");
    house.apply(&[&server]).await;
    // The driver exits with 0.
    let ended = house.until(&server, "an end", |state| state.failures == 1).await;
    assert_eq!(ended.failure.as_deref(), Some("it ended by itself"));
    std::fs::write(house.machine.path("mended"), "").expect("there is room");
    house.healthy(&server, 1).await;
    let starts = house.started().len();
    // The driver is killed, and the Runner has no attempt left.
    let pid = house.machine.lines("pid").remove(0);
    machine::kill(&pid, rustix::process::Signal::KILL);
    house.until(&server, "another start", |state| state.starts == u64::try_from(starts).unwrap() + 1).await;
    machine::until(|| (house.started().len() == starts + 1).then_some(()));
    house.healthy(&server, 1).await;
    // A change and a restart request restart the service; a pause request stops it.
    server.does = "end two".to_owned();
    house.apply(&[&server]).await;
    house.healthy(&server, 2).await;
    house.store.restart(&server.key(), "ada", Timestamp::now()).await.unwrap();
    machine::until(|| (house.started().len() == starts + 3).then_some(()));
    house.healthy(&server, 2).await;
    house.store.pause(&server.key(), true, "ada", Timestamp::now()).await.unwrap();
    house.rests(&server).await;
    house.no_two_at_once();
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_has_one_run_though_its_reconciler_dies() {
    let house = House::new().await;
    let keeping = house.keeper();
    let server = service("hang");
    house.apply(&[&server]).await;
    house.healthy(&server, 1).await;
    keeping.die().await;
    let keeping = house.keeper();
    // The run of the service holds an exclusive key, so that a second run can't start.
    let key = dcp_reconciler::reconcile::service_key("shop", &server.key().address);
    let held = dcp_runner::api::all_holders(&house.runner).await.expect("it answers");
    assert_eq!(held.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), [key.as_str()]);
    house.store.restart(&server.key(), "ada", Timestamp::now()).await.unwrap();
    machine::until(|| (house.started().len() == 2).then_some(()));
    house.healthy(&server, 1).await;
    // A stream replaces the service, and a service the stream.
    let clicks = stream("one");
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 2).await;
    house.apply(&[&service("hang")]).await;
    house.healthy(&server, 3).await;
    house.apply(&[]).await;
    house.rests(&server).await;
    house.no_two_at_once();
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dies_comes_back() {
    let house = House::new().await;
    let keeping = house.keeper();
    let mut clicks = stream("one");
    clicks.attempts = 2;
    house.apply(&[&clicks]).await;
    let first = house.healthy(&clicks, 1).await;
    // The Runner starts another attempt by itself.
    machine::kill(house.machine.line("pid").trim(), rustix::process::Signal::KILL);
    machine::until(|| (house.started().len() == 2).then_some(()));
    assert_eq!(house.state(&clicks).await.run, first.run);
    // The job comes back from a cancellation after a backoff. The failure says how to pause it instead.
    let execution = first.run.unwrap().execution.unwrap();
    let execution = dcp_runner::execution::Id::parse(&execution).unwrap();
    house.runner.cancel(&execution, "ben").await.unwrap();
    let failed = house.until(&clicks, "a failure", |state| state.failures == 1).await;
    assert_eq!(failed.failure.unwrap(), "it was cancelled by ben; to have it stay so, pause it");
    house.until(&clicks, "a start", |state| state.starts == 2).await;
    house.healthy(&clicks, 1).await;
    machine::until(|| (house.started().len() == 3).then_some(()));
    house.no_two_at_once();
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_that_is_wrong_gives_way_to_the_last_healthy_one() {
    let house = House::new().await;
    let keeping = house.keeper();
    let mut clicks = stream("one");
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 1).await;
    clicks.does = "wrong".to_owned();
    house.apply(&[&clicks]).await;
    let state =
        house.until(&clicks, "a rollback", |state| state.given_up.is_some() && state.run.is_some()).await;
    assert_eq!(state.given_up.as_ref().unwrap().build, 2);
    let back = house.healthy(&clicks, 1).await;
    assert_eq!(back.given_up, state.given_up);
    assert!(
        house.events(&clicks).await.contains("revision 2 is given up, revision 1 takes its place again: ")
    );
    // The next revision is tried, and clears the given-up one.
    clicks.does = "two".to_owned();
    house.apply(&[&clicks]).await;
    assert_eq!(house.healthy(&clicks, 3).await.given_up, None);
    assert_eq!(house.started(), ["one", "wrong", "one", "two"]);
    // A run without progress is given up at the start timeout.
    (clicks.does, clicks.start_within, clicks.on_unhealthy) = ("hang".to_owned(), 2, "pause");
    house.apply(&[&clicks]).await;
    house.until(&clicks, "a pause", |state| state.given_up.is_some() && state.run.is_none()).await;
    house.rests(&clicks).await;
    house.no_two_at_once();
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_left_alone_for_a_while_and_recovers_by_itself() {
    let house = House::new().await;
    let keeping = house.keeper();
    let clicks = stream("fail");
    house.apply(&[&clicks]).await;
    let state = house.until(&clicks, "a failure", |state| state.failures == 1 && state.run.is_none()).await;
    assert!(state.not_before.is_some());
    let failure = state.failure.unwrap();
    assert!(failure.contains("heap was full"), "{failure}");
    std::fs::write(house.machine.path("mended"), "").unwrap();
    house.healthy(&clicks, 1).await;
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_acts_and_another_takes_over() {
    let house = House::new().await;
    let (first, second) = (house.keeper(), house.keeper());
    let mut clicks = stream("0");
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 1).await;
    let mut keepers = vec![first, second];
    for number in 1..5_u64 {
        let epoch = house.store.leader("reconciler").await.unwrap().unwrap().epoch;
        // The oldest reconciler may be the leader. It is aborted at an arbitrary point and sends no more heartbeats.
        keepers.remove(0).die().await;
        keepers.push(house.keeper());
        clicks.does = number.to_string();
        house.apply(&[&clicks]).await;
        house.healthy(&clicks, number + 1).await;
        assert!(house.store.leader("reconciler").await.unwrap().unwrap().epoch >= epoch);
    }
    assert_eq!(house.started(), ["0", "1", "2", "3", "4"]);
    house.no_two_at_once();
    for keeping in keepers {
        keeping.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_renamed_waits_until_the_old_one_is_gone() {
    let house = House::new().await;
    let keeping = house.keeper();
    let clicks = stream("old");
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 1).await;
    let other = Stream { name: "taps", does: "new".to_owned(), ..clicks.clone() };
    house.apply(&[&other]).await;
    house.healthy(&other, 1).await;
    assert_eq!(house.started(), ["old", "new"]);
    house.no_two_at_once();
    keeping.leave().await;
}

/// Reconcilers and Runners die at random while the jobs change. `DCP_SEED=N` repeats a single seed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_when_it_converges() {
    let seeds = match std::env::var("DCP_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..3).collect::<Vec<u64>>(),
    };
    for seed in seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut house = House::new().await;
        let mut keeping = house.keeper();
        let mut clicks = stream("0");
        // The Runner restarts killed drivers, so that the job needs no backoff.
        clicks.attempts = 5;
        for round in 0..8 {
            match dice.random_range(0..4) {
                0 => clicks.does = format!("{round}"),
                1 => clicks.state += 1,
                2 => clicks.start_within += 1,
                _ => house.store.restart(&clicks.key(), "ada", Timestamp::now()).await.unwrap(),
            }
            house.apply(&[&clicks]).await;
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..700))).await;
            match dice.random_range(0..3) {
                0 => {
                    keeping.die().await;
                    keeping = house.keeper();
                }
                1 => {
                    let _ = house.runner.stop().await;
                    house.runner = started(&house.machine, &house.registry).await;
                    keeping.die().await;
                    keeping = house.keeper();
                }
                _ => {}
            }
        }
        let newest = house.registry.state(&house.scope).await.unwrap();
        let revision = newest.entries.iter().find(|(address, _)| address.to_string() == clicks.key().address);
        house.healthy(&clicks, revision.unwrap().1.revision).await;
        assert_eq!(house.started().last(), Some(&clicks.does), "seed {seed}");
        house.no_two_at_once();
        house.apply(&[]).await;
        house.rests(&clicks).await;
        keeping.leave().await;
    }
}

/// Returns a submit of another client for a checkpoint.
fn submit(house: &House, token: &str, checkpoint: &str, fence: Option<Fence>) -> Submit {
    let job = primitives(&stream("other").manifest(&house.machine.path("")));
    let job = job.into_iter().find_map(|primitive| match primitive.body {
        Body::CoreEtlJob(job) => Some(*job),
        _ => None,
    });
    let defined = CanonicalJob::new(job.expect("a manifest has one"));
    Submit {
        token: token.to_owned(),
        job: Definition::Inline(Arc::new(defined)),
        parameters: BTreeMap::new(),
        streaming: None,
        exclusive: Some(checkpoint.to_owned()),
        order: None,
        fence,
        by: "ben".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_runs_a_stream_by_hand_is_waited_for() {
    let house = House::new().await;
    let keeping = house.keeper();
    let mut clicks = stream("one");
    let checkpoint = format!("file://{}/checkpoints/clicks", house.machine.path("").display());
    let other = house.runner.submit(submit(&house, "by-hand", &checkpoint, None)).await.unwrap().record;
    house.apply(&[&clicks]).await;
    house.until(&clicks, "a start that waits", |state| state.run.is_some()).await;
    machine::until(|| (house.started() == ["other"]).then_some(()));
    // Several decisions leave the execution unchanged, because this reconciler did not start it.
    for within in 1..4 {
        clicks.start_within = 600 + within;
        house.apply(&[&clicks]).await;
        let revision = u64::from(within) + 1;
        let is_it = |state: &JobState| state.run.as_ref().is_some_and(|run| run.version.revision == revision);
        house.until(&clicks, "another revision", is_it).await;
    }
    let now = house.runner.check(other.id()).await.unwrap();
    assert!(!now.execution.phase.is_final() && now.execution.stopping.is_none());
    house.runner.cancel(other.id(), "ben").await.unwrap();
    let state = house.healthy(&clicks, 4).await;
    assert_eq!((state.starts, state.failures), (1, 0));
    machine::until(|| (house.started() == ["other", "one"]).then_some(()));
    house.no_two_at_once();
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_let_in_late_is_stopped() {
    let house = House::new().await;
    let keeping = house.keeper();
    let clicks = stream("one");
    house.apply(&[&clicks]).await;
    let state = house.healthy(&clicks, 1).await;
    let execution = Id::parse(state.run.unwrap().execution.as_deref().unwrap()).unwrap();
    let mine = house.runner.check(&execution).await.unwrap().request;
    // The request names the lease and the epoch of the leader.
    let fence = mine.fence.clone().expect("it has one");
    assert_eq!(fence.lease, format!("reconciler-{}", house.store.id()));
    let leader = house.store.leader("reconciler").await.unwrap().unwrap();
    assert_eq!(
        (fence.epoch, mine.exclusive),
        (leader.epoch, mine.streaming.clone().and_then(|it| it.checkpoint))
    );
    // A delayed submit of an earlier start. It names another checkpoint, so that it is admitted.
    let mut late = submit(&house, "an-earlier-start", "elsewhere", Some(fence));
    let Definition::Inline(defined) = &late.job else { unreachable!("it comes along") };
    let metadata = &defined.job().metadata;
    let (domain, name) = (metadata.domain.as_str().to_owned(), metadata.name.as_str().to_owned());
    let of = Reference { scope: "shop".to_owned(), domain, name, fingerprint: Some(mine.job) };
    late.job = Definition::Applied(of);
    // A reconciler sets how the stream runs.
    late.streaming =
        mine.streaming.map(|it| Streaming { checkpoint: Some("elsewhere".to_owned()), state: None, ..it });
    // A lease belongs to the caller that used it first.
    late.by = mine.by;
    let late = house.runner.submit(late).await.unwrap().record;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !house.runner.check(late.id()).await.unwrap().execution.phase.is_final() {
        assert!(Instant::now() < deadline, "it is not stopped");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let state = house.healthy(&clicks, 1).await;
    assert_eq!((state.starts, state.run.unwrap().execution.unwrap()), (1, execution.to_string()));
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_the_load_begins_as_its_manifest_says() {
    let house = House::new().await;
    let keeping = house.keeper();
    let mut clicks = stream("one");
    let given = || {
        let all = house.machine.lines("arguments");
        all.into_iter().find_map(|it| Some(it.strip_prefix("spark.executor.instances=")?.to_owned()))
    };
    house.apply(&[&clicks]).await;
    let state = house.healthy(&clicks, 1).await;
    assert_eq!((given().as_deref(), state.run.unwrap().executors), (Some("1"), None));
    clicks.scaled = true;
    house.apply(&[&clicks]).await;
    let state = house.until(&clicks, "another start", |state| state.starts == 2).await;
    assert_eq!(state.run.unwrap().executors, Some(3));
    machine::until(|| (given().as_deref() == Some("3")).then_some(()));
    keeping.leave().await;
    // A determined number of executors overrides the initial number of the manifest.
    let mut stored = house.store.job(&clicks.key()).await.unwrap();
    let why = "it was too busy".to_owned();
    stored.state.scale = Some(Scale { executors: 5, since: Timestamp::now(), why });
    assert!(house.store.save(&clicks.key(), &mut stored, &[], Timestamp::now()).await.unwrap());
    let keeping = house.keeper();
    let state = house.until(&clicks, "a restart", |state| state.starts == 3).await;
    assert_eq!(state.run.unwrap().executors, Some(5));
    machine::until(|| (given().as_deref() == Some("5")).then_some(()));
    assert!(house.events(&clicks).await.contains("run 2 is stopped: it gets another number of executors"));
    keeping.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_backup_goes_on() {
    let house = House::new().await;
    let keeping = house.keeper();
    let clicks = stream("one");
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 1).await;
    house.store.pause(&clicks.key(), true, "ada", Timestamp::now()).await.unwrap();
    house.rests(&clicks).await;
    keeping.leave().await;
    // Restores the state before the first start, as from an old backup.
    let mut stored = house.store.job(&clicks.key()).await.unwrap();
    stored.state = JobState::default();
    assert!(house.store.save(&clicks.key(), &mut stored, &[], Timestamp::now()).await.unwrap());
    house.store.pause(&clicks.key(), false, "ada", Timestamp::now()).await.unwrap();
    let keeping = house.keeper();
    // The first start has the token of the earlier one, whose execution has ended.
    let state = house.until(&clicks, "another start", |state| state.starts == 2).await;
    assert_eq!(state.failures, 1);
    house.healthy(&clicks, 1).await;
    machine::until(|| (house.started() == ["one", "one"]).then_some(()));
    house.no_two_at_once();
    keeping.leave().await;
}

/// Waits until exactly these completions are reported.
async fn until_told(house: &House, wanted: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let page = house.registry.completions(&house.scope, Some(0), None, 0).await.unwrap();
        let told = page.completions.iter().map(|it| format!("{} {} by {}", it.asset, it.partition, it.run));
        let told: Vec<String> = told.collect();
        if told == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{wanted:?} was not told, but {told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_watermark_has_passed_is_told_to_be_complete_once() {
    let house = House::new().await;
    let keeping = house.keeper();
    let mut clicks = stream("one");
    clicks.completes = true;
    let watermark = |text: &str| {
        // The rename makes the whole text visible at once.
        std::fs::write(house.machine.path("next"), text).unwrap();
        std::fs::rename(house.machine.path("next"), house.machine.path("watermark")).unwrap();
    };
    let complete =
        |up_to: &str, state: u64| format!("table:lake.clicks to={up_to} by logistics/clicks-{state}");
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 1).await;
    watermark("2026-11-20T14:30:00.000Z");
    let first = complete("2026-11-20T14:00:00Z", 1);
    until_told(&house, &[&first]).await;
    // If the watermark passes several partitions at once, the report is up to the latest.
    watermark("2026-11-20T16:59:59.999Z");
    let second = complete("2026-11-20T16:00:00Z", 1);
    until_told(&house, &[&first, &second]).await;
    // Another reconciler or another run does not report partitions again.
    keeping.die().await;
    let keeping = house.keeper();
    house.store.restart(&clicks.key(), "ada", Timestamp::now()).await.unwrap();
    house.until(&clicks, "another start", |state| state.starts == 2).await;
    house.healthy(&clicks, 1).await;
    watermark("2026-11-20T17:00:00.000Z");
    let third = complete("2026-11-20T17:00:00Z", 1);
    until_told(&house, &[&first, &second, &third]).await;
    // A stream that starts from nothing writes its partitions again, and reports them again.
    std::fs::remove_file(house.machine.path("watermark")).unwrap();
    clicks.state = 2;
    house.apply(&[&clicks]).await;
    house.healthy(&clicks, 2).await;
    watermark("2026-11-20T14:10:00.000Z");
    let anew = complete("2026-11-20T14:00:00Z", 2);
    until_told(&house, &[&first, &second, &third, &anew]).await;
    keeping.leave().await;
}
