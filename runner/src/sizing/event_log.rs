//! Measures a run by Spark's event log.
//!
//! A log may be larger than memory, may be truncated and may have any content. It is therefore read line by line; lines
//! that are too long or damaged are counted and skipped, and only sums and peaks are kept.

mod events;
mod files;
mod stages;

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use dcp_model::manifest::Memory;

pub use files::{Error, read};

use super::measured::{Measured, RunResources};
use crate::lines::{self, Line};
use events::{
    EndReason, Environment, EventName, ExecutorAdded, Metrics, StageCompleted, StageMetrics, TaskEnd,
    Timestamped,
};
use stages::{Stages, Task};

/// Maximum length of a line. Spark's own settings take 100 KB; a plan may be longer, and is irrelevant.
const MAX_LINE_BYTES: usize = 4 << 20;
/// Spark's name of the driver, which is also the only executor if tasks run in the driver.
const DRIVER: &str = "driver";
/// Maximum number of executors that are tracked.
const MAX_EXECUTORS: usize = 20_000;

/// Measures the run that wrote a log of one file.
pub fn measure(mut from: impl BufRead) -> io::Result<Measured> {
    let mut log = Log::default();
    log.take(&mut from)?;
    Ok(log.end())
}

/// The state of reading a log.
#[derive(Default)]
struct Log {
    measured: Measured,
    settings: BTreeMap<String, String>,
    stages: Stages,
    /// Number of cores by executor.
    executors: BTreeMap<String, u64>,
    driver: Peaks,
    executor_peaks: Peaks,
    tasks_in_driver: bool,
    started: Option<u64>,
    ended: Option<u64>,
}

/// Peak values of processes.
#[derive(Default)]
struct Peaks {
    heap: u64,
    unified: u64,
    storage: u64,
    gc_millis: u64,
}

impl Peaks {
    fn update(&mut self, metrics: &Metrics) {
        self.heap = self.heap.max(metrics.heap);
        self.unified = self.unified.max(metrics.unified);
        self.storage = self.storage.max(metrics.storage);
        self.gc_millis = self.gc_millis.max(metrics.gc_millis);
    }
}

fn add(sum: &mut u64, number: u64) {
    *sum = sum.saturating_add(number);
}

impl Log {
    /// Reads a file of the log to its end.
    fn take(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            match lines::next(from, &mut line, MAX_LINE_BYTES)?.0 {
                Line::End => return Ok(()),
                Line::TooLong => add(&mut self.measured.skipped_lines, 1),
                Line::Whole | Line::Incomplete if line.is_empty() => {}
                Line::Whole | Line::Incomplete => {
                    if self.event(&line).is_err() {
                        add(&mut self.measured.skipped_lines, 1);
                    }
                }
            }
        }
    }

    fn event(&mut self, line: &[u8]) -> serde_json::Result<()> {
        let EventName { event } = serde_json::from_slice(line)?;
        match event.as_ref() {
            "SparkListenerApplicationStart" => {
                let Timestamped { at } = serde_json::from_slice(line)?;
                self.started = Some(at);
            }
            "SparkListenerApplicationEnd" => {
                let Timestamped { at } = serde_json::from_slice(line)?;
                self.ended = Some(at);
                self.measured.complete = true;
            }
            "SparkListenerEnvironmentUpdate" => {
                let Environment { mut settings } = serde_json::from_slice(line)?;
                // Other settings may be long, and some are secret.
                settings.retain(|key, _| SETTINGS.contains(&key.as_str()));
                self.settings = settings;
            }
            "SparkListenerExecutorAdded" => {
                let ExecutorAdded { executor, info } = serde_json::from_slice(line)?;
                if self.executors.len() < MAX_EXECUTORS {
                    self.executors.insert(executor, info.cores);
                }
            }
            "SparkListenerStageExecutorMetrics" => {
                let StageMetrics { executor, metrics } = serde_json::from_slice(line)?;
                self.peaks(&executor).update(&metrics);
            }
            "SparkListenerStageCompleted" => {
                let StageCompleted { stage } = serde_json::from_slice(line)?;
                self.stages.done((stage.id, stage.attempt));
            }
            "SparkListenerTaskEnd" => self.task(serde_json::from_slice(line)?),
            _ => {}
        }
        Ok(())
    }

    fn peaks(&mut self, executor: &str) -> &mut Peaks {
        if executor == DRIVER { &mut self.driver } else { &mut self.executor_peaks }
    }

    fn task(&mut self, end: TaskEnd) {
        let TaskEnd { stage, stage_attempt, why, info, metrics, executor_metrics } = end;
        self.tasks_in_driver |= info.executor == DRIVER;
        if let Some(metrics) = &executor_metrics {
            self.peaks(&info.executor).update(metrics);
        }
        let sums = &mut self.measured;
        let Some(metrics) = metrics.filter(|_| why.reason == "Success") else {
            add(&mut sums.failed_tasks, u64::from(failed_by_itself(&why)));
            return;
        };
        let read = metrics.shuffle_read.map_or(0, |it| it.remote.saturating_add(it.local));
        let input = metrics.input.unwrap_or_default();
        add(&mut sums.tasks, 1);
        add(&mut sums.task_millis, metrics.run_millis);
        sums.longest_task_millis = sums.longest_task_millis.max(metrics.run_millis);
        add(&mut sums.gc_millis, metrics.gc_millis);
        let memory = metrics.peak_execution.max(metrics.peak_on_heap_execution);
        sums.task_memory_bytes = sums.task_memory_bytes.max(memory);
        add(&mut sums.memory_spilled_bytes, metrics.memory_spilled);
        add(&mut sums.disk_spilled_bytes, metrics.disk_spilled);
        sums.task_spilled_bytes = sums.task_spilled_bytes.max(metrics.memory_spilled);
        add(&mut sums.input_bytes, input.bytes);
        add(&mut sums.input_records, input.records);
        add(&mut sums.shuffle_read_bytes, read);
        add(&mut sums.shuffle_write_bytes, metrics.shuffle_write.map_or(0, |it| it.bytes));
        add(&mut sums.output_bytes, metrics.output.map_or(0, |it| it.bytes));
        let bytes = input.bytes.saturating_add(read);
        let task = Task { millis: metrics.run_millis, bytes, shuffle_bytes: read };
        self.stages.task((stage, stage_attempt), task);
        // An incomplete log has no end, so the end of the last task counts.
        if !sums.complete {
            self.ended = self.ended.max(Some(info.finished));
        }
    }

    fn end(self) -> Measured {
        let Self {
            mut measured,
            settings,
            stages,
            executors,
            driver,
            executor_peaks,
            tasks_in_driver,
            started,
            ended,
        } = self;
        let worst = stages.end();
        measured.largest_shuffle_bytes = worst.shuffle_bytes;
        measured.largest_shuffle_tasks = worst.shuffle_tasks;
        measured.time_skew_percent = worst.time_percent;
        measured.bytes_skew_percent = worst.bytes_percent;
        if let (Some(started), Some(ended)) = (started, ended) {
            measured.wall_millis = ended.saturating_sub(started);
        }
        measured.executors = executors.len() as u64;
        measured.cores = executors.values().fold(0, |sum, cores| sum.saturating_add(*cores));
        let widest = executors.values().copied().max().unwrap_or(0);
        measured.given = run_resources(&settings, tasks_in_driver, widest);
        let of_tasks = if tasks_in_driver { &driver } else { &executor_peaks };
        measured.heap_bytes = of_tasks.heap;
        measured.unified_bytes = of_tasks.unified;
        measured.storage_bytes = of_tasks.storage;
        if !tasks_in_driver {
            measured.driver_heap_bytes = driver.heap;
            measured.driver_gc_millis = driver.gc_millis;
        }
        measured
    }
}

