//! Continuous jobs, for people and for programs.

use clap::builder::styling::Style;
use dcp_reconciler::reconcile::store::Event;
use dcp_reconciler::reconcile::{Condition, JobStatus, Stopping};
use dcp_runner::progress::Progress;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json as value};

use super::run::{format_duration, format_duration_short, time};
use super::{NamedRow, aligned_with_names, hanging, sanitize, titled};
use crate::jobs::Overview;
use crate::out::{BOLD, DIM, ERROR, GOOD, Look, NOTE, WARNING};

/// The message if no reconciler is running.
pub(crate) const NO_RECONCILER: &str =
    "no reconciler is running, so nothing will change; run `dcp up` or `dcp serve reconciler`";

/// Describes a condition.
pub(crate) fn describe_condition(condition: &Condition, now: Timestamp) -> String {
    match condition {
        Condition::Deleted => "is deleted".to_owned(),
        Condition::Paused => "is paused".to_owned(),
        Condition::Unknown => "is not known: the Runner can't be asked".to_owned(),
        Condition::Starting => "starts".to_owned(),
        Condition::Held { by } => format!("waits for {by} to end, which runs in its place"),
        Condition::Healthy => "is healthy".to_owned(),
        Condition::Silent => "runs, and reports no progress".to_owned(),
        Condition::Stopping(why) => match why {
            Stopping::Replaced => "is stopped: another revision takes its place",
            Stopping::Paused => "is stopped: it is to be paused",
            Stopping::Deleted => "is stopped: it was deleted",
            Stopping::Restarted => "is stopped: it is to be restarted",
            Stopping::Resized => "is stopped: it gets another number of executors",
            Stopping::Unhealthy => "is stopped: it is not healthy",
        }
        .to_owned(),
        Condition::BackingOff { until } => {
            format!("has failed, and is started again in {}", format_duration(until.duration_since(now)))
        }
    }
}

pub(crate) fn condition_label(job: &JobStatus) -> (&'static str, Style) {
    match &job.condition {
        // Declared, but not started by a reconciler yet.
        Condition::Starting if job.state.run.is_none() => ("not started", NOTE),
        Condition::Deleted => ("deleted", NOTE),
        Condition::Paused => ("paused", NOTE),
        Condition::Unknown => ("unknown", WARNING),
        Condition::Starting => ("starting", NOTE),
        Condition::Held { .. } => ("waiting", WARNING),
        Condition::Healthy => ("healthy", GOOD),
        Condition::Silent => ("running", NOTE),
        Condition::Stopping(_) => ("stopping", WARNING),
        Condition::BackingOff { .. } => ("degraded", ERROR),
    }
}

/// Formats a number with a unit prefix.
pub(crate) fn format_amount(number: f64) -> String {
    match number {
        it if it >= 999_950.0 => format!("{:.1}M", it / 1e6),
        it if it >= 999.5 => format!("{:.1}k", it / 1e3),
        it if it >= 99.95 || it.fract().abs() < 0.05 => format!("{it:.0}"),
        it => format!("{it:.1}"),
    }
}

