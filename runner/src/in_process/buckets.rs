//! Limits of submits a second, by a token bucket for each domain. Pure: the caller passes the time.

use std::collections::HashMap;
use std::time::Duration;

/// Maximum number of buckets. Domains beyond share one.
const MAX_BUCKETS: usize = 10_000;

/// A token bucket for the submits of one second. It stores the time at which it is full again: a submit moves that time by
/// the interval of the rate, and is rejected if that would be later than a second from now.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes a token. Fails with the time until there is one.
    fn take(&mut self, rate: u32, now: Duration) -> Result<(), Duration> {
        let (interval, capacity) = interval_and_capacity(rate);
        let full_at = self.full_at.max(now) + interval;
        match full_at.saturating_sub(now + capacity) {
            Duration::ZERO => {
                self.full_at = full_at;
                Ok(())
            }
            wait => Err(wait),
        }
    }

    fn give_back(&mut self, rate: u32) {
        self.full_at = self.full_at.saturating_sub(interval_and_capacity(rate).0);
    }
}

/// Returns the time between two submits at a rate, and the time of as many submits as may come at once.
fn interval_and_capacity(rate: u32) -> (Duration, Duration) {
    let interval = Duration::from_secs(1) / rate.max(1);
    (interval, interval * rate.max(1))
}

/// The buckets of all domains with a limit. A full bucket is removed when space is needed, because a new one is full too.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    by_domain: HashMap<String, Bucket>,
    shared: Bucket,
}

impl Buckets {
    /// Takes a token for a submit of a domain with this rate. Fails with the time until there is one.
    pub(super) fn take(&mut self, domain: &str, rate: u32, now: Duration) -> Result<(), Duration> {
        if !self.by_domain.contains_key(domain) {
            if self.by_domain.len() >= MAX_BUCKETS {
                self.by_domain.retain(|_, bucket| bucket.full_at > now);
            }
            if self.by_domain.len() < MAX_BUCKETS {
                self.by_domain.insert(domain.to_owned(), Bucket::default());
            }
        }
        self.bucket(domain).take(rate, now)
    }

    /// Returns the token of a submit that does not count.
    pub(super) fn give_back(&mut self, domain: &str, rate: u32) {
        self.bucket(domain).give_back(rate);
    }

    fn bucket(&mut self, domain: &str) -> &mut Bucket {
        self.by_domain.get_mut(domain).unwrap_or(&mut self.shared)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    proptest! {
        /// Submits at any times, of one domain among others.
        #[test]
        fn accepted_submits_stay_within_the_rate(
            rate in 1..50_u32, pauses in proptest::collection::vec(0..300_u64, 1..200),
        ) {
            let (mut buckets, mut now, mut accepted) = (Buckets::default(), Duration::ZERO, Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                let _ = buckets.take("other", 1, now);
                match buckets.take("sales", rate, now) {
                    Ok(()) => accepted.push(now),
                    Err(wait) => {
                        // The reported time is exact: a nanosecond before it is too early.
                        prop_assert!(wait <= SECOND);
                        let mut early = Bucket { ..buckets.by_domain["sales"] };
                        prop_assert!(early.take(rate, now + wait.saturating_sub(Duration::from_nanos(1))).is_err());
                        prop_assert!(early.take(rate, now + wait).is_ok());
                    }
                }
            }
            // In any time, no more than the submits of that time at the rate, and of one second.
            for (first, from) in accepted.iter().enumerate() {
                for (last, to) in accepted.iter().enumerate().skip(first) {
                    let allowed = f64::from(rate) * (to.saturating_sub(*from).as_secs_f64() + 1.0) + 0.001;
                    prop_assert!(f64::from(u32::try_from(last - first + 1).unwrap()) <= allowed);
                }
            }
        }

        /// Submits that are slower than the rate are never rejected, and a token that was given back can be taken again.
        #[test]
        fn submits_within_the_rate_are_accepted(rate in 1..1000_u32, times in 1..100_u32) {
            let mut buckets = Buckets::default();
            for number in 0..times {
                let now = SECOND * number / rate + Duration::from_nanos(u64::from(number));
                prop_assert_eq!(buckets.take("sales", rate, now), Ok(()));
            }
            let mut buckets = Buckets::default();
            for _ in 0..rate {
                prop_assert_eq!(buckets.take("sales", rate, SECOND), Ok(()));
            }
            prop_assert!(buckets.take("sales", rate, SECOND).is_err());
            buckets.give_back("sales", rate);
            prop_assert_eq!(buckets.take("sales", rate, SECOND), Ok(()));
            prop_assert!(buckets.take("sales", rate, SECOND).is_err());
        }
    }

    #[test]
    fn memory_is_bounded_whatever_domains_are_named() {
        let (mut buckets, now) = (Buckets::default(), SECOND);
        let all = MAX_BUCKETS + 100;
        let accepted = (0..all).filter(|number| buckets.take(&number.to_string(), 1, now).is_ok()).count();
        assert_eq!((buckets.by_domain.len(), accepted), (MAX_BUCKETS, MAX_BUCKETS + 1));
        // Full buckets make space.
        assert_eq!(buckets.take("another", 1, now + SECOND), Ok(()));
        assert_eq!(buckets.by_domain.len(), 1);
    }

    #[test]
    fn a_changed_rate_is_in_force_at_once() {
        let mut buckets = Buckets::default();
        assert_eq!(buckets.take("sales", 1, SECOND), Ok(()));
        assert!(buckets.take("sales", 1, SECOND).is_err());
        assert!(buckets.take("sales", 10, SECOND).is_err(), "the second of the first submit is not over");
        assert_eq!(buckets.take("sales", 10, SECOND + Duration::from_millis(100)), Ok(()));
    }
}
