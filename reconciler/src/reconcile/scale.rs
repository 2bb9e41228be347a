//! Scaling: the number of executors that keeps a stream at the utilization that its manifest names.
//!
//! Utilization is the duration of a batch, relative to the time between the starts of two. The number changes only if
//! the utilization was outside of a band around the target for a while, and not soon after the last change.

use dcp_model::primitive::CoreEtlJob;
use dcp_runner::lower::initial_executors;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The scaling settings of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// Target utilization, in percent.
    pub target: u32,
    /// Time without changes after a change, in seconds.
    pub cool_down: u64,
    pub least: u32,
    pub most: u32,
    /// The initial number of executors.
    pub first: u32,
    /// The time between two batches. Without it, the utilization is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_millis: Option<u64>,
}

/// The number of executors that scaling chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scale {
    pub executors: u32,
    /// The time of the choice.
    pub since: Timestamp,
    /// The reason for the change.
    pub why: String,
}

/// A utilization outside of the band, with the time since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pressure {
    pub more: bool,
    pub since: Timestamp,
}

/// Durations of too high and too low utilization before a change: lag is worse than idle executors.
const SCALE_UP_AFTER: SignedDuration = SignedDuration::from_mins(1);
const SCALE_DOWN_AFTER: SignedDuration = SignedDuration::from_mins(5);

impl Scaling {
    /// Adds the bounds of its job; none if the job has no maximum.
    pub(super) fn within(self, job: &CoreEtlJob) -> Option<Self> {
        let executors = &job.resources.executors;
        let (least, most) = (executors.min.unwrap_or(1).max(1), executors.max?);
        Some(Self { least, most, first: initial_executors(job), ..self })
    }

    /// Returns the number of executors for a stored choice.
    pub fn executors_for(&self, scale: Option<&Scale>) -> u32 {
        scale.map_or(self.first, |it| it.executors).clamp(self.least, self.most.max(self.least))
    }

    /// Returns the utilization in percent.
    pub fn utilization(&self, batch_millis: u64) -> Option<u64> {
        let every = self.every_millis.filter(|it| *it > 0)?;
        Some(batch_millis.saturating_mul(100) / every)
    }

    /// Returns the better number of executors, if it differs.
    fn ideal_executors(&self, executors: u32, utilization: u64) -> Option<u32> {
        let target = u64::from(self.target.clamp(1, 100));
        // Half of the way to where it is never idle, and half of the way to where it has nothing to do.
        let (upper, lower) = (target + (100 - target).div_ceil(2), target / 2);
        if (lower..=upper).contains(&utilization) {
            return None;
        }
        let now = u64::from(executors);
        let ideal = now.saturating_mul(utilization).div_ceil(target);
        // What is measured may mislead: never more than twice as many at once, or less than half.
        let next = ideal.clamp(now.div_ceil(2), now.saturating_mul(2));
        let next = u32::try_from(next).unwrap_or(u32::MAX).clamp(self.least, self.most.max(self.least));
        let is_that_way = if utilization > upper { next > executors } else { next < executors };
        is_that_way.then_some(next)
    }

