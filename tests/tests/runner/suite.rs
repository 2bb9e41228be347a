//! Rules of the contract.

mod keys;

use std::collections::HashSet;

use dcp_model::primitive::Fingerprint;
use dcp_runner::api::{Error, Filter, LogPart, LogRequest, Record};
use dcp_runner::execution::{Id, Phase, Transition};
use dcp_runner::request::{Definition, Reference, Submit};
use dcp_runner::streaming::Streaming;
use futures_util::TryStreamExt as _;
use tokio::task::JoinSet;

use crate::{Fixture, submit, wait_for, wait_for_end};

pub(crate) use keys::{
    holders_of_keys_are_listed, implausible_epochs_are_rejected, later_run_replaces_the_holder_of_the_key,
    older_epoch_is_rejected, one_live_execution_holds_a_key,
    runs_of_one_key_never_overlap_and_the_last_one_remains,
};

pub(crate) async fn submitted_execution_ends(fixture: Fixture) {
    let submitted = fixture.runner.submit(submit("one", "work")).await.unwrap();
    assert!(submitted.fresh);
    let record = wait_for_end(&*fixture.runner, submitted.record.id()).await;
    let phases: Vec<Phase> = record.history.iter().map(|it| it.to).collect();
    assert_eq!(phases.first(), Some(&Phase::Submitting));
    assert_eq!(record.execution.phase, Phase::Succeeded, "{record:#?}");
    assert!(record.history.windows(2).all(|pair| pair[0].to == pair[1].from), "{record:#?}");
    assert_eq!(fixture.fake_spark.lines("started"), ["work"]);
}

pub(crate) async fn same_token_gives_one_execution(fixture: Fixture) {
    let first = fixture.runner.submit(submit("one", "work")).await.unwrap();
    let second = fixture.other.submit(submit("one", "work")).await.unwrap();
    assert_eq!((first.record.id(), second.fresh), (second.record.id(), false));
    wait_for_end(&*fixture.runner, first.record.id()).await;
    let late = fixture.runner.submit(submit("one", "work")).await.unwrap();
    assert_eq!((late.record.id(), late.fresh), (first.record.id(), false));
    assert_eq!(late.record.execution.phase, Phase::Succeeded);
    assert_eq!(fixture.fake_spark.lines("started"), ["work"]);
}

pub(crate) async fn reused_token_with_another_request_is_rejected(fixture: Fixture) {
    let first = fixture.runner.submit(submit("one", "work")).await.unwrap();
    let error = fixture.other.submit(submit("one", "other")).await.unwrap_err();
    let Error::TokenReused { id, differences } = &error else { panic!("{error:?}") };
    assert_eq!(id, first.record.id());
    assert_eq!(*differences, ["the parameter `do` was \"work\", and is \"other\""]);
    let keyed = Submit { exclusive: Some("key".to_owned()), ..submit("one", "work") };
    let error = fixture.runner.submit(keyed).await.unwrap_err();
    assert!(error.to_string().contains("the exclusive key was not given, and is \"key\""), "{error}");
    // The caller is not part of the comparison.
    let by = Submit { by: "somebody else".to_owned(), ..submit("one", "work") };
    assert_eq!(fixture.runner.submit(by).await.unwrap().record.id(), first.record.id());
}

pub(crate) async fn concurrent_submits_with_one_token_create_one_execution(fixture: Fixture) {
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let runner = if number % 2 == 0 { fixture.runner.clone() } else { fixture.other.clone() };
        tasks.spawn(async move { runner.submit(submit("one", "work")).await.unwrap() });
    }
    let all = tasks.join_all().await;
    let ids: HashSet<&Id> = all.iter().map(|it| it.record.id()).collect();
    assert_eq!((ids.len(), all.iter().filter(|it| it.fresh).count()), (1, 1));
    wait_for_end(&*fixture.runner, all[0].record.id()).await;
    assert_eq!(fixture.fake_spark.lines("started"), ["work"]);
}

