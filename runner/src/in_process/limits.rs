//! The limits of the domains, as the policy has them now.

use std::ops::Range;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use dcp_model::manifest::Job;
use dcp_model::primitive::CoreEtlJob;
use dcp_server::policy::Quota;

use super::Inner;
use super::buckets::Buckets;
use super::lines::{Key, Place};
use super::task::Task;
use crate::api::{Error, Record, Result};
use crate::execution::Phase;
use crate::machine::Effect;

/// Bounds of the pause before the start of an execution whose domain has reached its limit is tried again, in
/// milliseconds. The pause is random, so that several Runners get their turns.
const RETRY_MILLIS: Range<u64> = 250..750;
/// Maximum time to read the size of a result.
const SIZE_TIMEOUT: Duration = Duration::from_secs(10);

impl Inner {
    /// Returns the limits of a domain.
    pub(super) fn quota(&self, domain: &str) -> Quota {
        let policy = self.options.policy.as_ref();
        policy.map(|policy| policy.borrow().limits.of(domain)).unwrap_or_default()
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a submit of a domain. Fails if it is beyond the submits a second.
    pub(super) fn count_submit(&self, domain: &str, quota: Quota) -> Result<()> {
        let Some(rate) = quota.submits_per_second else { return Ok(()) };
        let taken = self.buckets().take(domain, rate, self.started.1.elapsed());
        taken.map_err(|wait| Error::Exhausted {
            message: format!(
                "the domain `{domain}` submits more than {rate} times a second to this Runner (limit \
                 `submitsPerSecond: {rate}` of the policy): retry after {} ms",
                wait.as_millis() + 1
            ),
            retry_after: Some(wait),
        })
    }

    /// Takes back the count of a submit that was a repetition.
    pub(super) fn uncount_submit(&self, domain: &str, quota: Quota) {
        if let Some(rate) = quota.submits_per_second {
            self.buckets().give_back(domain, rate);
        }
    }

    /// Rejects a job that returns rows if the domain has reached its limit of stored results.
    pub(super) async fn check_results(&self, job: &CoreEtlJob, domain: &str, quota: Quota) -> Result<()> {
        let Some(limit) = quota.results.filter(|_| returns_rows(job)) else { return Ok(()) };
        let stored = self.store.result_bytes(domain).await?;
        if stored < limit {
            return Ok(());
        }
        let message = format!(
            "the results of the domain `{domain}` take {} (limit `results: {}` of the policy): each is removed when the \
             `ttl` of its job has passed since its end. Retry then, set a shorter `ttl`, or set `returnResult: false` \
             and write the rows to a table",
            size(stored),
            size(limit)
        );
        Err(Error::Exhausted { message, retry_after: None })
    }

    /// Returns the number of bytes of the result of an execution that has ended. A size that can't be read now does not
    /// count.
    pub(super) async fn result_bytes(&self, record: &Record) -> Option<u64> {
        let results = self.options.results.as_ref().filter(|_| !record.execution.attempts.is_empty())?;
        let job = self.job(&record.request.job).await.ok()?;
        if !returns_rows(job.job()) {
            return None;
        }
        let bytes = tokio::time::timeout(SIZE_TIMEOUT, results.size(record.id())).await.ok()?.ok()?;
        (bytes > 0).then_some(bytes)
    }

    /// Returns the limit of running executions, if an action would start an attempt of a domain that has one.
    pub(super) fn running_limit(&self, record: &Record, effect: &Effect) -> Option<u32> {
        let starts =
            *effect == Effect::Step && matches!(record.execution.phase, Phase::Queued | Phase::Retrying);
        self.quota(&record.request.domain).running.filter(|_| starts)
    }

    /// Takes a place in the line of an execution, unless it has one. Returns true if it is the first one.
    pub(super) fn is_first_in_line(
        &self,
        record: &Record,
        task: &Arc<Task>,
        place: &mut Option<Place>,
    ) -> bool {
        let place = place.get_or_insert_with(|| {
            let key = Key {
                domain: record.request.domain.clone(),
                backend: record.execution.backend,
                needs_slot: self.slots_of(record).is_some(),
            };
            self.lines.join(key, record.id(), task)
        });
        place.is_first()
    }
}

/// Returns the pause before an execution whose domain has reached its limit tries to start again.
pub(super) fn retry_pause() -> Duration {
    Duration::from_millis(rand::random_range(RETRY_MILLIS))
}

fn returns_rows(job: &CoreEtlJob) -> bool {
    matches!(&job.job, Job::Sql(sql) if sql.return_result)
}

/// Returns a number of bytes in the largest unit of which there is at least one.
fn size(bytes: u64) -> String {
    let (unit, shift) = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes >> shift > 0)
        .unwrap_or(("bytes", 0));
    let tenths = (u128::from(bytes) * 10) >> shift;
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        let sizes = [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1 << 10, "1 KiB"),
            (1536, "1.5 KiB"),
            (10 << 30, "10 GiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }
}
