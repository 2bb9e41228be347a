//! Rate and latency of calls, sequential or concurrent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Result;

/// Returns the calls per second of `callers` concurrent callers, each of which always has one call in progress.
pub(super) async fn rate<F>(
    callers: usize,
    time: Duration,
    call: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send,
{
    let call = Arc::new(call);
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let call = Arc::clone(&call);
        tasks.spawn(async move {
            let mut completed = 0_u32;
            while begun.elapsed() < time {
                call(caller).await?;
                completed += 1;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(completed)
        });
    }
    let mut completed = 0;
    while let Some(done) = tasks.join_next().await {
        completed += done??;
    }
    Ok(f64::from(completed) / begun.elapsed().as_secs_f64())
}

/// Durations in seconds, in ascending order; never empty.
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn new(mut seconds: Vec<f64>) -> Result<Self> {
        if seconds.is_empty() {
            return Err("nothing was timed".into());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(Self(seconds))
    }

    /// Measures a call that is repeated for `time`.
    pub(crate) async fn measure(time: Duration, mut call: impl AsyncFnMut() -> Result<()>) -> Result<Self> {
        let (begun, mut seconds) = (Instant::now(), Vec::new());
        while seconds.is_empty() || begun.elapsed() < time {
            let start = Instant::now();
            call().await?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Self::new(seconds)
    }

    /// Returns the duration that `percent` of the calls do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len());
        self.0[at - 1]
    }

    /// Returns the rate, the median and the 99th percentile by the names that the report uses.
    pub(super) fn metrics(&self, prefix: &str) -> Vec<(&'static str, f64)> {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let names = match prefix {
            "flushes" => ["flushes", "flush_median", "flush_p99"],
            "one_submit" => ["one_submit", "one_submit_median", "one_submit_p99"],
            "one_empty" => ["one_empty", "one_empty_median", "one_empty_p99"],
            _ => ["one_check", "one_check_median", "one_check_p99"],
        };
        let per_second = f64::from(count) / self.0.iter().sum::<f64>();
        names.into_iter().zip([per_second, self.percentile(50), self.percentile(99)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn percentile_is_a_measured_time() {
        let times = Times::new((1..=200).rev().map(f64::from).collect()).unwrap();
        let is = |times: &Times, percent, seconds: f64| (times.percentile(percent) - seconds).abs() < 1e-9;
        assert!(is(&times, 50, 100.0) && is(&times, 99, 198.0) && is(&times, 100, 200.0));
        assert!(is(&Times::new(vec![7.0]).unwrap(), 1, 7.0));
        assert!(Times::new(Vec::new()).is_err());
    }

    #[tokio::test]
    async fn each_caller_has_one_call_in_progress() {
        static IN_PROGRESS: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
        static MAX_IN_PROGRESS: AtomicUsize = AtomicUsize::new(0);
        let call = |caller: usize| async move {
            assert_eq!(IN_PROGRESS[caller].fetch_add(1, SeqCst), 0);
            MAX_IN_PROGRESS.fetch_max(IN_PROGRESS.iter().map(|it| it.load(SeqCst)).sum(), SeqCst);
            tokio::task::yield_now().await;
            IN_PROGRESS[caller].fetch_sub(1, SeqCst);
            Ok(())
        };
        assert!(rate(3, Duration::from_millis(20), call).await.unwrap() > 0.0);
        assert_eq!(MAX_IN_PROGRESS.load(SeqCst), 3);
        assert!(rate(3, Duration::from_mins(1), async |_| Err("no".into())).await.is_err());
    }
}
