//! Executions, for people.

use std::collections::BTreeMap;

use clap::builder::styling::Style;
use dcp_gateway::{Addresses, End};
use dcp_runner::api::Record;
use dcp_runner::execution::{Adjustment, Attempt, Phase, Transition};
use jiff::{SignedDuration, Timestamp};

use crate::out::{BOLD, DIM, ERROR, GOOD, Look, NOTE, WARNING};
use crate::render::{NamedRow, aligned_with_names, hanging, sanitize, titled};

/// A line about a transition: a mark, a word, and the rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) mark: char,
    pub(crate) word: String,
    pub(crate) text: String,
}

impl Line {
    fn new(mark: char, word: impl Into<String>, text: impl Into<String>) -> Self {
        Self { mark, word: word.into(), text: text.into() }
    }

    pub(crate) fn painted(&self, look: Look) -> String {
        let style = match self.mark {
            '✓' => GOOD,
            '✗' => ERROR,
            '↻' => WARNING,
            _ => NOTE,
        };
        let word = format!("{:<11}", self.word);
        let begin = format!("{} {word} ", look.paint(style, self.mark));
        hanging(&begin, &sanitize(&self.text), look).trim_end().to_owned()
    }
}

/// Describes a transition of an execution.
pub(crate) fn step(transition: &Transition, record: &Record) -> Vec<Line> {
    let Transition { from, to, attempt, why, at } = transition;
    let number = usize::try_from(*attempt).unwrap_or_default();
    let present = number.checked_sub(1).and_then(|index| record.execution.attempts.get(index));
    match to {
        Phase::Queued | Phase::Pending => Vec::new(),
        Phase::Submitting if from == to => vec![Line::new('·', "prepared", why)],
        Phase::Submitting => submitted(*attempt, present, record),
        Phase::Running => {
            let since = present.map(|it| at.duration_since(it.begun)).unwrap_or_default();
            let text = format!("the driver started after {}", format_duration(since));
            vec![Line::new('✓', "running", text)]
        }
        Phase::Retrying => {
            let next = record.execution.attempts.get(number);
            let next = next.map_or(&record.execution.adjusted, |next| &next.adjusted);
            present.map(failed).into_iter().chain(retried(present, next, why)).collect()
        }
        Phase::Failed => {
            present.map(failed).into_iter().chain([failed_finally(present, record, why)]).collect()
        }
        Phase::Cancelling => vec![Line::new('·', "stopping", why.clone())],
        Phase::Succeeded => {
            let since = present.and_then(|it| it.running).map(|running| at.duration_since(running));
            let since = since.map(|it| format!(" in {}", format_duration(it))).unwrap_or_default();
            vec![Line::new('✓', "succeeded", format!("attempt {attempt}{since}"))]
        }
        Phase::Cancelled => {
            let before = if *from == Phase::Cancelling { why.as_str() } else { "nothing was started" };
            vec![Line::new('✗', "cancelled", before)]
        }
    }
}

type Adjustments = BTreeMap<String, Adjustment>;

/// Describes the submit of an attempt, with the sizes of the first one.
fn submitted(number: u32, attempt: Option<&Attempt>, record: &Record) -> Vec<Line> {
    let on = attempt.map(|it| it.backend.name()).unwrap_or_default();
    let adjusted = attempt.filter(|_| number == 1).map(|it| &it.adjusted);
    let sized = adjusted
        .into_iter()
        .flatten()
        .map(|(key, Adjustment { value, why })| Line::new('·', "sized", format!("{key} {value}: {why}")));
    let text = format!("{}  attempt {number} on {on}", record.id());
    sized.chain([Line::new('✓', "submitted", text)]).collect()
}