pub(crate) async fn retryable_failure_is_retried(fixture: Fixture) {
    let id = fixture.runner.submit(submit("one", "twice")).await.unwrap().record.id().clone();
    let record = wait_for_end(&*fixture.other, &id).await;
    assert_eq!(record.execution.phase, Phase::Succeeded, "{record:#?}");
    assert_eq!(record.execution.attempts.len(), 2);
    let diagnosis = record.execution.attempts[0].diagnosis.as_ref().unwrap();
    assert!(diagnosis.summary.contains("killed"), "{diagnosis:?}");
    assert!(record.history.iter().any(|it| it.to == Phase::Retrying && it.why.contains("in 1 s")));
    assert_eq!(fixture.fake_spark.lines("started"), ["twice", "twice"]);
}

pub(crate) async fn program_failure_is_reported_with_evidence(fixture: Fixture) {
    let id = fixture.runner.submit(submit("one", "fail")).await.unwrap().record.id().clone();
    let record = wait_for_end(&*fixture.runner, &id).await;
    assert_eq!(record.execution.phase, Phase::Failed);
    let last = record.execution.attempts.last().unwrap();
    assert_eq!(last.end.as_ref().unwrap().exit_code, Some(1));
    let diagnosis = last.diagnosis.as_ref().unwrap();
    assert!(diagnosis.evidence.iter().any(|line| line.contains("Exception in thread main")), "{record:#?}");
}

pub(crate) async fn cancelled_execution_stops(fixture: Fixture) {
    let id = fixture.runner.submit(submit("one", "wait")).await.unwrap().record.id().clone();
    fixture.fake_spark.wait_for_line("started");
    wait_for(&*fixture.runner, &id, |record| record.execution.phase == Phase::Running).await;
    let asked = fixture.runner.cancel(&id, "tester").await.unwrap();
    assert_eq!(asked.execution.phase, Phase::Cancelling);
    let again = fixture.runner.cancel(&id, "tester").await.unwrap();
    let times = again.history.iter().filter(|it| it.why.contains("cancelled by tester")).count();
    assert_eq!(times, 1, "{again:#?}");
    let record = wait_for_end(&*fixture.runner, &id).await;
    // A driver that exits with 0 because it was asked to stop has not done all of its work.
    let end = record.execution.attempts.last().unwrap().end.as_ref().unwrap();
    assert_eq!((record.execution.phase, end.stopped, end.exit_code), (Phase::Cancelled, true, Some(0)));
    assert_eq!(fixture.fake_spark.lines("stopped"), ["wait"]);
    let late = fixture.runner.cancel(&id, "tester").await.unwrap();
    assert_eq!(late.execution, record.execution);
}

pub(crate) async fn another_runner_can_cancel(fixture: Fixture) {
    let id = fixture.runner.submit(submit("one", "wait")).await.unwrap().record.id().clone();
    wait_for(&*fixture.runner, &id, |record| record.execution.phase == Phase::Running).await;
    fixture.other.cancel(&id, "tester").await.unwrap();
    wait_for_end(&*fixture.other, &id).await;
    assert_eq!(fixture.fake_spark.lines("stopped"), ["wait"]);
}

pub(crate) async fn check_sees_the_writes_of_another_runner(fixture: Fixture) {
    let id = fixture.runner.submit(submit("one", "wait")).await.unwrap().record.id().clone();
    // From here on, the other Runner has the record in memory.
    wait_for(&*fixture.other, &id, |record| record.execution.phase == Phase::Running).await;
    let written = fixture.runner.cancel(&id, "tester").await.unwrap();
    let read = fixture.other.check(&id).await.unwrap();
    assert_ne!(read.execution.phase, Phase::Running);
    assert!(read.history.starts_with(&written.history), "{read:#?}");
}

