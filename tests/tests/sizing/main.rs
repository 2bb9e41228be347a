//! Automatic parameter selection: sizes stay within limits for all measurements, and stop changing once they fit the
//! job.

// With `cfg(test)`, the lints treat these modules as test code.
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod model;

use std::collections::BTreeMap;

use dcp_model::manifest::Memory;
use dcp_model::primitive::CoreEtlJob;
use dcp_runner::execution::Adjustment;
use dcp_runner::sizing::{Measured, relevant_runs, size};
use proptest::prelude::*;

use decisions::run;
use model::model;

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