/// Describes the next attempt after a failed one, with its remedies.
fn retried(failed: Option<&Attempt>, next: &Adjustments, why: &str) -> Vec<Line> {
    let had = failed.map(|it| &it.adjusted);
    let changed =
        |(key, adjustment): &(&String, &Adjustment)| had.and_then(|had| had.get(*key)) != Some(*adjustment);
    let remedies = next
        .iter()
        .filter(changed)
        .map(|(key, Adjustment { value, why })| Line::new('↻', "remedy", format!("{key} {value}: {why}")));
    let rest = why.rsplit_once("; ").map_or(why, |(_, rest)| rest);
    remedies.chain([Line::new('↻', "again", rest)]).collect()
}

/// Describes an execution without another attempt.
fn failed_finally(last: Option<&Attempt>, record: &Record, why: &str) -> Line {
    let total = record.execution.ended.map(|ended| ended.duration_since(record.execution.created));
    let total = total.map(|it| format!(" after {}", format_duration(it))).unwrap_or_default();
    let diagnosis = last.and_then(|it| it.diagnosis.as_ref());
    let rest = diagnosis.and_then(|it| why.strip_prefix(it.summary.as_str()));
    let rest = rest.map_or(format!(": {why}"), |rest| rest.replacen("; ", ": ", 1));
    Line::new('✗', "failed", format!("{}{total}{rest}", record.id()))
}

fn failed(attempt: &Attempt) -> Line {
    let how = match &attempt.end {
        Some(End { exit_code: Some(code), .. }) => format!(" (exit code {code})"),
        Some(End { signal: Some(signal), .. }) => format!(" (signal {signal})"),
        _ => String::new(),
    };
    let summary = attempt.diagnosis.as_ref().map_or("it failed", |it| it.summary.as_str());
    let how = if summary.contains("exit code") || summary.contains("signal") { String::new() } else { how };
    Line::new('✗', format!("attempt {}", attempt.number), format!("{summary}{how}"))
}

/// Describes an execution with all details.
pub(crate) fn details(record: &Record, look: Look, now: Timestamp) -> Vec<String> {
    let (request, execution) = (&record.request, &record.execution);
    let mut lines = Vec::new();
    let mut field = |name: &str, value: String| {
        lines.push(titled(0, &format!("{name:<12}"), BOLD, &sanitize(&value), look));
    };
    field("execution", record.id().to_string());
    field("workload", format!("{}/{}", request.domain, request.name));
    if let Some(scope) = &request.scope {
        field("applied to", scope.clone());
    }
    field("definition", request.job.short().to_owned());
    let person = request.on_behalf_of.as_ref().map(|person| format!(" for {person}")).unwrap_or_default();
    field("submitted", format!("{}, by {}{person}", time(execution.created), request.by));
    for (name, value) in &request.parameters {
        field("parameter", format!("{name} = {value}"));
    }
    if let Some(key) = &request.exclusive {
        field("holds", key.clone());
    }
    let since = format_duration(execution.ended.unwrap_or(now).duration_since(execution.created));
    let relation = if execution.ended.is_some() { "after" } else { "for" };
    field("phase", format!("{}, {relation} {since}", execution.phase.name()));
    if let Some(waiting) = &execution.waiting {
        field("waits", waiting.clone());
    }
    for attempt in &execution.attempts {
        lines.push(String::new());
        lines.extend(self::attempt(attempt, look));
    }
    lines.push(String::new());
    for Transition { at, to, why, .. } in &record.history {
        let at = look.paint(DIM, time(*at));
        lines.push(hanging(&format!("{at}  {:<10}  ", to.name()), &sanitize(why), look));
    }
    lines
}

