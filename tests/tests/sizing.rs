//! Automatic parameter selection: sizes stay within limits for all measurements, and stop changing once they fit the
//! job.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dcp_model::manifest::Memory;
use dcp_model::primitive::CoreEtlJob;
use dcp_runner::execution::Adjustment;
use dcp_runner::sizing::{Measured, RunResources, relevant_runs, size};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const INSTANCES: &str = "spark.executor.instances";
const CORES: &str = "spark.executor.cores";
const EXECUTOR: &str = "spark.executor.memory";
const DRIVER: &str = "spark.driver.memory";
const PARTITIONS: &str = "spark.sql.shuffle.partitions";

type Sizes = BTreeMap<String, Adjustment>;

fn job(sizing: &str, resources: &str) -> CoreEtlJob {
    dcp_tests::job(&format!(
        "  job: {{pyspark: {{main: a.py}}}}\n  resources: {{sizing: {sizing}, {resources}}}\n"
    ))
}

fn auto() -> CoreEtlJob {
    job(
        "auto",
        "driver: {memory: 1g, minMemory: 512m, maxMemory: 4g}, \
         executors: {cores: 4, memory: 2g, minMemory: 1g, maxMemory: 8g, min: 1, max: 20, initial: 4}",
    )
}

/// Returns the job with other limits, without compiling it again.
fn bounded(job: &CoreEtlJob, bounds: Limits) -> CoreEtlJob {
    let mut job = job.clone();
    let memory = |mib: u64| Memory::parse(&format!("{mib}m")).expect("the size is valid");
    let executors = &mut job.resources.executors;
    executors.min_memory = Some(memory(bounds.memory.0));
    executors.memory = memory(bounds.memory.1);
    executors.max_memory = Some(memory(bounds.memory.2));
    executors.cores = bounds.cores;
    (executors.min, executors.max) = (Some(bounds.instances.0), Some(bounds.instances.1));
    executors.initial = Some(bounds.instances.0.max(1));
    job
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    memory: (u64, u64, u64),
    cores: u32,
    instances: (u32, u32),
}

fn limits() -> impl Strategy<Value = Limits> {
    let memory = (450u64..4_000, 0u64..4_000, 0u64..32_000);
    (memory, 1u32..9, 0u32..8, 0u32..60).prop_map(|((least, first, more), cores, min, extra)| Limits {
        memory: (least, least + first, least + first + more),
        cores,
        instances: (min, min.max(1) + extra),
    })
}

fn number(sizes: &Sizes, key: &str) -> Option<u64> {
    let text = &sizes.get(key)?.value;
    Some(Memory::parse(text).map_or_else(|_| text.parse().expect("the value is a number"), Memory::mib))
}

fn check_bounds(job: &CoreEtlJob, sizes: &Sizes) -> Result<(), TestCaseError> {
    let (driver, executors) = (&job.resources.driver, &job.resources.executors);
    let mib = |memory: Option<Memory>, or: Memory| memory.unwrap_or(or).mib();
    let bounds = [
        (INSTANCES, u64::from(executors.min.unwrap_or(0).max(1)), u64::from(executors.max.unwrap_or(1))),
        (CORES, 1, u64::from(executors.cores)),
        (EXECUTOR, mib(executors.min_memory, executors.memory), mib(executors.max_memory, executors.memory)),
        (DRIVER, mib(driver.min_memory, driver.memory), mib(driver.max_memory, driver.memory)),
        (PARTITIONS, 1, 10_000),
    ];
    for (key, least, most) in bounds {
        if let Some(value) = number(sizes, key) {
            prop_assert!((least..=most).contains(&value), "{key} is {value}, not {least} to {most}");
        }
    }
    for (key, Adjustment { why, .. }) in sizes {
        prop_assert!(bounds.iter().any(|(known, _, _)| known == key), "{key}");
        prop_assert!(!why.is_empty() && why.len() < 300, "{why}");
    }
    Ok(())
}

/// A simple model of a job with the difficulties of sizing: garbage fills any heap, data beyond the available memory is
/// spilled, garbage collection takes longer the fuller the heap is, and both slow tasks down.
#[derive(Debug, Clone)]
struct Model {
    work_millis: u64,
    longest_part: u64,
    input_mib: u64,
    shuffle_mib: u64,
    /// Factor by which a partition grows in memory.
    memory_factor: u64,
    task_mib: u64,
    cached_mib: u64,
    kept_mib: u64,
    garbage_percent: u64,
    allocation: u64,
    one_process: bool,
    driver_mib: u64,
}

