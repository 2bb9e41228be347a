//! Backoff after failures: doubles each time up to a limit, with jitter per job.

use jiff::{SignedDuration, Timestamp};

const FIRST_MILLIS: i64 = 10_000;
const MAX_MILLIS: i64 = 600_000;

/// Returns the time of the next start after a number of failures. `seed` differs between jobs, so that jobs that fail
/// together don't start together. The result is the same at each call.
pub(super) fn not_before(now: Timestamp, failures: u32, seed: u64) -> Timestamp {
    let doubled = FIRST_MILLIS.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let longest = doubled.min(MAX_MILLIS);
    // From three quarters to all of it.
    let part = i64::try_from(mix_bits(seed ^ u64::from(failures)) % 256).unwrap_or_default();
    let pause = longest - longest / 4 * part / 255;
    now.saturating_add(SignedDuration::from_millis(pause)).unwrap_or(Timestamp::MAX)
}

/// Mixes the bits of a number, as a deterministic source of jitter.
fn mix_bits(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pause(failures: u32, seed: u64) -> i64 {
        not_before(Timestamp::UNIX_EPOCH, failures, seed).as_millisecond()
    }

    proptest! {
        #[test]
        fn backoff_is_within_its_bounds(failures in any::<u32>(), seed in any::<u64>()) {
            let pause = pause(failures, seed);
            prop_assert!((FIRST_MILLIS * 3 / 4..=MAX_MILLIS).contains(&pause), "{pause}");
            if failures > 1 {
                prop_assert!(pause >= self::pause(1, seed) || pause >= MAX_MILLIS * 3 / 4);
            }
        }

        #[test]
        fn backoff_grows(failures in 1_u32..6, seed in any::<u64>()) {
            prop_assert!(pause(failures, seed) < pause(failures + 1, seed));
        }
    }

    #[test]
    fn backoff_differs_between_jobs() {
        let all: std::collections::BTreeSet<i64> = (0..100).map(|seed| pause(4, seed)).collect();
        assert!(all.len() > 60, "{}", all.len());
    }
}
