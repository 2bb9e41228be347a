//! Measures running stages by their tasks, with memory that does not grow with the number of tasks.

use std::collections::BTreeMap;

/// Maximum number of concurrent stages; beyond it, the oldest counts as finished.
const MAX_RUNNING_STAGES: usize = 128;
/// Minimum number of tasks for a meaningful median.
const MIN_TASKS: u64 = 8;
/// Minimum time and size for skew. Smaller tasks are slowed by other things than their share of the data.
const LONG_MILLIS: u64 = 2_000;
const LARGE_BYTES: u64 = 16 << 20;

/// Measurements of all stages together.
#[derive(Debug, Default)]
pub(super) struct Stages {
    running: BTreeMap<(i64, i64), Stage>,
    pub(super) worst: Worst,
}

#[derive(Debug, Default)]
pub(super) struct Worst {
    pub(super) shuffle_bytes: u64,
    pub(super) shuffle_tasks: u64,
    pub(super) time_percent: u64,
    pub(super) bytes_percent: u64,
}

/// Measurements of one task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) millis: u64,
    /// Bytes from files and from shuffles.
    pub(super) bytes: u64,
    pub(super) shuffle_bytes: u64,
}

#[derive(Debug, Default)]
struct Stage {
    shuffle_bytes: u64,
    millis: Histogram,
    bytes: Histogram,
}

impl Stages {
    pub(super) fn task(&mut self, stage: (i64, i64), task: Task) {
        if !self.running.contains_key(&stage)
            && self.running.len() >= MAX_RUNNING_STAGES
            && let Some((_, oldest)) = self.running.pop_first()
        {
            self.worst.include(&oldest);
        }
        let stage = self.running.entry(stage).or_default();
        stage.shuffle_bytes = stage.shuffle_bytes.saturating_add(task.shuffle_bytes);
        stage.millis.add(task.millis);
        stage.bytes.add(task.bytes);
    }

    pub(super) fn done(&mut self, stage: (i64, i64)) {
        if let Some(stage) = self.running.remove(&stage) {
            self.worst.include(&stage);
        }
    }

    /// Returns the measurements after the last event.
    pub(super) fn end(mut self) -> Worst {
        for stage in self.running.values() {
            self.worst.include(stage);
        }
        self.worst
    }
}

impl Worst {
    fn include(&mut self, stage: &Stage) {
        if stage.shuffle_bytes > self.shuffle_bytes {
            self.shuffle_bytes = stage.shuffle_bytes;
            self.shuffle_tasks = stage.millis.count;
        }
        self.time_percent = self.time_percent.max(stage.millis.skew(LONG_MILLIS));
        self.bytes_percent = self.bytes_percent.max(stage.bytes.skew(LARGE_BYTES));
    }
}

/// A histogram with four buckets for each power of two.
#[derive(Debug)]
struct Histogram {
    counts: Box<[u32; 256]>,
    count: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; 256]), count: 0, most: 0 }
    }
}

impl Histogram {
    fn add(&mut self, number: u64) {
        if let Some(count) = self.counts.get_mut(bucket(number)) {
            *count = count.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.most = self.most.max(number);
    }

    /// Returns the maximum in percent of the median; 0 if the maximum is below `threshold` or there are too few values.
    fn skew(&self, threshold: u64) -> u64 {
        if self.count < MIN_TASKS || self.most < threshold {
            return 0;
        }
        let mut before = 0;
        let median = self.counts.iter().position(|count| {
            before += u64::from(*count);
            before * 2 >= self.count
        });
        // At least 1, because the median is 0 if half of the tasks have no data.
        let median = bucket_middle(median.unwrap_or(0)).clamp(1, self.most);
        u64::try_from(u128::from(self.most) * 100 / u128::from(median)).unwrap_or(u64::MAX)
    }
}

/// Returns the bucket of a number, by its highest three bits.
fn bucket(number: u64) -> usize {
    let Some(power) = number.checked_ilog2() else { return 0 };
    let below = if power >= 2 { (number >> (power - 2)) & 3 } else { (number << (2 - power)) & 3 };
    power as usize * 4 + usize::try_from(below).unwrap_or(0)
}

/// Returns the middle of a bucket.
fn bucket_middle(bucket: usize) -> u64 {
    let (power, below) = (bucket / 4, bucket % 4);
    let from = u128::from(4 + below as u64) << power;
    // In eighths, so that half a step is an integer.
    u64::try_from((from * 2 + (1u128 << power)) / 8).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn buckets_are_precise_to_an_eighth(number in prop_oneof![0u64..100, any::<u64>()]) {
            let found = bucket_middle(bucket(number));
            prop_assert!(found.abs_diff(number) <= number / 8 + 1, "{number} was taken for {found}");
        }

        #[test]
        fn skew_is_the_maximum_in_percent_of_the_median(
            mut numbers in prop::collection::vec(1_000u64..100_000_000, 8..60),
        ) {
            let mut histogram = Histogram::default();
            for number in &numbers {
                histogram.add(*number);
            }
            numbers.sort_unstable();
            let (median, most) = (numbers[(numbers.len() - 1) / 2], numbers[numbers.len() - 1]);
            let exact = most * 100 / median;
            let found = histogram.skew(0);
            prop_assert!(found.abs_diff(exact) <= exact / 6 + 1, "{found} is not about {exact}");
        }
    }

    #[test]
    fn finished_stages_are_included_in_the_worst() {
        let task = |shuffle_bytes| Task { millis: 1, bytes: 1, shuffle_bytes };
        let mut stages = Stages::default();
        stages.task((0, 0), task(7));
        stages.task((0, 0), task(8));
        for stage in 1..1_000 {
            stages.task((stage, 0), task(3));
            assert!(stages.running.len() <= MAX_RUNNING_STAGES);
        }
        stages.done((999, 0));
        let worst = stages.end();
        assert_eq!((worst.shuffle_bytes, worst.shuffle_tasks), (15, 2));
    }
}