fn model() -> impl Strategy<Value = Model> {
    let work = (1u64..40_000_000, 2u64..400, 0u64..2_000_000, prop_oneof![Just(0), 1u64..200_000]);
    let memory = (1u64..20, 1u64..2_000, 0u64..3_000, 50u64..4_000);
    let rest = (0u64..95, 0u64..60, any::<bool>(), 50u64..6_000);
    (work, memory, rest).prop_map(
        |(
            (work_millis, longest_part, input_mib, shuffle_mib),
            (memory_factor, task_mib, cached_mib, kept_mib),
            (garbage_percent, allocation, one_process, driver_mib),
        )| Model {
            work_millis,
            longest_part,
            input_mib,
            shuffle_mib,
            memory_factor,
            task_mib,
            cached_mib,
            kept_mib,
            garbage_percent,
            allocation,
            one_process,
            driver_mib,
        },
    )
}

impl Model {
    fn run(&self, job: &CoreEtlJob, sizes: &Sizes) -> Measured {
        let (driver, executors) = (&job.resources.driver, &job.resources.executors);
        let given = RunResources {
            one_process: self.one_process,
            executors: number(sizes, INSTANCES).unwrap_or(1),
            executor_cores: number(sizes, CORES).unwrap_or(u64::from(executors.cores)),
            executor_memory_mib: number(sizes, EXECUTOR).unwrap_or(executors.memory.mib()),
            driver_memory_mib: number(sizes, DRIVER).unwrap_or(driver.memory.mib()),
            tasks_at_once: number(sizes, CORES).unwrap_or(u64::from(executors.cores)),
            memory_percent: 60,
            shuffle_partitions: number(sizes, PARTITIONS).unwrap_or(200),
        };
        let heap = given.heap_mib();
        let pool = heap.saturating_sub(300) * 6 / 10;
        let cached = self.cached_mib.min(pool / 2);
        let share = ((pool - cached) / given.tasks_at_once).max(1);
        let wanted = self.task_mib + self.memory_factor * self.shuffle_mib / given.shuffle_partitions;
        let (held, spilled) = (wanted.min(share), wanted.saturating_sub(share));
        let live = (cached + given.tasks_at_once * held + self.kept_mib).min(heap);
        let used = live + (heap - live) * self.garbage_percent / 100;
        let gc = (self.allocation * live / (heap - live + 1)).min(80);
        let millis = self.work_millis + self.work_millis * gc / 100 + spilled * 20;
        let driver_live = self.driver_mib.min(given.driver_memory_mib);
        let wall = millis / (given.executors * given.executor_cores) + 30_000;
        let driver_gc = self.allocation * driver_live / (given.driver_memory_mib - driver_live + 1);
        Measured {
            complete: true,
            wall_millis: wall,
            executors: given.executors,
            cores: given.executors * given.executor_cores,
            tasks: 100,
            task_millis: millis,
            longest_task_millis: millis / self.longest_part,
            gc_millis: millis * gc / (100 + gc),
            heap_bytes: used * MIB,
            unified_bytes: (cached + given.tasks_at_once * held) * MIB,
            storage_bytes: cached * MIB,
            task_memory_bytes: held * MIB,
            driver_heap_bytes: if self.one_process { 0 } else { driver_live * MIB },
            driver_gc_millis: if self.one_process { 0 } else { wall * driver_gc.min(60) / 100 },
            memory_spilled_bytes: spilled * 100 * MIB,
            disk_spilled_bytes: spilled * 30 * MIB,
            task_spilled_bytes: spilled * MIB,
            input_bytes: self.input_mib * MIB,
            input_records: self.input_mib * 1000,
            shuffle_read_bytes: self.shuffle_mib * MIB,
            shuffle_write_bytes: self.shuffle_mib * MIB,
            largest_shuffle_bytes: self.shuffle_mib * MIB,
            largest_shuffle_tasks: given.shuffle_partitions,
            given,
            ..Measured::default()
        }
    }
}

