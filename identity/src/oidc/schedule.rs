//! The times at which keys are fetched.

use std::time::Duration;

/// Times of fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Time between two fetches, after one that succeeded. A key that the provider has removed is known as long.
    pub refresh: Duration,
    /// Time between two fetches that callers cause, by tokens with an unknown key.
    pub min_interval: Duration,
    /// Maximum time of a request.
    pub timeout: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            refresh: Duration::from_mins(15),
            min_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Maximum pause after a failure.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

impl Schedule {
    /// Returns the pause after a fetch, given the number of failures since the last success.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => self.refresh,
            Some(earlier) => {
                let backoff = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(earlier));
                backoff.min(MAX_BACKOFF).min(self.refresh)
            }
        }
    }

    /// Returns the time until a caller may cause a fetch; none if it may now.
    pub(super) fn remaining(&self, since_last: Option<Duration>) -> Option<Duration> {
        self.min_interval.checked_sub(since_last?).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_after_failures_double() {
        let schedule = Schedule::default();
        let pauses: Vec<_> = (0..9).map(|failures| schedule.pause(failures).as_secs()).collect();
        assert_eq!(pauses, [900, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn pauses_are_bounded(failures: u32, refresh in 1_u64..100_000) {
            let refresh = Duration::from_secs(refresh);
            let pause = Schedule { refresh, ..Schedule::default() }.pause(failures);
            prop_assert!(pause >= Duration::from_secs(1) && pause <= refresh);
        }

        #[test]
        fn callers_cause_one_fetch_in_an_interval(since in 0_u64..100_000) {
            let schedule = Schedule::default();
            let remaining = schedule.remaining(Some(Duration::from_millis(since)));
            prop_assert_eq!(remaining.is_none(), since >= 30_000);
            prop_assert!(remaining.is_none_or(|rest| rest <= schedule.min_interval));
            prop_assert_eq!(schedule.remaining(None), None);
        }
    }
}
