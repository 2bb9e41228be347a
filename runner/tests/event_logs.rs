//! Tests of event logs: measurements of logs by a real Spark (`runner/tests/events/make` writes them again), the search
//! for logs, and damaged logs.

use std::fs;
use std::path::{Path, PathBuf};

use dcp_runner::sizing::Measured;
use dcp_runner::sizing::event_log::{self, Error, measure};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tempfile::TempDir;

const ALL: [&str; 4] = ["aggregation", "executors", "skew", "spill"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(&format!("{name}.json"))).expect("it is UTF-8 text")
}

fn measured(name: &str) -> Measured {
    measure(text(name).as_bytes()).expect("memory can be read")
}

#[test]
fn a_real_log_is_measured() {
    for name in ALL {
        let found = serde_json::to_string_pretty(&measured(name)).expect("it is plain") + "\n";
        let golden = path(&format!("{name}.measured"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).expect("it can be written");
        }
        assert_eq!(found, fs::read_to_string(golden).unwrap_or_default(), "{name}");
        let back: Measured = serde_json::from_str(&found).expect("it reads back");
        assert_eq!(back, measured(name));
    }
}

#[test]
fn measurements_match_the_run() {
    let aggregation = measured("aggregation");
    assert!(aggregation.complete && aggregation.given.one_process);
    assert_eq!((aggregation.given.executor_memory_mib, aggregation.given.driver_memory_mib), (512, 512));
    assert_eq!(aggregation.input_records, 400_000 + 400_000, "of the range and of the files");
    assert!(aggregation.output_bytes > 0 && aggregation.input_bytes > 0 && aggregation.heap_bytes > 0);
    assert_eq!(aggregation.disk_spilled_bytes, 0);

    let spill = measured("spill");
    assert!(spill.disk_spilled_bytes > 32 << 20 && spill.memory_spilled_bytes > spill.disk_spilled_bytes);
    assert_eq!((spill.given.executor_memory_mib, spill.given.driver_memory_mib), (480, 0));
    assert!(spill.task_memory_bytes > 0, "Spark 4 has a name of its own for it");

    let skew = measured("skew");
    assert!(skew.time_skew_percent > 400, "{skew:?}");
    assert_eq!(aggregation.time_skew_percent, 0, "what is short has none");

    let executors = measured("executors");
    assert!(!executors.given.one_process && executors.driver_heap_bytes > 0 && executors.heap_bytes > 0);
    assert_eq!((executors.executors, executors.cores, executors.failed_tasks), (2, 2, 1));
    assert_eq!((executors.given.executors, executors.given.driver_memory_mib), (2, 600));
}

/// Measures the run whose log is at a path.
async fn read(path: &Path) -> Result<Measured, Error> {
    event_log::read(path.to_str().expect("the path is UTF-8")).await
}

#[tokio::test]
async fn log_is_found_in_every_layout_of_spark() {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("the value is present")).expect("it can be created");
        fs::write(&path, bytes).expect("it can be written");
    };
    let text = text("aggregation");
    let (first, second) = text.split_at(text.match_indices('\n').nth(20).expect("it is longer").0 + 1);
    let zstd = |text: &str| compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
    let frames = [zstd(first), zstd(second)].concat();
    write("single/local-1", text.as_bytes());
    write("unfinished/local-1.inprogress", text.as_bytes());
    write("packed/local-1.zstd", &frames);
    write("packed-unfinished/local-1.zstd.inprogress", &frames);
    // The tenth file follows the ninth; hidden files and other files are ignored.
    write("rolling/eventlog_v2_local-1/events_9_local-1", first.as_bytes());
    write("rolling/eventlog_v2_local-1/events_10_local-1.zstd", &zstd(second));
    write("rolling/eventlog_v2_local-1/appstatus_local-1", b"");
    write("rolling/eventlog_v2_local-1/.events_10_local-1.crc", b"crc");
    // A compacted file replaces all files before it, and the one of its own number.
    write("compacted/eventlog_v2_local-1/events_1_local-1", text.as_bytes());
    write("compacted/eventlog_v2_local-1/events_2_local-1", text.as_bytes());
    write("compacted/eventlog_v2_local-1/events_2_local-1.compact", first.as_bytes());
    write("compacted/eventlog_v2_local-1/events_3_local-1", second.as_bytes());
    let expected = measured("aggregation");
    for name in ["single", "unfinished", "packed", "packed-unfinished", "rolling", "compacted"] {
        assert_eq!(read(&folder.path().join(name)).await.expect(name), expected, "{name}");
    }
    let rolling = folder.path().join("rolling/eventlog_v2_local-1");
    assert_eq!(read(&rolling).await.expect("it is a log"), expected);

    // The first half of a compressed log gives no measurements or partial ones, but never complete ones.
    write("torn/local-1.zstd", &frames[..frames.len() / 2]);
    assert!(!read(&folder.path().join("torn")).await.expect("it is a log").complete);
}

