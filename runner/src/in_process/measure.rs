//! Progress of running streams, and measurements of runs.

use std::collections::BTreeMap;

use dcp_model::manifest::Sizing;
use dcp_objects::Objects;

use super::task::Task;
use super::{Inner, clean_at};
use crate::api::{Error, Record, Result};
use crate::execution::{Adjustment, Execution, Phase};
use crate::progress::Follower;
use crate::sizing::{self, Measured};
use crate::store::SaveExtras;

/// Maximum number of earlier runs that sizing reads.
const MAX_EARLIER_RUNS: u32 = 200;

impl Inner {
    /// Returns the values that are stored with a changed execution.
    pub(super) async fn extras(&self, record: &Record) -> SaveExtras {
        // Measured before the end is stored, because clients may start the next run as soon as they see it.
        let (is_final, succeeded) =
            (record.execution.phase.is_final(), record.execution.phase == Phase::Succeeded);
        SaveExtras {
            clean_at: clean_at(record),
            measured: if succeeded { self.measure(record).await } else { None },
            result_bytes: if is_final { self.result_bytes(record).await } else { None },
        }
    }

    /// Returns the settings that sizing derives from earlier runs for the first attempt.
    pub(super) async fn size(&self, record: &Record) -> Result<BTreeMap<String, Adjustment>> {
        let job = match self.job(&record.request.job).await {
            // The error is reported when the attempt is created.
            Err(Error::Corrupt(_)) => return Ok(BTreeMap::new()),
            other => other?,
        };
        let job = job.job();
        if job.resources.sizing != Some(Sizing::Auto) {
            return Ok(BTreeMap::new());
        }
        let earlier = self.store.measured(&record.request, MAX_EARLIER_RUNS).await?;
        Ok(sizing::size(job, &sizing::relevant_runs(job, &earlier)))
    }

    /// Reads the progress of a stream's queries, if its backend has an event log.
    pub(super) async fn follow(
        &self,
        record: &Record,
        task: &Task,
        current_follower: &mut Option<(u32, Follower)>,
    ) {
        let Execution { attempts, phase, .. } = &record.execution;
        let Some(attempt) = attempts.last().filter(|_| record.request.streaming.is_some()) else { return };
        if !matches!(phase, Phase::Running | Phase::Cancelling) {
            return;
        }
        let follower = match current_follower.take() {
            Some((number, follower)) if number == attempt.number => follower,
            _ => {
                let objects =
                    attempt.addresses.event_log.as_deref().and_then(|url| Objects::open_untrusted(url).ok());
                let Some(objects) = objects else { return };
                Follower::new(objects)
            }
        };
        let (_, follower) = current_follower.insert((attempt.number, follower));
        if !follower.is_due() {
            return;
        }
        // A log that can't be read now may be readable later. Until then there is no progress.
        let latest = follower.poll().await.ok().flatten();
        let mut progress = task.progress();
        if progress.0 != latest {
            *progress = (latest, false);
        }
    }

    /// Measures a run by its event log. If that fails, the next run is sized without this one.
    async fn measure(&self, record: &Record) -> Option<Measured> {
        // A stream's event log is incomplete, because parts that were read are removed.
        if record.request.streaming.is_some() {
            return None;
        }
        let url = record.execution.attempts.last()?.addresses.event_log.as_deref()?;
        sizing::event_log::read(url).await.ok()
    }
}
