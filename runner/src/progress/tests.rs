use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use dcp_objects::Objects;
use dcp_objects::object_store::{self, memory::InMemory};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// The log of Spark 4.1.1 with two queries: one counts rows that arrive ten times a second, one finds no data. Most
/// other events are left out.
const LOG: &str = include_str!("tests/spark-4.1.1.log");

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn after(lines: usize) -> Progress {
    let mut queries = Queries::default();
    LOG.lines().take(lines).for_each(|line| queries.apply_line(line.as_bytes()));
    queries.progress()
}

fn line(what: &str, then: usize) -> usize {
    LOG.lines().enumerate().filter(|(_, line)| line.contains(what)).nth(then).map(|(at, _)| at + 1).unwrap()
}

#[test]
fn progress_is_read_from_a_log_of_spark() {
    let started = after(line("QueryStartedEvent", 1));
    assert_eq!(started, Progress { queries: 2, ..Progress::default() });
    let first = after(line("QueryProgressEvent", 0));
    assert_eq!((first.last_activity, first.batches), (None, 1), "the other one has not done anything yet");
    // From here on, both queries have a time, and the older one counts.
    let idle = after(line("QueryIdleEvent", 0));
    assert_eq!(idle.last_activity, Some(at("2026-11-21T19:48:55.715Z")));
    let all = after(line("QueryTerminatedEvent", 0) - 1);
    assert_eq!(all.last_activity, Some(at("2026-11-21T19:49:07.301Z")));
    assert_eq!((all.queries, all.batches, all.rows), (2, 17, 240));
    assert_eq!((all.state_rows, all.state_bytes), (50, 15072));
    assert_eq!(all.watermark, Some(at("2026-11-21T19:49:05.613Z")));
    assert_eq!(all.lag, None, "only topics tell it");
    assert!((600..1500).contains(&all.batch_millis), "{all:?}");
    assert_eq!(after(LOG.lines().count()).queries, 0);
}