pub(crate) async fn executions_are_listed_in_pages(fixture: Fixture) {
    let mut ids = Vec::new();
    for number in 0..5 {
        let what = if number == 2 { "wait" } else { "work" };
        let submitted = fixture.runner.submit(submit(&format!("t{number}"), what)).await.unwrap();
        ids.push(submitted.record.id().clone());
        // Ids of the same millisecond have no order.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    ids.reverse();
    let mut listed = Vec::new();
    let filter =
        Filter { domain: Some("tests".to_owned()), name: Some("job".to_owned()), ..Filter::default() };
    loop {
        let page = fixture.other.list(&filter, listed.last(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|it| it.id().clone()));
    }
    assert_eq!(listed, ids);
    for number in [0, 1, 3, 4] {
        wait_for_end(&*fixture.runner, &ids[number]).await;
    }
    let live = Filter { phases: dcp_runner::api::live(), ..Filter::default() };
    let live: Vec<Id> =
        fixture.runner.list(&live, None, 10).await.unwrap().iter().map(|it| it.id().clone()).collect();
    assert_eq!(live, [ids[2].clone()]);
    let none = Filter { name: Some("another".to_owned()), ..Filter::default() };
    assert_eq!(fixture.runner.list(&none, None, 10).await.unwrap(), []);
    fixture.runner.cancel(&ids[2], "tester").await.unwrap();
    wait_for_end(&*fixture.runner, &ids[2]).await;
}

pub(crate) async fn watch_streams_all_transitions(fixture: Fixture) {
    let id = fixture.runner.submit(submit("one", "twice")).await.unwrap().record.id().clone();
    let here = fixture.runner.watch(&id, 0).try_collect::<Vec<Transition>>();
    let there = fixture.other.watch(&id, 1).try_collect::<Vec<Transition>>();
    let (here, there) = tokio::join!(here, there);
    let record = wait_for_end(&*fixture.runner, &id).await;
    assert_eq!(here.unwrap(), record.history);
    assert_eq!(there.unwrap(), record.history[1..]);
}

pub(crate) async fn logs_are_followed_through_all_attempts(fixture: Fixture) {
    let id = fixture.runner.submit(submit("one", "twice")).await.unwrap().record.id().clone();
    let text = |parts: Vec<LogPart>| -> Vec<(u32, String)> {
        let mut texts: Vec<(u32, String)> = Vec::new();
        for part in parts {
            let text = String::from_utf8(part.bytes).unwrap();
            match texts.last_mut().filter(|(attempt, _)| *attempt == part.attempt) {
                Some((_, listed)) => listed.push_str(&text),
                None => texts.push((part.attempt, text)),
            }
        }
        texts
    };
    let follow = LogRequest { follow: true, ..LogRequest::default() };
    let parts: Vec<LogPart> = fixture.other.logs(&id, follow).try_collect().await.unwrap();
    let line = "the driver says twice\n".to_owned();
    assert_eq!(text(parts), [(1, line.clone()), (2, line.clone())]);
    let parts = fixture.runner.logs(&id, LogRequest::default()).try_collect().await.unwrap();
    assert_eq!(text(parts), [(2, line.clone())]);
    let first = LogRequest { attempt: Some(1), after: "4".parse().unwrap(), follow: true };
    let parts = fixture.runner.logs(&id, first).try_collect().await.unwrap();
    assert_eq!(text(parts), [(1, line[4..].to_owned())]);
    let none = LogRequest { attempt: Some(7), ..LogRequest::default() };
    let error = fixture.runner.logs(&id, none).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("has no attempt 7: it had 2 so far"), "{error}");
}

/// Checks the field and the message of a rejection.
async fn assert_invalid(fixture: &Fixture, submit: Submit, field: &str, says: &str) {
    let error = fixture.runner.submit(submit).await.unwrap_err();
    let Error::Invalid { field: found, message } = &error else { panic!("{error:?}") };
    assert_eq!(found, field, "{message}");
    assert!(message.contains(says), "{message}");
}

/// Checks that rejected submits are not stored.
async fn assert_empty(fixture: &Fixture) {
    assert_eq!(fixture.runner.list(&Filter::default(), None, 10).await.unwrap(), []);
    assert_eq!(fixture.fake_spark.lines("started"), [""; 0]);
}

