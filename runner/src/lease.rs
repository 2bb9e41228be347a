//! The rules of leases, for Runners and for reconcilers: how long a holder may act, and when others take over.
//!
//! A holder sends heartbeats. An observer that sees the same heartbeat for the whole term, by its own clock, takes over,
//! so that no two clocks are compared. A holder that could not send a heartbeat for two thirds of the term stops, before
//! others take over.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::clock::{Clock, Moment};

/// The term of a lease.
#[derive(Debug, Clone)]
pub struct LeaseTerm {
    length: Duration,
    clock: Clock,
}

impl LeaseTerm {
    pub fn new(length: Duration, clock: Clock) -> Self {
        Self { length, clock }
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Returns true if the holder may act. `confirmed_at` is the start of its last successful heartbeat.
    pub fn may_act(&self, confirmed_at: Moment) -> bool {
        self.clock.elapsed(confirmed_at) < self.length * 2 / 3
    }

    pub fn heartbeat_interval(&self) -> Duration {
        self.length / 5
    }
}

/// The last heartbeat of each other holder, and when it was first seen.
#[derive(Debug)]
pub struct ObservedHeartbeats<K, H>(HashMap<K, (H, Moment)>);

impl<K, H> Default for ObservedHeartbeats<K, H> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, H: PartialEq> ObservedHeartbeats<K, H> {
    /// Returns true if a holder has sent no heartbeat for the whole term.
    pub fn is_silent(&mut self, holder: K, heartbeat: H, term: &LeaseTerm) -> bool {
        let now = term.now();
        match self.0.get(&holder) {
            Some((last, since)) if *last == heartbeat => now.since(*since) > term.length,
            _ => {
                self.0.insert(holder, (heartbeat, now));
                false
            }
        }
    }

    /// Forgets holders.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.0.retain(|holder, _| keep(holder));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_holder_stops_before_others_take_over() {
        let millis = Arc::new(AtomicU64::new(0));
        let term = LeaseTerm::new(Duration::from_secs(15), Clock::manual(Arc::clone(&millis)));
        let (confirmed_at, mut observed) = (term.now(), ObservedHeartbeats::default());
        assert!(!observed.is_silent("other", 1, &term));
        let at = |time| millis.store(time, Ordering::SeqCst);
        at(9_999);
        assert!(term.may_act(confirmed_at));
        at(10_000);
        assert!(!term.may_act(confirmed_at) && !observed.is_silent("other", 1, &term));
        at(15_000);
        assert!(!observed.is_silent("other", 1, &term));
        at(15_001);
        assert!(observed.is_silent("other", 1, &term));
        assert!(!observed.is_silent("other", 2, &term), "another heartbeat begins another term");
        at(40_000);
        observed.retain(|_| false);
        assert!(!observed.is_silent("other", 2, &term), "a forgotten holder is new");
    }
}