    /// Returns a new number of executors if the utilization was out of the band for long enough. `since` is the time of
    /// the last change; `pressure` stores the time since when it is out of the band.
    pub fn advise(
        &self,
        executors: u32,
        since: Timestamp,
        batch_millis: u64,
        pressure: &mut Option<Pressure>,
        now: Timestamp,
    ) -> Option<Scale> {
        let utilization = self.utilization(batch_millis)?;
        let Some(next) = self.ideal_executors(executors, utilization) else {
            *pressure = None;
            return None;
        };
        let more = next > executors;
        if pressure.as_ref().is_none_or(|it| it.more != more) {
            *pressure = Some(Pressure { more, since: now });
        }
        let delay = if more { SCALE_UP_AFTER } else { SCALE_DOWN_AFTER };
        let lasted = pressure.as_ref().is_some_and(|it| now.duration_since(it.since) >= delay);
        let cool_down = SignedDuration::from_secs(i64::try_from(self.cool_down).unwrap_or(i64::MAX));
        if !lasted || now.duration_since(since) < cool_down {
            return None;
        }
        *pressure = None;
        let why = format!(
            "it was busy for {utilization} % of its time with {executors}, and is to be for {} %",
            self.target
        );
        Some(Scale { executors: next, since: now, why })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaling(target: u32, least: u32, most: u32) -> Scaling {
        let every_millis = Some(10_000);
        Scaling { target, cool_down: 600, least, most, first: least.max(1), every_millis }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Has a stream scaled for some hours whose batches take so much work, a part of which no executor shares.
    fn run(scaling: &Scaling, load: impl Fn(i64) -> (u64, u64)) -> Vec<(i64, u32)> {
        let (mut executors, mut since, mut pressure) = (scaling.executors_for(None), at(0), None);
        let mut changes = vec![(0, executors)];
        for second in (0..6 * 3600).step_by(15) {
            let (shared, alone) = load(second);
            let batch = shared / u64::from(executors.max(1)) + alone;
            if let Some(scale) = scaling.advise(executors, since, batch, &mut pressure, at(second)) {
                assert_ne!(scale.executors, executors);
                (executors, since) = (scale.executors, scale.since);
                changes.push((second, executors));
            }
        }
        changes
    }

    #[test]
    fn executors_follow_the_load_and_settle() {
        let scaling = scaling(70, 2, 10);
        // 2 executors would take 21 s for a batch that begins each 10 s.
        let changes = run(&scaling, |second| if second < 3 * 3600 { (42_000, 0) } else { (7000, 0) });
        let numbers: Vec<u32> = changes.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, [2, 4, 6, 3, 2]);
        assert_eq!(changes[1].0, 600, "it was too busy from the beginning on, and was let alone at first");
        assert!(changes[3].0 >= 3 * 3600 + 300, "to be idle for a moment means nothing");
    }

    #[test]
    fn a_short_peak_does_not_scale() {
        let changes =
            run(&scaling(70, 1, 10), |second| if second % 600 < 45 { (30_000, 0) } else { (6000, 0) });
        assert_eq!(changes, [(0, 1)]);
    }

    #[test]
    fn trigger_without_an_interval_is_not_scaled() {
        let scaling = Scaling { every_millis: None, ..scaling(70, 1, 10) };
        assert_eq!(run(&scaling, |_| (1_000_000, 0)), [(0, 1)]);
    }

    fn extreme_u32() -> impl Strategy<Value = u32> {
        prop_oneof![0..3_u32, u32::MAX - 2..=u32::MAX, any::<u32>()]
    }

    fn extreme_u64() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_u64, u64::MAX - 2..=u64::MAX, any::<u64>()]
    }

    fn extreme_time() -> impl Strategy<Value = Timestamp> {
        prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX), (0..10_000_000_i64).prop_map(at)]
    }

    proptest! {
        #[test]
        fn executors_stay_within_their_bounds_and_settle(
            target in 10_u32..=95, least in 0_u32..5, more in 0_u32..40, shared in 0_u64..400_000, alone in 0_u64..20_000,
        ) {
            let scaling = scaling(target, least, (least + more).max(1));
            let changes = run(&scaling, |_| (shared, alone));
            for pair in changes.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= 600 || pair[0].0 == 0, "{changes:?}");
            }
            prop_assert!(changes.iter().all(|(_, it)| (scaling.least..=scaling.most).contains(it)), "{changes:?}");
            // It does not go to and fro: of a load that stays, each number is tried once.
            let mut seen: Vec<u32> = changes.iter().map(|(_, number)| *number).collect();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), changes.len(), "{:?}", changes);
        }

        #[test]
        fn any_input_gives_executors_within_the_bounds(
            executors in extreme_u32(), batch in extreme_u64(), every in proptest::option::of(extreme_u64()),
            target in extreme_u32(), least in extreme_u32(), most in extreme_u32(), cool_down in extreme_u64(),
            more in any::<bool>(), times in [extreme_time(), extreme_time(), extreme_time()],
        ) {
            let scaling = Scaling { target, cool_down, least, most, first: executors, every_millis: every };
            let [since, pressed, now] = times;
            let mut pressure = Some(Pressure { more, since: pressed });
            let bounds = least..=most.max(least);
            if let Some(scale) = scaling.advise(executors, since, batch, &mut pressure, now) {
                prop_assert!(bounds.contains(&scale.executors), "{scale:?}");
                prop_assert!(scale.executors != executors);
            }
            prop_assert!(bounds.contains(&scaling.executors_for(None)));
        }
    }
}