/// Returns the values of each setting over successive runs, each sized by the runs before.
fn values_over_runs(
    job: &CoreEtlJob,
    runs: usize,
    mut run: impl FnMut(usize, &Sizes) -> Measured,
) -> Result<BTreeMap<String, Vec<u64>>, TestCaseError> {
    let mut earlier: Vec<Measured> = Vec::new();
    let mut values_over_runs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for at in 0..runs {
        let sizes = size(job, &earlier);
        check_bounds(job, &sizes)?;
        for key in sizes.keys().filter(|_| at > 0) {
            values_over_runs
                .entry(key.clone())
                .or_default()
                .push(number(&sizes, key).expect("the setting exists"));
        }
        earlier.insert(0, run(at, &sizes));
        earlier = relevant_runs(job, &earlier);
        prop_assert!(earlier.len() <= 28);
    }
    Ok(values_over_runs)
}

/// Returns the number of changes of a setting, and the number of reversals.
fn changes(values: &[u64]) -> (usize, usize) {
    let steps: Vec<bool> =
        values.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| pair[1] > pair[0]).collect();
    (steps.len(), steps.windows(2).filter(|pair| pair[0] != pair[1]).count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Memory rises while it is short, and falls to a sufficient size once. Results stay for more runs than are stored.
    #[test]
    fn sizes_converge(limits in limits(), model in model()) {
        let job = bounded(&BASE.with(Clone::clone), limits);
        for (key, values) in values_over_runs(&job, 100, |_, sizes| model.run(&job, sizes))? {
            let (count, turns) = changes(&values);
            prop_assert!(turns <= 2 && count <= 12, "{key} oscillates: {values:?}");
            let last = values[values.len() - 1];
            prop_assert!(values[40..].iter().all(|value| *value == last), "{key} does not converge: {values:?}");
        }
    }

    /// Runs that differ by a tenth cause no lasting changes.
    #[test]
    fn noise_causes_no_lasting_changes(limits in limits(), model in model(), noise in prop::collection::vec(90u64..=110, 200)) {
        let job = bounded(&BASE.with(Clone::clone), limits);
        let with_noise = |at: usize, sizes: &Sizes| {
            let by = |number: u64, seed: usize| number * noise[(at * 7 + seed) % noise.len()] / 100;
            let mut model = model.clone();
            model.work_millis = by(model.work_millis, 1);
            model.shuffle_mib = by(model.shuffle_mib, 2);
            model.task_mib = by(model.task_mib, 3);
            model.kept_mib = by(model.kept_mib, 4);
            model.run(&job, sizes)
        };
        for (key, values) in values_over_runs(&job, 120, with_noise)? {
            let (count, turns) = changes(&values[60..]);
            prop_assert!(turns <= 1 && count <= 3, "{key} oscillates: {values:?}");
        }
    }

    /// Arbitrary numbers in a log, or in stored measurements.
    #[test]
    fn bounds_hold_for_arbitrary_measurements(
        limits in limits(),
        numbers in prop::collection::vec(
            prop::collection::vec(prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>(), 0u64..1 << 36], 40),
            0..6,
        ),
        flags in any::<[bool; 2]>(),
    ) {
        let job = bounded(&BASE.with(Clone::clone), limits);
        let earlier: Vec<Measured> = numbers.iter().map(|numbers| arbitrary_measurement(numbers, flags)).collect();
        check_bounds(&job, &size(&job, &earlier))?;
        prop_assert!(relevant_runs(&job, &earlier).len() <= earlier.len());
    }

    #[test]
    fn more_spill_never_reduces_memory(
        limits in limits(),
        model in model(),
        runs in 1usize..6,
        which in any::<prop::sample::Index>(),
        more in 0u64..100_000,
    ) {
        let job = bounded(&BASE.with(Clone::clone), limits);
        let mut earlier = Vec::new();
        for _ in 0..runs {
            earlier.insert(0, model.run(&job, &size(&job, &earlier)));
        }
        let before = size(&job, &earlier);
        let run = &mut earlier[which.index(runs)];
        run.disk_spilled_bytes += more * MIB;
        run.memory_spilled_bytes += more * MIB * 3;
        run.task_spilled_bytes += more * MIB / 100;
        let after = size(&job, &earlier);
        prop_assert!(number(&after, EXECUTOR) >= number(&before, EXECUTOR), "{before:?}\n{after:?}");
        // The remaining memory is shared by no more tasks than before.
        prop_assert!(number(&after, CORES) <= number(&before, CORES), "{before:?}\n{after:?}");
    }
}

