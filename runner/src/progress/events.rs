//! The events of streaming queries, with only the fields that are read. Programs may write anything to their log, so
//! that unexpected content is no event.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Prefix of all these events. Other lines are most of a log, and are not parsed.
const PREFIX: &[u8] = br#"{"Event":"org.apache.spark.sql.streaming.StreamingQueryListener$Query"#;

pub(super) enum Event {
    Started {
        run: String,
    },
    /// A trigger found no data.
    Idle {
        run: String,
        at: Timestamp,
    },
    Progressed(Box<Batch>),
    Ended {
        run: String,
    },
}

/// A batch that was finished.
pub(super) struct Batch {
    pub(super) run: String,
    pub(super) at: Timestamp,
    pub(super) number: i64,
    pub(super) rows: u64,
    pub(super) input_rate: f64,
    pub(super) processing_rate: f64,
    pub(super) millis: f64,
    pub(super) lag: Option<u64>,
    pub(super) watermark: Option<Timestamp>,
    pub(super) state_rows: u64,
    pub(super) state_bytes: u64,
}

#[derive(Deserialize)]
#[serde(tag = "Event")]
enum ListenerEvent {
    #[serde(rename = "org.apache.spark.sql.streaming.StreamingQueryListener$QueryStartedEvent")]
    Started(QueryEvent),
    #[serde(rename = "org.apache.spark.sql.streaming.StreamingQueryListener$QueryIdleEvent")]
    Idle(QueryEvent),
    #[serde(rename = "org.apache.spark.sql.streaming.StreamingQueryListener$QueryProgressEvent")]
    Progressed { progress: Box<QueryProgress> },
    #[serde(rename = "org.apache.spark.sql.streaming.StreamingQueryListener$QueryTerminatedEvent")]
    Ended(QueryEvent),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryEvent {
    run_id: String,
    timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryProgress {
    run_id: String,
    /// Start of the batch.
    timestamp: Timestamp,
    batch_id: i64,
    #[serde(default)]
    batch_duration: i64,
    #[serde(default)]
    event_time: EventTime,
    #[serde(default)]
    state_operators: Vec<StateOperator>,
    #[serde(default)]
    sources: Vec<Source>,
}

#[derive(Default, Deserialize)]
struct EventTime {
    watermark: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateOperator {
    #[serde(default)]
    num_rows_total: i64,
    #[serde(default)]
    memory_used_bytes: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    #[serde(default)]
    num_input_rows: i64,
    #[serde(default, deserialize_with = "rate")]
    input_rows_per_second: f64,
    #[serde(default, deserialize_with = "rate")]
    processed_rows_per_second: f64,
    /// In a format of the source; a topic's offsets are by partition.
    end_offset: Option<String>,
    latest_offset: Option<String>,
}

/// Parses a rate. Spark writes a rate of no rows in no time as `"NaN"`.
fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let number = Value::deserialize(from)?.as_f64().unwrap_or_default();
    Ok(if number.is_finite() { number.max(0.0) } else { 0.0 })
}

pub(super) fn parse(line: &[u8]) -> Option<Event> {
    if !line.starts_with(PREFIX) {
        return None;
    }
    Some(match serde_json::from_slice(line).ok()? {
        ListenerEvent::Started(QueryEvent { run_id: run, .. }) => Event::Started { run },
        ListenerEvent::Idle(QueryEvent { run_id: run, timestamp }) => Event::Idle { run, at: timestamp? },
        ListenerEvent::Progressed { progress } => Event::Progressed(Box::new(batch(*progress)?)),
        ListenerEvent::Ended(QueryEvent { run_id: run, .. }) => Event::Ended { run },
    })
}

fn batch(progress: QueryProgress) -> Option<Batch> {
    let QueryProgress { run_id, timestamp, batch_id, batch_duration, event_time, state_operators, sources } =
        progress;
    let whole = |number: i64| u64::try_from(number).unwrap_or_default();
    let state = |of: fn(&StateOperator) -> i64| {
        state_operators.iter().map(|it| whole(of(it))).fold(0, u64::saturating_add)
    };
    let watermark = event_time.watermark.and_then(|it| it.parse().ok());
    Some(Batch {
        run: run_id,
        at: timestamp.checked_add(SignedDuration::from_millis(batch_duration)).ok()?,
        number: batch_id,
        rows: sources.iter().map(|it| whole(it.num_input_rows)).fold(0, u64::saturating_add),
        input_rate: sources.iter().map(|it| it.input_rows_per_second).fold(0.0, |sum, it| sum + it),
        processing_rate: sources.iter().map(|it| it.processed_rows_per_second).fold(0.0, |sum, it| sum + it),
        #[expect(clippy::cast_precision_loss, reason = "no batch takes that long")]
        millis: batch_duration.max(0) as f64,
        lag: sources.iter().filter_map(lag).reduce(u64::saturating_add),
        // Without a watermark, Spark reports the year 1970.
        watermark: watermark.filter(|at| *at > Timestamp::UNIX_EPOCH),
        state_rows: state(|it| it.num_rows_total),
        state_bytes: state(|it| it.memory_used_bytes),
    })
}

/// Returns the number of records in topics that were not read yet.
fn lag(source: &Source) -> Option<u64> {
    let offsets = |text: &Option<String>| {
        serde_json::from_str::<BTreeMap<String, BTreeMap<String, u64>>>(text.as_deref()?).ok()
    };
    let (end, latest) = (offsets(&source.end_offset)?, offsets(&source.latest_offset)?);
    let of = |topic: &str, partition: &str, latest: u64| {
        let read = end.get(topic).and_then(|it| it.get(partition)).copied().unwrap_or_default();
        latest.saturating_sub(read)
    };
    let all = latest.iter().flat_map(|(topic, partitions)| {
        partitions.iter().map(move |(partition, latest)| of(topic, partition, *latest))
    });
    Some(all.fold(0, u64::saturating_add))
}