/// Returns the running revision, and the declared one if it differs.
fn revision(job: &JobStatus) -> String {
    let desired = job.desired.as_ref().map(|it| it.version.revision);
    let runs = job.state.run.as_ref().map(|run| run.version.revision);
    match (runs, desired) {
        (Some(runs), Some(desired)) if runs != desired => format!("{runs} → {desired}"),
        (Some(one), _) | (None, Some(one)) => one.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn millis(millis: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "nobody reads more digits than are right")]
fn whole_number(number: u64) -> String {
    format_amount(number as f64)
}

pub(crate) fn table(overview: &Overview, look: Look) -> Vec<String> {
    let mut lines = warnings(overview, look);
    match (overview.jobs.is_empty(), overview.pools.is_empty()) {
        (true, true) if overview.applied_pools.is_empty() => {
            lines.push("there are no continuous jobs and no pools".to_owned());
        }
        (true, true) if overview.pools_error.is_none() => {
            lines.push("no reconciler has read the applied pools yet".to_owned());
        }
        (false, _) => lines.extend(job_table(overview, look)),
        (true, _) => {}
    }
    if !overview.pools.is_empty() {
        lines.extend((!overview.jobs.is_empty()).then(String::new));
        lines.extend(super::pools::pools(&overview.pools, look, overview.now));
    }
    lines
}

fn job_table(overview: &Overview, look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    let head = ["WORKLOAD", "CONDITION", "REVISION", "INPUT", "PROCESS", "BATCH", "LAG", "STARTS"]
        .map(str::to_owned);
    let row = |job: &JobStatus| {
        let of = |what: fn(&Progress) -> Option<String>| {
            job.progress.as_ref().and_then(what).unwrap_or_else(|| "-".to_owned())
        };
        [
            workload(job),
            condition_label(job).0.to_owned(),
            revision(job),
            of(|it| Some(format!("{}/s", format_amount(it.input_rate)))),
            of(|it| (it.processing_rate > 0.0).then(|| format!("{}/s", format_amount(it.processing_rate)))),
            of(|it| (it.batches > 0).then(|| format_duration_short(millis(it.batch_millis)))),
            of(|it| it.lag.map(whole_number)),
            job.state.starts.to_string(),
        ]
    };
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(overview.jobs.iter().map(row)).collect();
    for (index, NamedRow { name, mut cells }) in
        aligned_with_names(&rows, look.limit()).into_iter().enumerate()
    {
        lines.extend(name);
        let job = index.checked_sub(1).and_then(|index| overview.jobs.get(index));
        match job {
            None => cells.iter_mut().for_each(|cell| *cell = look.paint(BOLD, &cell)),
            Some(job) => cells[1] = look.paint(condition_label(job).1, &cells[1]),
        }
        lines.push(cells.join("  ").trim_end().to_owned());
        let problems = job.into_iter().flat_map(|job| problems(job, overview.now));
        lines.extend(problems.map(|it| hanging("  ", &it, look)));
    }
    lines
}

fn workload(job: &JobStatus) -> String {
    sanitize(&format!("{}/{}", job.address.domain, job.address.name))
}

/// Returns the warnings that concern all jobs.
fn warnings(overview: &Overview, look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    let mut warn = |text: String| lines.push(titled(0, "warning:", WARNING, &text, look));
    if overview.has_no_reconciler() {
        warn(NO_RECONCILER.to_owned());
    }
    if let Some(why) = &overview.runner_error {
        warn(format!("the Runner can't be asked: {}", sanitize(why)));
    }
    if let Some(why) = &overview.pools_error {
        warn(format!("the pools are not known: {}", sanitize(why)));
    }
    lines
}

/// Returns the problems of a job.
fn problems(job: &JobStatus, now: Timestamp) -> Vec<String> {
    let state = &job.state;
    let mut lines = Vec::new();
    if let Some(it) = &state.given_up {
        lines.push(format!("revision {} was given up: {}", it.build, sanitize(&it.why)));
    }
    match &job.condition {
        Condition::BackingOff { .. } | Condition::Held { .. } => {
            lines.push(describe_condition(&job.condition, now));
        }
        _ => {}
    }
    let is_reported = state.given_up.as_ref().is_some_and(|it| Some(&it.why) == state.failure.as_ref());
    if let Some(failure) = state.failure.as_ref().filter(|_| !is_reported) {
        let times = match state.failures {
            0 | 1 => String::new(),
            times => format!(" ({times} times)"),
        };
        lines.push(format!("failed{times}: {}", sanitize(failure)));
    }
    lines
}

pub(crate) fn details(overview: &Overview, events: &[Event], look: Look) -> Vec<String> {
    let mut lines = warnings(overview, look);
    let now = overview.now;
    for job in &overview.jobs {
        let (name, style) = condition_label(job);
        lines.push(format!("{}  {}", look.paint(BOLD, workload(job)), look.paint(style, name)));
        let mut field = |name: &str, value: String| {
            lines.push(hanging(&format!("  {name:<11}"), &sanitize(&value), look));
        };
        field("revision", revision(job));
        if let Some(checkpoint) = job.desired.as_ref().and_then(|it| it.version.checkpoint.clone()) {
            field("checkpoint", checkpoint);
        }
        let paused = (job.requested.paused, job.desired.as_ref().is_some_and(|it| it.paused));
        match paused {
            (true, _) => field("paused", "by `dcp pause`; `dcp resume` has it go on".to_owned()),
            (false, true) => field("paused", "by its manifest".to_owned()),
            (false, false) => {}
        }
        if let Some(run) = &job.state.run {
            let execution = run.execution.as_deref().unwrap_or("not submitted yet");
            let since = format_duration(now.duration_since(run.begun));
            field("run", format!("{}, for {since}, as {execution}", run.number));
        }
        if let Some(line) = describe_scaling(job) {
            field("executors", line);
        }
        if let Some(progress) = &job.progress {
            for (name, value) in progress_fields(progress, now) {
                field(name, value);
            }
        }
        for problem in problems(job, now) {
            field("", problem);
        }
    }
    lines.push(String::new());
    lines.extend(self::events(events, look));
    lines
}

/// Describes the scaling of a job's executors.
fn describe_scaling(job: &JobStatus) -> Option<String> {
    let scaling = job.desired.as_ref()?.scaling.as_ref()?;
    let now = scaling.executors_for(job.state.scale.as_ref());
    let Some(busy) = scaling.utilization(job.progress.as_ref().map_or(0, |it| it.batch_millis)) else {
        return Some(format!("{now}: utilization is known for triggers of `every` only"));
    };
    let changed = job.state.scale.as_ref().map(|it| format!("; since {}: {}", time(it.since), it.why));
    let (target, changed) = (scaling.target, changed.unwrap_or_default());
    Some(format!(
        "{now}, of {} to {}; busy for {busy} %, to be for {target} %{changed}",
        scaling.least, scaling.most
    ))
}

/// Describes the difference between the scaled size and the manifest's.
pub(crate) fn describe_resize(job: &JobStatus) -> Option<String> {
    let scaling = job.desired.as_ref()?.scaling.as_ref()?;
    let (now, first) = (scaling.executors_for(job.state.scale.as_ref()), scaling.executors_for(None));
    (now != first).then(|| format!("{now} executors, where the manifest begins with {first}"))
}

fn progress_fields(progress: &Progress, now: Timestamp) -> Vec<(&'static str, String)> {
    let Progress { queries, last_activity, batches, rows, input_rate, processing_rate, batch_millis, .. } =
        progress;
    let Progress { lag, watermark, state_rows, state_bytes, .. } = progress;
    let ago = |at: &Timestamp| format!("{} ago", format_duration(now.duration_since(*at)));
    let mut fields = Vec::new();
    let Some(last) = last_activity else { return vec![("batches", "none yet".to_owned())] };
    if *batches == 0 {
        return vec![("batches", format!("none yet: there was nothing to read {}", ago(last)))];
    }
    let several = if *queries == 1 { String::new() } else { format!(" of {queries} queries") };
    let (number, rows) = (whole_number(*batches), whole_number(*rows));
    fields.push(("batches", format!("{number}{several}, with {rows} rows; last poll {}", ago(last))));
    let takes = format_duration(millis(*batch_millis));
    fields.push((
        "rate",
        format!(
            "input {} rows/s, processing {} rows/s; batch duration {takes}",
            format_amount(*input_rate),
            format_amount(*processing_rate)
        ),
    ));
    if let Some(lag) = lag {
        fields.push(("lag", format!("{} records", whole_number(*lag))));
    }
    if let Some(watermark) = watermark {
        fields.push(("watermark", format!("{}, {}", time(*watermark), ago(watermark))));
    }
    if *state_rows > 0 {
        fields
            .push(("state", format!("{} rows, {}B", whole_number(*state_rows), whole_number(*state_bytes))));
    }
    fields
}

pub(crate) fn events(events: &[Event], look: Look) -> Vec<String> {
    // Newest last, next to the prompt.
    let line = |it: &Event| titled(0, &format!("{} ", time(it.at)), DIM, &sanitize(&it.message), look);
    events.iter().rev().map(line).collect()
}

/// Returns the same data for programs.
pub(crate) fn json(overview: &Overview) -> Value {
    let job = |job: &JobStatus| {
        let state = &job.state;
        value!({
            "workload": format!("{}/{}", job.address.domain, job.address.name),
            "condition": condition_label(job).0,
            "says": describe_condition(&job.condition, overview.now),
            "desired": job.desired,
            "requested": job.requested,
            "state": state,
            "progress": job.progress,
        })
    };
    let leader = overview.leader.as_ref().map(|it| value!({"epoch": it.epoch, "heartbeat": it.heartbeat}));
    let jobs: Vec<_> = overview.jobs.iter().map(job).collect();
    let mut status = value!({"reconciler": leader, "jobs": jobs, "pools": overview.pools});
    if let Some(why) = &overview.pools_error {
        status["poolsError"] = value!(why);
    }
    status
}

#[cfg(test)]
mod tests {
    use dcp_model::primitive::{Address, Kind};
    use dcp_reconciler::reconcile::{Convergence, JobState, Requested};
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    /// Returns a job with all values set, and the longest usual ones.
    fn job(domain: &str, name: &str, now: Timestamp) -> JobStatus {
        let version =
            value!({"revision": 999, "build": 999, "state": 999, "job": "0".repeat(64), "grace": 60});
        let desired =
            value!({"version": version, "paused": false, "onUnhealthy": "rollback", "startWithin": 600});
        let mut run = value!({"number": 10_000, "version": version, "begun": now});
        run["version"]["revision"] = value!(998);
        let failure = "the driver ended with exit code 52: OutOfMemoryError; ".repeat(3);
        let state = value!({"run": run, "starts": 10_000, "failures": 12, "failure": failure});
        let progress = value!({
            "queries": 1, "lastActivity": now, "batches": 99_999, "rows": 9_999_999, "inputRate": 999_900.0,
            "processingRate": 999_900.0, "batchMillis": 7_199_000, "lag": 999_900,
        });
        let state: JobState = serde_json::from_value(state).expect("it is a state");
        let address = Address { domain: domain.to_owned(), name: name.to_owned(), kind: Kind::ContinuousJob };
        let desired = serde_json::from_value(desired).expect("it is declared");
        JobStatus {
            address,
            desired: Some(desired),
            requested: Requested::default(),
            state,
            condition: Condition::BackingOff { until: now },
            convergence: Convergence::Failed,
            runs: false,
            progress: Some(serde_json::from_value(progress).expect("it is progress")),
        }
    }

    #[test]
    fn status_fits_80_columns_with_long_values() {
        let now = Timestamp::UNIX_EPOCH;
        let name = "orders-of-all-customers-by-day";
        let jobs = vec![job("shop", "orders", now), job("logistics", name, now)];
        let why = Some("no route ".repeat(20));
        let (pools, applied_pools, pools_error) = (Vec::new(), Vec::new(), why.clone());
        let overview =
            Overview { jobs, leader: None, runner_error: why, pools, applied_pools, pools_error, now };
        let look = Look { color: false, width: 80, terminal: true, animated: false };
        for shown in [table(&overview, look), details(&overview, &[], look)] {
            let shown = shown.join("\n");
            assert!(shown.lines().all(|line| line.width() <= 80), "{shown}");
            assert!(shown.contains(&format!("\nlogistics/{name}")), "{shown}");
            assert_eq!(shown.matches("OutOfMemoryError").count(), 6, "{shown}");
        }
        let lines = table(&overview, look);
        let rows: Vec<&String> = lines.iter().filter(|line| line.contains("119m59s")).collect();
        let row = "  degraded   998 → 999  999.9k/s  999.9k/s  119m59s  999.9k  10000";
        assert_eq!(rows, [&format!("shop/orders{row}"), &format!("           {row}")]);
    }

    #[test]
    fn numbers_have_unit_prefixes() {
        let all = [0.0, 1.0, 0.25, 12.34, 99.99, 100.4, 999.4, 1234.0, 999_949.0, 1_234_567.0];
        assert_eq!(
            all.map(format_amount),
            ["0", "1", "0.2", "12.3", "100", "100", "999", "1.2k", "999.9k", "1.2M"]
        );
    }
}
