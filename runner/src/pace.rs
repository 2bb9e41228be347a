//! Pauses between cycles of work that may be costly.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Ratio of a pause to the cycle before it, so that cycles take only a small part of the time.
const PAUSE_RATIO: u32 = 40;

/// Returns the pause after a cycle: a multiple of its duration, within bounds.
///
/// A failed cycle is repeated after the shortest pause: it may have waited for a connection, so its duration does not
/// show the cost of the work. The same may hold for a successful cycle; therefore the pause has an upper bound.
pub fn pause<T, E>(result: &Result<T, E>, took: Duration, bounds: RangeInclusive<Duration>) -> Duration {
    let (least, most) = bounds.into_inner();
    match result {
        Ok(_) => took.saturating_mul(PAUSE_RATIO).min(most).max(least),
        Err(_) => least,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pause_stays_within_its_bounds(took: u64, least in 0..10_000u64, span in 0..10_000u64, failed: bool) {
            let result = if failed { Err(()) } else { Ok(()) };
            let (least, most) = (Duration::from_millis(least), Duration::from_millis(least + span));
            let pause = pause(&result, Duration::from_millis(took), least..=most);
            prop_assert!((least..=most).contains(&pause));
            prop_assert!(!failed || pause == least);
        }
    }

    #[test]
    fn pause_is_a_multiple_of_the_duration_of_the_cycle() {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(15);
        let after = |millis| pause(&Ok::<(), ()>(()), Duration::from_millis(millis), bounds.clone());
        assert_eq!([after(1), after(50), after(9000)], [1, 2, 15].map(Duration::from_secs));
    }
}