pub(crate) async fn invalid_submits_are_rejected(fixture: Fixture) {
    let invalid = async |submit, field, says| assert_invalid(&fixture, submit, field, says).await;
    invalid(submit("", "work"), "token", "1 to 128 visible ASCII").await;
    invalid(submit(&"x".repeat(129), "work"), "token", "1 to 128").await;
    let mut unknown = submit("a", "work");
    unknown.parameters.insert("day".to_owned(), "2026-01-01".to_owned());
    invalid(unknown.clone(), "parameters.day", "the job has no parameter `day`: it has `do`").await;
    let mut long = submit("a", "work");
    long.parameters.insert("do".to_owned(), "x".repeat(300 << 10));
    invalid(long, "parameters", "256 KiB").await;
    assert_empty(&fixture).await;
    // A valid job may still have invalid parameters.
    fixture.runner.submit(submit("good", "work")).await.unwrap();
    invalid(unknown, "parameters.day", "the job has no parameter `day`").await;
}

pub(crate) async fn jobs_that_cannot_run_are_rejected(fixture: Fixture) {
    let invalid = async |job: Definition, field, says| {
        assert_invalid(&fixture, Submit { job, ..submit("a", "work") }, field, says).await;
    };
    let mut missing = crate::job();
    if let dcp_model::manifest::Job::Pyspark(program) = &mut missing.job {
        program.main = serde_json::from_str("\"missing.py\"").unwrap();
    }
    invalid(missing.into(), "job", "missing.py` does not exist").await;
    let mut elsewhere = crate::job();
    elsewhere.placement.backends = vec![dcp_model::manifest::Backend::Emr];
    invalid(elsewhere.into(), "job.placement.backends", "may run on emr, and this Runner has local").await;
    let mut newer = crate::job();
    newer.engine.version = "9.9".to_owned();
    invalid(newer.into(), "job", "Spark 9.9").await;
    let applied = Reference {
        scope: "shop".to_owned(),
        domain: "tests".to_owned(),
        name: "job".to_owned(),
        fingerprint: Some(Fingerprint::of("")),
    };
    invalid(Definition::Applied(applied), "job", "no registry").await;
    assert_empty(&fixture).await;
}

pub(crate) async fn orders_and_checkpoints_without_their_key_are_rejected(fixture: Fixture) {
    let invalid = async |submit, field, says| assert_invalid(&fixture, submit, field, says).await;
    let streaming = Some(Streaming {
        trigger: Some(dcp_model::manifest::Trigger::default()),
        checkpoint: Some("/lake/c".to_owned()),
        state: Some(1),
        grace: None,
        executors: None,
    });
    invalid(Submit { order: Some(1), ..submit("a", "work") }, "order", "needs `exclusive`").await;
    let nowhere = streaming.clone().map(|it| Streaming { checkpoint: None, ..it });
    for (streaming, exclusive) in [(streaming, Some("another".to_owned())), (nowhere, None)] {
        let unheld = Submit { streaming, exclusive, ..submit("a", "work") };
        invalid(unheld, "exclusive", "has to be the checkpoint").await;
    }
    assert_empty(&fixture).await;
}