thread_local! {
    static BASE: CoreEtlJob = auto();
}

/// Returns a measurement with all numeric fields set to the given numbers.
fn arbitrary_measurement(numbers: &[u64], [complete, one_process]: [bool; 2]) -> Measured {
    let mut value = serde_json::to_value(Measured::default()).expect("the measurement is plain data");
    let mut numbers = numbers.iter().cycle();
    let mut fill = |value: &mut serde_json::Value| {
        for (_, field) in value
            .as_object_mut()
            .expect("the measurement is an object")
            .iter_mut()
            .filter(|(_, it)| it.is_u64())
        {
            *field = (*numbers.next().expect("the iterator is endless")).into();
        }
    };
    fill(&mut value);
    fill(&mut value["given"]);
    value["complete"] = complete.into();
    value["given"]["oneProcess"] = one_process.into();
    serde_json::from_value(value).expect("the measurement can be read")
}

#[test]
fn only_automatic_sizing_changes_resources() {
    let run = Measured { complete: true, tasks: 1, disk_spilled_bytes: 1 << 40, ..Measured::default() };
    let bounds = "executors: {min: 1, max: 4}";
    for (sizing, resources) in [("fixed", "executors: {instances: 2}"), ("dynamic", bounds)] {
        assert_eq!(size(&job(sizing, resources), std::slice::from_ref(&run)), Sizes::new(), "{sizing}");
    }
    assert!(!size(&job("auto", bounds), &[run]).is_empty());
}

/// Returns a typical run with a change.
fn run(change: impl FnOnce(&mut Measured)) -> Measured {
    let given = RunResources {
        executors: 4,
        executor_cores: 4,
        executor_memory_mib: 2048,
        driver_memory_mib: 1024,
        tasks_at_once: 4,
        memory_percent: 60,
        shuffle_partitions: 200,
        ..RunResources::default()
    };
    let mut run = Measured {
        complete: true,
        wall_millis: 300_000,
        executors: 4,
        cores: 16,
        tasks: 400,
        task_millis: 3_600_000,
        longest_task_millis: 20_000,
        gc_millis: 36_000,
        heap_bytes: 1200 * MIB,
        task_memory_bytes: 100 * MIB,
        driver_heap_bytes: 600 * MIB,
        input_bytes: 10 << 30,
        shuffle_write_bytes: 4 << 30,
        largest_shuffle_bytes: 4 << 30,
        given,
        ..Measured::default()
    };
    change(&mut run);
    run
}

fn thrice(change: impl Fn(&mut Measured)) -> Vec<Measured> {
    (0..3).map(|_| run(&change)).collect()
}