fn attempt(attempt: &Attempt, look: Look) -> Vec<String> {
    let Attempt { number, backend, begun, running, queued: _, addresses, cluster, end, diagnosis, adjusted } =
        attempt;
    let cluster = cluster.as_ref().map(|name| format!(", cluster {}", sanitize(name))).unwrap_or_default();
    let on = format!("{}{cluster}", backend.name());
    let mut lines =
        vec![format!("{} on {on}, {}", look.paint(BOLD, format!("attempt {number}")), time(*begun))];
    for (key, Adjustment { value, why }) in adjusted {
        let text = format!("{} = {}: {}", sanitize(key), sanitize(value), sanitize(why));
        lines.push(hanging("  ", &text, look));
    }
    let Addresses { ui, connect, event_log: _ } = addresses;
    let aligned_with_names = [("web interface", ui), ("Spark Connect", connect)];
    lines.extend(
        aligned_with_names
            .iter()
            .filter_map(|(name, at)| Some(format!("  {name}: {}", sanitize(at.as_ref()?)))),
    );
    if let (Some(running), Some(end)) = (running, end) {
        let how = if end.succeeded { "succeeded" } else { "ended" };
        lines.push(format!("  {how} after {}", format_duration(end.at.duration_since(*running))));
    }
    if let Some(diagnosis) = diagnosis {
        lines.push(titled(2, &diagnosis.cause, ERROR, &sanitize(&diagnosis.summary), look));
        let evidence = diagnosis.evidence.iter().map(|line| hanging("    ", &sanitize(line), look));
        lines.extend(evidence.map(|text| look.paint(DIM, text)));
    }
    lines
}

