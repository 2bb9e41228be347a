//! Backoff after failures: doubles each time up to a limit, with jitter per job.

use jiff::{SignedDuration, Timestamp};

const FIRST: i64 = 10_000;
const LONGEST: i64 = 600_000;

/// When the next start may be, after so many failures. Chance is the job's own, so that jobs that fail together don't
/// come back together, and it is the same whenever it is asked for.
pub(super) fn not_before(now: Timestamp, failures: u32, chance: u64) -> Timestamp {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let longest = doubled.min(LONGEST);
    // From three quarters to all of it.
    let part = i64::try_from(mixed(chance ^ u64::from(failures)) % 256).unwrap_or_default();
    let pause = longest - longest / 4 * part / 255;
    now.saturating_add(SignedDuration::from_millis(pause)).unwrap_or(Timestamp::MAX)
}

/// Mixes the bits of a number, as a deterministic source of jitter.
fn mixed(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pause(failures: u32, chance: u64) -> i64 {
        not_before(Timestamp::UNIX_EPOCH, failures, chance).as_millisecond()
    }

    proptest! {
        #[test]
        fn it_is_within_its_bounds(failures in any::<u32>(), chance in any::<u64>()) {
            let pause = pause(failures, chance);
            prop_assert!((FIRST * 3 / 4..=LONGEST).contains(&pause), "{pause}");
            if failures > 1 {
                prop_assert!(pause >= self::pause(1, chance) || pause >= LONGEST * 3 / 4);
            }
        }

        #[test]
        fn it_grows(failures in 1_u32..6, chance in any::<u64>()) {
            prop_assert!(pause(failures, chance) < pause(failures + 1, chance));
        }
    }

    #[test]
    fn jobs_that_fail_together_do_not_come_back_together() {
        let all: std::collections::BTreeSet<i64> = (0..100).map(|chance| pause(4, chance)).collect();
        assert!(all.len() > 60, "{}", all.len());
    }
}
