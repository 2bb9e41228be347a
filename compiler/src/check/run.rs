//! Checks that the trigger is valid for the job.

use dcp_model::manifest::{ConcurrencyPolicy, Continuous, Duration, Job, Run, Schedule};

use super::Subject;
use crate::diag::{Code, Diagnostic};

const MIN_INTERVAL: Duration = Duration::from_secs(60);

pub(super) fn check(subject: &mut Subject<'_>) {
    let spec = &subject.manifest.spec;
    match &spec.run {
        Run::Schedule(schedule) => check_schedule(subject, schedule),
        Run::Continuous(continuous) => {
            check_continuous(subject);
            check_long_running(subject, "continuous", "a continuous job");
            completion(subject, continuous);
        }
        Run::Service(_) => {
            check_service(subject);
            check_long_running(subject, "service", "a service");
        }
        Run::OnAssets(_) | Run::Manual(_) | Run::Pool(_) => {}
    }
    checkpoint(subject);
    backoff(subject);
}

fn backoff(subject: &mut Subject<'_>) {
    let retry = &subject.manifest.spec.retry;
    let (first, most) = (&retry.backoff, &retry.max_backoff);
    if first <= most {
        return;
    }
    if subject.has(&["spec", "retry", "maxBackoff"]) {
        let at = subject.at(&["spec", "retry", "maxBackoff"]);
        let message = format!("`maxBackoff` is {most}, and `backoff` is {first}");
        let help = "raise `maxBackoff`, or lower `backoff`";
        subject.problem(Code::BAD_BOUNDS, message, at, "less than the first wait", help);
    } else {
        let at = subject.at(&["spec", "retry", "backoff"]);
        let message = format!("`backoff` is {first}, and `maxBackoff` is {most}, its default");
        let help = format!("lower `backoff`, or add `maxBackoff: {first}` or more");
        subject.problem(Code::BAD_BOUNDS, message, at, "more than the longest wait", help);
    }
}

fn check_schedule(subject: &mut Subject<'_>, schedule: &Schedule) {
    if let Some(every) = schedule.every {
        check_interval(subject, every);
    }
    if let Some(cron) = schedule.cron.as_ref().filter(|cron| !cron.ever_fires()) {
        let at = subject.at(&["spec", "run", "schedule", "cron"]);
        let message = format!("`{cron}` never fires");
        subject.problem(
            Code::NEVER_RUNS,
            message,
            at,
            "no such day comes",
            "correct the day of month or the month",
        );
    }
    if schedule.concurrency_policy == ConcurrencyPolicy::Replace {
        check_replacement(subject, schedule);
    }
    if schedule.catchup && schedule.start_date.is_none() {
        let at = subject.key(&["spec", "run", "schedule", "catchup"]);
        subject.problem(
            Code::BAD_RUN,
            "`catchup` needs a `startDate`",
            at,
            "since when?",
            "add `startDate`, or leave out `catchup`",
        );
    }
}

fn check_replacement(subject: &mut Subject<'_>, schedule: &Schedule) {
    const SCHEDULE: [&str; 3] = ["spec", "run", "schedule"];
    let (message, at, label, help) = if schedule.catchup {
        let at = subject.key(&[&SCHEDULE[..], &["catchup"]].concat());
        let message = "runs that catch up would replace each other";
        (message, at, "starts many at once", "leave out `catchup`, or `concurrencyPolicy`")
    } else if schedule.max_active_runs > 1 {
        let at = subject.key(&[&SCHEDULE[..], &["maxActiveRuns"]].concat());
        let message = "of runs that replace each other, one is under way";
        (message, at, "more than one", "leave out `maxActiveRuns`, or `concurrencyPolicy`")
    } else if subject.manifest.spec.orchestrator.is_some() {
        let at = subject.key(&["spec", "orchestrator", "group"]);
        let message = "runs of a group can't replace each other";
        (message, at, "has several tasks", "leave out `orchestrator`, or `concurrencyPolicy`")
    } else {
        return;
    };
    subject.problem(Code::BAD_RUN, message, at, label, help);
}

/// Checks the interval of a schedule. Airflow starts runs every few seconds at most, and stores their times in
/// seconds.
fn check_interval(subject: &mut Subject<'_>, every: Duration) {
    let (message, help) = match every.millis() {
        millis if millis < MIN_INTERVAL.millis() => (
            format!("`every` is {every}, and the minimum is {MIN_INTERVAL}"),
            "give `1m` or more, or run it by `continuous`",
        ),
        millis if millis % 1_000 != 0 => (
            format!("`every` is {every}, which is not a whole number of seconds"),
            "give whole seconds, such as `90s`",
        ),
        _ => return,
    };
    let at = subject.at(&["spec", "run", "schedule", "every"]);
    subject.problem(Code::OUT_OF_RANGE, message, at, "out of range", help);
}