/// Returns whether a task failed by itself. Failures caused from outside show nothing about its needs.
fn failed_by_itself(why: &EndReason) -> bool {
    match why.reason.as_str() {
        "Success" | "TaskKilled" | "TaskCommitDenied" | "Resubmitted" | "FetchFailed" => false,
        "ExecutorLostFailure" => why.caused_by_app.unwrap_or(true),
        _ => true,
    }
}

/// Settings that determine the resources of a run.
const SETTINGS: &[&str] = &[
    "spark.executor.instances",
    "spark.executor.cores",
    "spark.executor.memory",
    "spark.driver.memory",
    "spark.memory.fraction",
    "spark.task.cpus",
    "spark.sql.shuffle.partitions",
];

/// Defaults of Spark.
const MEMORY_MIB: u64 = 1024;
const MEMORY_PERCENT: u64 = 60;
const PARTITIONS: u64 = 200;

fn run_resources(settings: &BTreeMap<String, String>, one_process: bool, cores_of_one: u64) -> RunResources {
    let number = |key: &str| settings.get(key).and_then(|text| text.trim().parse::<u64>().ok());
    let memory = |key: &str| settings.get(key).and_then(|text| mib(text));
    let driver = memory("spark.driver.memory").unwrap_or(MEMORY_MIB);
    let executor = memory("spark.executor.memory");
    // A single process has both heaps, and their sum is the driver's setting.
    let (driver, executor) = match (one_process, executor) {
        (true, Some(executor)) if executor < driver => (driver - executor, executor),
        (true, _) => (0, driver),
        (false, executor) => (driver, executor.unwrap_or(MEMORY_MIB)),
    };
    let percent = settings.get("spark.memory.fraction").and_then(|text| percent(text));
    let at_once = cores_of_one / number("spark.task.cpus").unwrap_or(1).max(1);
    RunResources {
        one_process,
        executors: number("spark.executor.instances").unwrap_or(0),
        executor_cores: number("spark.executor.cores").unwrap_or(if one_process { 1 } else { cores_of_one }),
        executor_memory_mib: executor,
        driver_memory_mib: driver,
        tasks_at_once: at_once.max(1),
        memory_percent: percent.unwrap_or(MEMORY_PERCENT),
        shuffle_partitions: number("spark.sql.shuffle.partitions").unwrap_or(PARTITIONS),
    }
}

/// Parses an amount of memory in MiB. Spark reads a number without a unit as MiB.
fn mib(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| Memory::parse(text).ok().map(Memory::mib))
}

/// Parses `0.6` as 60, without binary rounding errors.
fn percent(text: &str) -> Option<u64> {
    let (whole, part) = text.trim().split_once('.')?;
    let digit = |at: usize| part.as_bytes().get(at).map_or(Some(0), |it| char::from(*it).to_digit(10));
    let percent = u64::from(digit(0)? * 10 + digit(1)?);
    (whole.trim_start_matches('0').is_empty() && percent > 0).then_some(percent)
}