#[expect(clippy::too_many_lines, reason = "it is a list")]
fn cases() -> Vec<(&'static str, Vec<Measured>)> {
    let spilled = |run: &mut Measured| {
        run.disk_spilled_bytes = 3 << 30;
        run.task_spilled_bytes = 50 * MIB;
    };
    let at_most = |run: &mut Measured| run.given.executor_memory_mib = 8192;
    let few_cores = |run: &mut Measured| run.given.executor_cores = 2;
    let one_process = |run: &mut Measured| {
        run.given.one_process = true;
        run.driver_heap_bytes = 0;
    };
    vec![
        ("nothing is known", vec![]),
        ("all is well", vec![run(|_| {})]),
        ("a run spilled", vec![run(spilled)]),
        (
            "a run spilled with all the memory there may be",
            vec![run(|run| {
                spilled(run);
                at_most(run);
            })],
        ),
        ("a run collected garbage", vec![run(|run| run.gc_millis = 800_000)]),
        (
            "a run's heap was full",
            vec![run(|run| {
                run.heap_bytes = 2000 * MIB;
                run.gc_millis = 250_000;
            })],
        ),
        ("two runs used little", thrice(|run| run.heap_bytes = 300 * MIB)[..2].to_vec()),
        (
            "three runs used little",
            thrice(|run| {
                run.heap_bytes = 300 * MIB;
                run.task_memory_bytes = 20 * MIB;
                run.driver_heap_bytes = 150 * MIB;
                (run.task_millis, run.gc_millis) = (60_000, 600);
                run.largest_shuffle_bytes = 40 * MIB;
            }),
        ),
        (
            "three runs used little, and spilled a little",
            thrice(|run| {
                run.heap_bytes = 300 * MIB;
                run.task_memory_bytes = 20 * MIB;
                run.disk_spilled_bytes = 1;
                run.largest_shuffle_bytes = 40 * MIB;
            }),
        ),
        (
            "three runs used little, and a task of one of them failed",
            [
                thrice(|run| {
                    run.heap_bytes = 300 * MIB;
                    run.task_memory_bytes = 20 * MIB;
                }),
                vec![run(|run| {
                    run.heap_bytes = 300 * MIB;
                    run.task_memory_bytes = 20 * MIB;
                    run.failed_tasks = 1;
                })],
            ]
            .concat()[1..]
                .to_vec(),
        ),
        (
            "three runs used little, and one before them did much more",
            [
                thrice(|run| {
                    run.heap_bytes = 300 * MIB;
                    run.task_memory_bytes = 20 * MIB;
                    (run.task_millis, run.gc_millis) = (60_000, 600);
                }),
                vec![run(|run| run.input_bytes = 1 << 40)],
            ]
            .concat(),
        ),
        (
            "three runs used little of what was too little once",
            [
                thrice(|run| {
                    run.heap_bytes = 300 * MIB;
                    run.task_memory_bytes = 20 * MIB;
                    run.given.executor_memory_mib = 4096;
                }),
                vec![run(|run| {
                    spilled(run);
                    run.given.executor_memory_mib = 1536;
                })],
            ]
            .concat(),
        ),
        ("much work", vec![run(|run| run.task_millis = 50_000_000)]),
        (
            "much work, most of it one task's",
            vec![run(|run| {
                run.task_millis = 50_000_000;
                run.longest_task_millis = 10_000_000;
            })],
        ),
        (
            "a shuffle too large for its partitions, which spilled",
            vec![run(|run| {
                spilled(run);
                run.largest_shuffle_bytes = 60 << 30;
            })],
        ),
        ("executors of fewer cores than the manifest says", thrice(few_cores)),
        ("one machine", thrice(one_process)),
        (
            "one machine, where little is used",
            thrice(|run| {
                one_process(run);
                run.heap_bytes = 300 * MIB;
                run.task_memory_bytes = 20 * MIB;
            }),
        ),
        ("no memory was measured", thrice(|run| run.heap_bytes = 0)),
        (
            "a run whose log has no end, and one that had nothing to do",
            vec![run(|run| run.complete = false), run(|run| run.tasks = 0)],
        ),
    ]
}

/// Compares the decisions and their reasons with a golden file.
#[test]
fn decisions_match_the_golden_file() {
    let mut decisions = String::new();
    for (name, earlier) in cases() {
        writeln!(decisions, "{name}").expect("writing to a String does not fail");
        for (key, Adjustment { value, why }) in size(&auto(), &earlier) {
            writeln!(decisions, "  {key} = {value}\n    {why}").expect("writing to a String does not fail");
        }
    }
    let path = dcp_tests::workspace().join("tests/sizing/decisions.txt");
    if dcp_tests::update_golden() {
        std::fs::create_dir_all(path.parent().expect("the path has a folder"))
            .expect("the folder can be created");
        std::fs::write(&path, &decisions).expect("the file can be written");
    }
    assert_eq!(decisions, std::fs::read_to_string(path).unwrap_or_default());
}

#[test]
fn partitions_set_by_others_are_not_changed() {
    let large_shuffle = run(|run| run.largest_shuffle_bytes = 1 << 40);
    let partitions =
        |job: &CoreEtlJob| size(job, std::slice::from_ref(&large_shuffle)).contains_key(PARTITIONS);
    assert!(partitions(&auto()));
    let resources = "  resources: {sizing: auto, executors: {min: 1, max: 4}}\n";
    let sql = |rest: &str| dcp_tests::job(&format!("  job: {{sql: {{query: SELECT 1}}}}\n{resources}{rest}"));
    assert!(partitions(&sql("")));
    assert!(!partitions(&sql("  spark: {conf: {spark.sql.shuffle.partitions: 7}}\n")));
    let stream = format!(
        "  job:\n    stream:\n      sources: {{clicks: {{files: {{path: /in, format: json, schema: {{store: string}}}}}}}}\n      \
         query: SELECT store FROM clicks\n      sink: {{files: {{path: /out, format: json}}}}\n      \
         checkpoint: /checkpoint\n{resources}"
    );
    assert!(!partitions(&dcp_tests::job(&stream)));
}
