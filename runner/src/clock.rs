//! The clock that leases are measured by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point in time, as the time since the machine was booted.
///
/// `std::time::Instant` stands still while a machine is suspended. A process that measured its lease by it would
/// believe that it holds the lease when the machine resumes, though another process took it over meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Returns the time that passed since an earlier moment; zero if that is a later one.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A clock that can't be set and that runs while the machine is suspended.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// Returns a clock for simulations, which shows the given number of milliseconds.
    pub fn manual(millis: Arc<AtomicU64>) -> Self {
        Self(Some(millis))
    }

    pub fn now(&self) -> Moment {
        match &self.0 {
            Some(millis) => Moment(Duration::from_millis(millis.load(Ordering::SeqCst))),
            None => Moment(since_boot()),
        }
    }

    /// Returns the time that passed since a moment.
    pub fn elapsed(&self, since: Moment) -> Duration {
        self.now().since(since)
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // Neither part of this clock is ever negative.
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/proc/uptime` counts the time in which the machine was suspended.
    #[test]
    fn clock_agrees_with_uptime_including_suspension() {
        let uptime = || -> f64 {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        let (before, Moment(now), after) = (uptime(), Clock::default().now(), uptime());
        // The file has hundredths of a second, rounded down.
        let now = now.as_secs_f64();
        assert!(before - 0.02 <= now && now <= after + 0.02, "{before} {now} {after}");
    }

    #[test]
    fn manual_clock_moves_only_when_set() {
        let millis = Arc::new(AtomicU64::new(5));
        let clock = Clock::manual(Arc::clone(&millis));
        let begun = clock.now();
        assert_eq!(clock.elapsed(begun), Duration::ZERO);
        millis.store(8, Ordering::SeqCst);
        assert_eq!(clock.elapsed(begun), Duration::from_millis(3));
        millis.store(1, Ordering::SeqCst);
        assert_eq!(clock.elapsed(begun), Duration::ZERO);
    }
}