#[tokio::test]
async fn errors_name_the_location_and_the_remedy() {
    let folder = TempDir::new().expect("the temporary folder is writable");
    for missing in [folder.path(), &folder.path().join("nowhere")] {
        let error = read(missing).await.expect_err("there is no log").to_string();
        let says = format!("there is no event log in `{}`", missing.display());
        assert!(error.starts_with(&says) && error.contains("`spark.eventLog.enabled`"), "{error}");
    }
    fs::write(folder.path().join("app.lz4"), "x").expect("it can be written");
    let error = read(folder.path()).await.expect_err("the codec is not supported");
    assert!(matches!(error, Error::Codec { codec: "lz4", .. }));
    assert!(error.to_string().ends_with("set `spark.eventLog.compression.codec` to `zstd`"), "{error}");
}

#[test]
fn damaged_lines_are_skipped_and_counted() {
    let whole = measured("executors");
    let lines: Vec<String> = text("executors").lines().map(str::to_owned).collect();
    let task = lines.iter().find(|line| line.contains("SparkListenerTaskEnd")).expect("there was one");
    let long = task.replacen('{', &format!("{{\"x\":\"{}\",", "y".repeat(5 << 20)), 1);
    let more = ["{", "\u{0}", "{\"Event\":7}", "{\"Event\":\"SparkListenerTaskEnd\"}", "[]", &long];
    let damaged: Vec<&str> = more.into_iter().chain(lines.iter().map(String::as_str)).collect();
    let found = measure(damaged.join("\n").as_bytes()).expect("memory can be read");
    assert_eq!(found.skipped_lines, 6);
    assert_eq!(Measured { skipped_lines: 0, ..found }, whole);

    let without_end: Vec<String> =
        lines.iter().filter(|line| !line.contains("ApplicationEnd")).cloned().collect();
    let found = measure(without_end.join("\n").as_bytes()).expect("memory can be read");
    assert!(!found.complete && found.wall_millis > 0 && found.wall_millis <= whole.wall_millis);
    assert_eq!(found.tasks, whole.tasks);
}

proptest! {
    /// Any damaged log is measured, and the greatest numbers can be added up.
    #[test]
    fn any_damaged_log_is_measured(
        name in prop::sample::select(&ALL[..]),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        number in prop::sample::select(&["0", "-1", "18446744073709551615", "1e300", "null", "\"x\"", "{}"][..]),
    ) {
        let mut bytes = text(name).replace("\"Executor Run Time\":", &format!("\"Executor Run Time\":{number},\"x\":"));
        bytes = bytes.replace("\"Disk Bytes Spilled\":", &format!("\"Disk Bytes Spilled\":{number},\"y\":"));
        let mut bytes = bytes.into_bytes();
        for (at, byte) in cuts {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let found = measure(bytes.as_slice()).expect("memory can be read");
        prop_assert!(found.longest_task_millis <= found.task_millis);
        prop_assert!(found.task_spilled_bytes <= found.memory_spilled_bytes);
        prop_assert!(found.largest_shuffle_bytes <= found.shuffle_read_bytes);
    }

    #[test]
    fn other_bytes_have_no_measurements(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let found = measure(bytes.as_slice()).expect("memory can be read");
        prop_assert_eq!((found.tasks, found.complete), (0, false));
    }
}