/// Returns a table of executions. Their ids are never cut, as other commands take them.
pub(crate) fn table(records: &[Record], look: Look, now: Timestamp) -> Vec<String> {
    let head = ["WORKLOAD", "EXECUTION", "PHASE", "AGE", "TOOK"].map(str::to_owned);
    let rows = records.iter().map(|record| {
        let execution = &record.execution;
        [
            sanitize(&format!("{}/{}", record.request.domain, record.request.name)),
            record.id().to_string(),
            execution.phase.name().to_owned(),
            format_duration_short(now.duration_since(execution.created)),
            format_duration_short(execution.ended.unwrap_or(now).duration_since(execution.created)),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let lines = |(index, (row, plain)): (usize, (NamedRow<5>, &[String; 5]))| {
        let NamedRow { name, mut cells } = row;
        let style = if index == 0 { BOLD } else { colour(plain[2].as_str()) };
        let painted = if index == 0 { 0..5 } else { 2..3 };
        for cell in &mut cells[painted] {
            *cell = look.paint(style, &cell);
        }
        name.into_iter().chain([cells.join("  ").trim_end().to_owned()])
    };
    aligned_with_names(&rows, look.limit()).into_iter().zip(&rows).enumerate().flat_map(lines).collect()
}

fn colour(phase: &str) -> Style {
    match phase {
        "SUCCEEDED" => GOOD,
        "FAILED" => ERROR,
        "CANCELLED" | "CANCELLING" | "RETRYING" => WARNING,
        _ => NOTE,
    }
}

pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Formats a time span with a suitable precision.
pub(crate) fn format_duration(span: SignedDuration) -> String {
    let millis = span.as_millis().max(0);
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Returns a span of time in at most seven characters, for tables.
pub(crate) fn format_duration_short(span: SignedDuration) -> String {
    let millis = span.as_millis().max(0);
    let seconds = millis / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..10 => format!("{seconds}.{}s", millis % 1000 / 100),
        10..120 => format!("{seconds}s"),
        120..7_200 => format!("{minutes}m{}s", seconds % 60),
        7_200..172_800 => format!("{hours}h{}m", minutes % 60),
        172_800..8_640_000 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// Returns an execution for programs.
pub(crate) fn json(record: &Record) -> serde_json::Value {
    let Record { request, execution, history, version: _, owner: _, progress } = record;
    // The token is left out, as anybody with it can get the execution.
    let mut request = serde_json::to_value(request).unwrap_or_default();
    if let Some(fields) = request.as_object_mut() {
        fields.remove("token");
    }
    let parts: BTreeMap<&str, serde_json::Value> = BTreeMap::from([
        ("request", request),
        ("execution", serde_json::to_value(execution).unwrap_or_default()),
        ("history", serde_json::to_value(history).unwrap_or_default()),
        ("progress", serde_json::to_value(progress).unwrap_or_default()),
    ]);
    serde_json::to_value(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    /// Returns an execution that has run for a while, with the longest name of a phase.
    fn record(domain: &str, name: &str) -> Record {
        let id = "01m8c3n5p7q9r1s3t5v7w9x1y3";
        let execution = serde_json::json!({
            "id": id, "phase": "SUBMITTING", "backend": "local", "created": "2026-01-31T00:00:00Z",
            "policy": {"attempts": 1, "remedies": 0, "backoffSeconds": 1, "maxBackoffSeconds": 1, "startSeconds": 1,
                       "stopSeconds": 1, "ttlSeconds": 1},
        });
        let why = "the driver did not start: ".repeat(10);
        let history = serde_json::json!([
            {"from": "QUEUED", "to": "SUBMITTING", "attempt": 1, "why": why, "at": "2026-01-31T00:00:00Z"},
        ]);
        let request = serde_json::json!({
            "token": "t", "domain": domain, "name": name, "job": "0".repeat(64), "pinned": false,
            "parameters": {"query": "SELECT one, two, three FROM four ".repeat(5)},
            "by": "ada",
        });
        Record {
            request: serde_json::from_value(request).expect("it is a request"),
            execution: serde_json::from_value(execution).expect("it is an execution"),
            history: serde_json::from_value(history).expect("it is a history"),
            version: 1,
            owner: "runner".to_owned(),
            progress: None,
        }
    }

    const TERMINAL: Look = Look { color: false, width: 80, terminal: true, animated: false };

    #[test]
    fn table_of_executions_fits_80_columns_and_keeps_ids_and_names() {
        let now: Timestamp = "2026-01-31T01:59:59Z".parse().expect("it is a time");
        let long = "orders-of-all-customers-by-day";
        let records = [record("shop", "orders"), record("logistics", long)];
        let expected = [
            "WORKLOAD     EXECUTION                   PHASE       AGE      TOOK",
            "shop/orders  01m8c3n5p7q9r1s3t5v7w9x1y3  SUBMITTING  119m59s  119m59s",
            "logistics/orders-of-all-customers-by-day",
            "             01m8c3n5p7q9r1s3t5v7w9x1y3  SUBMITTING  119m59s  119m59s",
        ];
        assert_eq!(table(&records, TERMINAL, now), expected);
        let piped = table(&records, Look { terminal: false, ..TERMINAL }, now);
        assert_eq!(piped.len(), 3);
        assert!(piped[2].starts_with(&format!("logistics/{long}  01m8")), "{piped:#?}");
        let color = table(&records, Look { color: true, ..TERMINAL }, now);
        let plain: Vec<String> =
            color.iter().map(|line| strip_str(line).to_string().trim_end().to_owned()).collect();
        assert_eq!(plain, expected);
    }

    #[test]
    fn details_of_an_execution_fit_80_columns() {
        let record = record("logistics", "orders");
        let lines = details(&record, TERMINAL, record.execution.created).join("\n");
        assert!(lines.lines().all(|line| line.width() <= 80), "{lines}");
        assert_eq!(lines.matches("driver").count(), 10, "{lines}");
    }

    #[test]
    fn short_durations_have_at_most_seven_characters() {
        let said = |seconds| format_duration_short(SignedDuration::from_secs(seconds));
        let all = [-5, 9, 119, 120, 7_199, 7_200, 172_799, 172_800, 8_639_999, 8_640_000];
        let expected =
            ["0.0s", "9.0s", "119s", "2m0s", "119m59s", "2h0m", "47h59m", "2d0h", "99d23h", "100d"];
        assert_eq!(all.map(said), expected);
    }

    #[test]
    fn durations_have_a_suitable_precision() {
        let said = |millis| format_duration(SignedDuration::from_millis(millis));
        assert_eq!(
            [said(-5), said(3140), said(59_999), said(130_000), said(7_260_000)],
            ["0.0 s", "3.1 s", "59 s", "2 min 10 s", "2 h 1 min"]
        );
    }
}
