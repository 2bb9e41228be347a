//! The pauses between rounds of work that may be costly.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How much longer than a round the pause after it is, so that the rounds take a small part of the time.
const SHARE: u32 = 40;

/// Returns the pause after a round that took so long: within bounds, a multiple of that.
///
/// A round that failed is repeated after the shortest pause: it may have waited for a connection, and says nothing of
/// what the work costs. The same may be so for one that succeeded, which is why the pause needs an upper bound.
pub fn pause<T, E>(round: &Result<T, E>, took: Duration, bounds: RangeInclusive<Duration>) -> Duration {
    let (least, most) = bounds.into_inner();
    match round {
        Ok(_) => took.saturating_mul(SHARE).min(most).max(least),
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
            let round = if failed { Err(()) } else { Ok(()) };
            let (least, most) = (Duration::from_millis(least), Duration::from_millis(least + span));
            let pause = pause(&round, Duration::from_millis(took), least..=most);
            prop_assert!((least..=most).contains(&pause));
            prop_assert!(!failed || pause == least);
        }
    }

    #[test]
    fn pause_is_a_multiple_of_what_the_round_took() {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(15);
        let after = |millis| pause(&Ok::<(), ()>(()), Duration::from_millis(millis), bounds.clone());
        assert_eq!([after(1), after(50), after(9000)], [1, 2, 15].map(Duration::from_secs));
    }
}