/// A stream gets the stored checkpoint of its state version; a checkpoint of another version is moved away before.
pub(crate) async fn checkpoint_is_prepared_before_the_start(fixture: Fixture) {
    let checkpoint = fixture.fake_spark.path("lake/clicks").to_str().unwrap().to_owned();
    let stream = |token: &str, state: u64| {
        let trigger = dcp_model::manifest::Trigger::default();
        let (state, grace) = (Some(state), Some(serde_json::from_str("\"7s\"").unwrap()));
        let streaming = Some(Streaming {
            trigger: Some(trigger),
            checkpoint: Some(checkpoint.clone()),
            state,
            grace,
            executors: None,
        });
        Submit { streaming, exclusive: Some(checkpoint.clone()), ..submit(token, "work") }
    };
    let first = fixture.runner.submit(stream("one", 1)).await.unwrap().record;
    assert_eq!(first.execution.policy.stop_seconds, 7, "the stream has its own grace period");
    assert_eq!(wait_for_end(&*fixture.runner, first.id()).await.history[1].to, Phase::Pending);
    std::fs::write(fixture.fake_spark.path("lake/clicks/metadata"), "of revision 1").unwrap();
    let second = fixture.other.submit(stream("two", 4)).await.unwrap().record;
    let why = &wait_for_end(&*fixture.runner, second.id()).await.history[1].why;
    assert!(why.contains("the checkpoint's state of revision 1 was set aside"), "{why}");
    assert!(!fixture.fake_spark.path("lake/clicks/metadata").exists());
    let third = fixture.runner.submit(stream("three", 1)).await.unwrap().record;
    let why = &wait_for_end(&*fixture.runner, third.id()).await.history[1].why;
    assert!(why.contains("state of revision 1 was put back"), "{why}");
    assert_eq!(
        std::fs::read_to_string(fixture.fake_spark.path("lake/clicks/metadata")).unwrap(),
        "of revision 1"
    );
    // If the checkpoint can't be prepared, the execution waits for a repair and is not started.
    std::fs::write(fixture.fake_spark.path("lake/clicks/_dcp_state.json"), "{}").unwrap();
    let fourth = fixture.other.submit(stream("four", 1)).await.unwrap().record;
    let waits =
        |it: &Record| it.execution.waiting.as_deref().is_some_and(|why| why.contains("_dcp_state.json"));
    let record = wait_for(&*fixture.runner, fourth.id(), waits).await;
    assert_eq!(record.execution.phase, Phase::Submitting);
    // The execution holds the key while the preparation may still move files.
    let cancelled = fixture.runner.cancel(fourth.id(), "tester").await.unwrap();
    assert_eq!(cancelled.execution.phase, Phase::Cancelling);
    assert_eq!(wait_for_end(&*fixture.runner, fourth.id()).await.execution.phase, Phase::Cancelled);
    assert_eq!(fixture.fake_spark.lines("started"), ["work", "work", "work"]);
}

/// Each of many concurrent submits gets its own response.
pub(crate) async fn concurrent_submits_get_their_own_responses(fixture: Fixture) {
    fixture.runner.submit(submit("early", "work")).await.unwrap();
    let asked = |number: usize| match number % 4 {
        // Each of these is submitted twice.
        0 | 1 => submit(&format!("new-{}", number / 4), "work"),
        2 => submit("early", if number % 8 == 2 { "work" } else { "other" }),
        _ => Submit { exclusive: Some("key".to_owned()), ..submit(&format!("keyed-{number}"), "wait") },
    };
    let all = futures_util::future::join_all((0..64).map(|number| {
        let runner = if number % 8 < 4 { &fixture.runner } else { &fixture.other };
        runner.submit(asked(number))
    }));
    let mut counts = [0; 5];
    for (number, answer) in all.await.into_iter().enumerate() {
        let kind = match (number % 4, &answer) {
            (0 | 1, Ok(it)) if it.fresh => 0,
            (0 | 1, Ok(_)) => 1,
            (2, Ok(it)) if number % 8 == 2 => usize::from(!it.fresh) * 2,
            (2, Err(Error::TokenReused { .. })) if number % 8 != 2 => 3,
            (3, Ok(it)) if it.fresh => 4,
            (3, Err(Error::Held { .. })) => continue,
            _ => panic!("{number}: {answer:?}"),
        };
        counts[kind] += 1;
    }
    assert_eq!(counts, [16, 16, 8, 8, 1]);
    assert_eq!(fixture.runner.list(&Filter::default(), None, 100).await.unwrap().len(), 18);
}

pub(crate) async fn unknown_execution_is_not_found(fixture: Fixture) {
    let id = Id::parse("0nothing").unwrap();
    for error in [
        fixture.runner.check(&id).await.unwrap_err(),
        fixture.runner.cancel(&id, "tester").await.unwrap_err(),
        fixture.runner.watch(&id, 0).try_collect::<Vec<_>>().await.unwrap_err(),
        fixture.runner.logs(&id, LogRequest::default()).try_collect::<Vec<_>>().await.unwrap_err(),
    ] {
        assert!(matches!(&error, Error::NotFound(said) if said.contains("0nothing")), "{error:?}");
    }
}