/// Returns the event of a batch of a query that reads a topic.
fn batch(run: &str, id: i64, end: &str, latest: &str) -> String {
    let name = "org.apache.spark.sql.streaming.StreamingQueryListener$QueryProgressEvent";
    let source = serde_json::json!({
        "endOffset": end, "latestOffset": latest, "numInputRows": 5,
        "inputRowsPerSecond": "NaN", "processedRowsPerSecond": 2.5,
    });
    let progress = serde_json::json!({
        "runId": run, "timestamp": "2026-11-21T10:00:00.000Z", "batchId": id, "batchDuration": 1500,
        "sources": [source],
    });
    // The name of the event comes first.
    format!(r#"{{"Event":"{name}","progress":{progress}}}"#)
}

#[test]
fn lag_of_topics_is_counted() {
    let mut queries = Queries::default();
    let (end, latest) = (r#"{"t":{"0":10,"1":7}}"#, r#"{"t":{"0":14,"1":7},"u":{"0":3}}"#);
    queries.apply_line(batch("a", 1, end, latest).as_bytes());
    queries.apply_line(batch("a", 1, end, latest).as_bytes());
    let progress = queries.progress();
    assert_eq!((progress.lag, progress.batches, progress.rows), (Some(7), 1, 5), "one batch told twice");
    assert_eq!((progress.input_rate, progress.processing_rate, progress.batch_millis), (0.0, 2.5, 1500));
    queries.apply_line(batch("b", 1, "3", "9").as_bytes());
    assert_eq!(queries.progress().lag, Some(7), "what other sources mean by offsets is not known");
}

#[test]
fn number_of_tracked_queries_is_limited() {
    let mut queries = Queries::default();
    (0..10_000).for_each(|run| queries.apply_line(batch(&format!("r{run}"), 1, "0", "0").as_bytes()));
    assert_eq!(queries.progress().queries, 100);
}

proptest! {
    #[test]
    fn arbitrary_logs_are_tolerated(cut in 0..LOG.len(), with in ".{0,20}", line in any::<Vec<u8>>()) {
        let mut queries = Queries::default();
        let mut text = LOG.as_bytes().to_vec();
        text.splice(cut..cut, with.into_bytes());
        text.split(|byte| *byte == b'\n').for_each(|line| queries.apply_line(line));
        queries.apply_line(&line);
        queries.progress();
    }
}

fn objects(path: &Path) -> Objects {
    Objects::open_untrusted(path.to_str().unwrap()).unwrap()
}

/// A log in parts, like Spark's.
struct Written {
    folder: TempDir,
}

impl Written {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("eventlog_v2_app")).unwrap();
        Self { folder }
    }

    fn follower(&self) -> Follower {
        Follower::new(objects(self.folder.path()))
    }

    fn part(&self, number: u64) -> std::path::PathBuf {
        self.folder.path().join(format!("eventlog_v2_app/events_{number}_app"))
    }

    fn write(&self, number: u64, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.part(number)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn log_is_followed_while_it_is_written() {
    let nothing = TempDir::new().unwrap();
    let nothing = Follower::new(objects(&nothing.path().join("none"))).poll().await.unwrap();
    assert_eq!(nothing, Some(Progress::default()), "no query has begun");
    let written = Written::new();
    let mut follower = written.follower();
    let (mut latest, cut) = (None, LOG.len() / 7);
    for (number, part) in (0_u64..).zip(LOG.as_bytes().chunks(cut)) {
        // Each piece ends in the middle of a line, more often than with Spark.
        written.write(1, std::str::from_utf8(part).unwrap());
        latest = follower.poll().await.unwrap();
        assert!(latest.is_some(), "{number}");
    }
    assert_eq!(latest.unwrap(), after(LOG.lines().count()));
}

#[tokio::test]
async fn read_parts_of_a_log_are_removed() {
    let written = Written::new();
    let mut follower = written.follower();
    for (number, line) in (1..).zip(LOG.lines()) {
        written.write(number, &format!("{line}\n"));
        follower.poll().await.unwrap();
    }
    let last = LOG.lines().count() as u64;
    let remaining: Vec<u64> = (1..=last).filter(|number| written.part(*number).exists()).collect();
    assert_eq!(remaining, [last - 1, last]);
    assert_eq!(follower.poll().await.unwrap().unwrap(), after(LOG.lines().count()));
    // A new reader continues with the parts that still exist.
    written.write(last + 1, &format!("{}\n", batch("late", 40, "0", "0")));
    let mut another = written.follower();
    assert_eq!(another.poll().await.unwrap().unwrap().queries, 1);
}

#[tokio::test]
async fn compressed_log_has_no_progress() {
    let written = Written::new();
    fs::write(written.folder.path().join("eventlog_v2_app/events_1_app.zstd"), "anything").unwrap();
    assert_eq!(written.follower().poll().await.unwrap(), None);
}

#[tokio::test]
async fn a_log_in_a_bucket_is_followed() {
    let store = Arc::new(InMemory::new());
    let bucket = Objects::of(store, object_store::path::Path::from("logs"), "abfss://bucket/logs");
    let mut follower = Follower::new(bucket.clone());
    assert_eq!(follower.poll().await.unwrap(), Some(Progress::default()));
    let lines: Vec<&str> = LOG.lines().collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    // A bucket shows whole files only, and a file that has grown is another object of the same name.
    for (number, written) in [(1, &first[..3]), (1, first), (2, second)] {
        let text = written.iter().flat_map(|line| [*line, "\n"]).collect::<String>();
        bucket.write(&format!("eventlog_v2_app/events_{number}_app"), text.into()).await.unwrap();
        follower.poll().await.unwrap();
    }
    assert_eq!(follower.poll().await.unwrap(), Some(after(lines.len())));
}

#[tokio::test]
async fn a_bucket_is_not_read_again_at_once() {
    let bucket =
        Objects::of(Arc::new(InMemory::new()), object_store::path::Path::from("logs"), "s3://bucket/logs");
    let folder = TempDir::new().unwrap();
    let folder = Objects::open_untrusted(folder.path().to_str().unwrap()).unwrap();
    for (objects, is_due) in [(bucket, false), (folder, true)] {
        let mut follower = Follower::new(objects);
        assert!(follower.is_due());
        follower.poll().await.unwrap();
        assert_eq!(follower.is_due(), is_due);
    }
}

#[tokio::test]
async fn closed_files_show_no_progress_in_a_bucket_that_does_not_show_open_ones() {
    let store = Arc::new(InMemory::new());
    let bucket = Objects::of(store, object_store::path::Path::from("logs"), "s3a://bucket/logs");
    let mut follower = Follower::new(bucket.clone());
    assert_eq!(follower.poll().await.unwrap(), None);
    let path = |name: &str| format!("eventlog_v2_app/{name}");
    for name in ["events_1_app", "events_2_app", "events_3_app"] {
        bucket.write(&path(name), LOG.into()).await.unwrap();
    }
    assert_eq!(follower.poll().await.unwrap(), None);
    assert!(bucket.read(&path("events_1_app")).await.is_err_and(|error| error.is_not_found()));
    // The first report has no events.
    bucket.write(&path("progress_1"), "".into()).await.unwrap();
    assert_eq!(follower.poll().await.unwrap(), Some(Progress::default()));
    bucket.write(&path("progress_2"), LOG.into()).await.unwrap();
    assert_eq!(follower.poll().await.unwrap(), Some(after(LOG.lines().count())));
}

#[tokio::test]
async fn a_folder_that_was_replaced_by_a_link_is_neither_read_nor_emptied() {
    let (other, own) = (Written::new(), TempDir::new().unwrap());
    for number in 1..=3 {
        other.write(number, &format!("{}\n", batch("other", 1, "0", "0")));
    }
    symlink(other.folder.path(), own.path().join("events")).unwrap();
    let mut follower = Follower::new(objects(&own.path().join("events")));
    for _ in 0..2 {
        assert!(!follower.poll().await.is_ok_and(|it| it.is_some_and(|it| it.queries > 0)));
    }
    assert!((1..=3).all(|number| other.part(number).exists()));
}