/// Checks `completes`. Completion requires a watermark, and the watermark of a program is known to the program only.
fn completion(subject: &mut Subject<'_>, continuous: &Continuous) {
    const COMPLETES: [&str; 4] = ["spec", "run", "continuous", "completes"];
    let Some(completes) = &continuous.completes else { return };
    if completes.every.millis() < 1_000 {
        let at = subject.at(&[&COMPLETES[..], &["every"]].concat());
        let message = format!("a stretch of `{}` is too short", completes.every);
        let help = "give at least `1s`; `1h` is each full hour";
        subject.problem(Code::NEVER_COMPLETE, message, at, "shorter than a second", help);
    }
    if let Job::Stream(stream) = &subject.manifest.spec.job
        && stream.watermark.0.is_empty()
    {
        let at = subject.key(&COMPLETES);
        subject.problem(
            Code::NEVER_COMPLETE,
            "without a watermark, it is never known what is complete",
            at,
            "complete up to when?",
            "add `watermark: {source: …, column: …, delay: …}` to `job.stream`",
        );
    }
}

/// Reports fields that are invalid for continuous jobs.
fn check_long_running(subject: &mut Subject<'_>, kind: &str, what: &str) {
    let spec = &subject.manifest.spec;
    if spec.orchestrator.is_some() {
        let (group, run) =
            (subject.key(&["spec", "orchestrator", "group"]), subject.key(&["spec", "run", kind]));
        let diagnostic = Diagnostic::new(Code::BAD_RUN, format!("{what} can't be in a group"))
            .at(group, "Airflow runs the tasks of a group")
            .at(run, "and this is kept running without it")
            .help("leave out `orchestrator`, or run it by `schedule`");
        subject.report(diagnostic);
    }
    if spec.timeouts.run.is_some() {
        let at = subject.key(&["spec", "timeouts", "run"]);
        let help = match kind {
            "service" => "leave it out: a service ends only when it is paused or deleted",
            _ => "leave it out: `run.continuous.health` says when it is stuck",
        };
        subject.problem(Code::BAD_RUN, format!("{what} is never done"), at, "would end it", help);
    }
}

/// Checks the job of a service. Only programs can be services: queries end, and streams have a checkpoint.
fn check_service(subject: &mut Subject<'_>) {
    let spec = &subject.manifest.spec;
    let (message, help) = match &spec.job {
        Job::Pyspark(_) | Job::Jar(_) => return,
        Job::Stream(_) => (
            "a stream needs a checkpoint, which a service does not have",
            "run it by `continuous`: `run: {continuous: {checkpoint: …}}`",
        ),
        Job::Sql(_) => (
            "a `sql` job ends, and can't be a service",
            "run it by `schedule`, or declare it as `job.stream` and run it by `continuous`",
        ),
    };
    let at = subject.key(&["spec", "run", "service"]);
    subject.problem(Code::BAD_RUN, message, at, "for `pyspark` and `jar` jobs only", help);
}

fn check_continuous(subject: &mut Subject<'_>) {
    let spec = &subject.manifest.spec;
    if let Job::Sql(_) = spec.job {
        let at = subject.key(&["spec", "run", "continuous"]);
        let help = "declare it as `job.stream`, or run it by `schedule`";
        subject.problem(Code::BAD_RUN, "a `sql` job ends, and can't be kept running", at, "always", help);
    }
    if let (Job::Stream(_), Run::Continuous(continuous)) = (&spec.job, &spec.run)
        && continuous.state_version.is_some()
    {
        let at = subject.key(&["spec", "run", "continuous", "stateVersion"]);
        let help = "leave it out: what a change means for the checkpoint is read from the query";
        subject.problem(
            Code::BAD_RUN,
            "`stateVersion` is for streams that are programs",
            at,
            "not here",
            help,
        );
    }
}

fn checkpoint(subject: &mut Subject<'_>) {
    let spec = &subject.manifest.spec;
    let Job::Stream(stream) = &spec.job else { return };
    match (&spec.run, &stream.checkpoint) {
        (Run::Continuous(_), Some(_)) => {
            let at = subject.key(&["spec", "job", "stream", "checkpoint"]);
            subject.problem(
                Code::BAD_CHECKPOINT,
                "a continuous stream has its checkpoint under `run.continuous`",
                at,
                "not here",
                "remove it",
            );
        }
        (Run::Continuous(_), None) | (Run::Service(_), _) | (_, Some(_)) => {}
        (run, None) => {
            let at = subject.key(&["spec", "job", "stream"]);
            let message = format!("a stream that runs by `{}` needs a checkpoint", run.kind());
            let help = "add `checkpoint: …` to the stream: each run goes on where the last one ended";
            subject.problem(Code::BAD_CHECKPOINT, message, at, "has none", help);
        }
    }
}
