//! Has it be told what is complete of what streams write: all up to what their watermarks have passed.

use dcp_runner::api::Holder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attend::Job;
use crate::assets::Told;

/// Who tells it.
pub(super) const ORIGIN: &str = "stream";

/// When what a stream writes is told to be complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completes {
    /// Seconds from one time to the next one.
    pub every: u64,
    /// As `kind:name`.
    pub outputs: Vec<String>,
}

impl Completes {
    /// The last time up to which everything is there.
    pub(super) fn up_to(&self, watermark: Timestamp) -> Option<Timestamp> {
        let every = i64::try_from(self.every).ok().filter(|every| *every > 0)?;
        let second = watermark.as_second();
        Timestamp::from_second(second - second.rem_euclid(every)).ok()
    }
}

/// Up to when a stream's output is complete, by the revision that began its state: one that begins anew begins at the
/// first event again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UpTo {
    state: u64,
    time: Timestamp,
}

/// What is to be told of a job whose run was seen, and the time that it is complete up to. What a stream has completed it
/// has completed once, whichever of its runs did: as one that goes on where another one was writes nothing of it again. One
/// that begins anew does.
pub(super) fn due(job: &Job, holder: &Holder) -> Option<(UpTo, Told)> {
    let desired = job.desired.as_ref()?;
    let completes = desired.completes.as_ref()?;
    // Another build may write something else.
    let run = job.memory.kept.run.as_ref().filter(|run| run.version.build == desired.version.build)?;
    let time = completes.up_to(holder.progress.as_ref()?.watermark?)?;
    let up_to = UpTo { state: run.version.state, time };
    let is_told = job.complete.is_some_and(|told| told.state == up_to.state && told.time >= time);
    if is_told || completes.outputs.is_empty() {
        return None;
    }
    let told = Told {
        assets: completes.outputs.clone(),
        partition: format!("to={time}"),
        run: format!("{}/{}-{}", job.domain, job.name, up_to.state),
        job: Some(format!("{}/{}", job.domain, job.name)),
        origin: ORIGIN.to_owned(),
    };
    Some((up_to, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_complete_up_to_the_last_full_stretch() {
        let up_to = |every, at: &str| {
            let completes = Completes { every, outputs: Vec::new() };
            completes.up_to(at.parse().unwrap()).map(|it| it.to_string())
        };
        for (every, at, complete) in [
            (3600, "2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z"),
            (3600, "2026-11-20T14:59:59.999Z", "2026-11-20T14:00:00Z"),
            (86_400, "2026-11-20T14:59:59Z", "2026-11-20T00:00:00Z"),
            (3600, "1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z"),
        ] {
            assert_eq!(up_to(every, at).as_deref(), Some(complete));
        }
        for every in [0, u64::MAX] {
            assert_eq!(up_to(every, "2026-11-20T14:00:00Z"), None);
        }
    }
}
