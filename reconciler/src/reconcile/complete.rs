//! Reports partitions of streams' outputs as complete once the watermarks pass them.

use dcp_runner::api::Holder;

use super::job::{Job, UpTo};
use crate::assets::NewCompletions;

/// The origin of these reports.
pub(super) const ORIGIN: &str = "stream";

/// Returns the report that is due for a job, and the time up to which its outputs are complete.
///
/// The runs of one state complete a partition once: a run that continues from a checkpoint writes nothing again. A run
/// that begins with another state reports again.
pub(super) fn due_report(job: &Job, holder: &Holder) -> Option<(UpTo, NewCompletions)> {
    let desired = job.desired.as_ref()?;
    let completes = desired.completes.as_ref()?;
    // Another build may write something else.
    let run = job.stored.state.run.as_ref().filter(|run| run.version.build == desired.version.build)?;
    let time = completes.up_to(holder.progress.as_ref()?.watermark?)?;
    let up_to = UpTo { state: run.version.state, time };
    let is_reported = job.completed_up_to.is_some_and(|new| new.state == up_to.state && new.time >= time);
    if is_reported || completes.outputs.is_empty() {
        return None;
    }
    let new = NewCompletions {
        assets: completes.outputs.clone(),
        partition: format!("to={time}"),
        run: format!("{}/{}-{}", job.domain, job.name, up_to.state),
        job: Some(format!("{}/{}", job.domain, job.name)),
        origin: ORIGIN.to_owned(),
    };
    Some((up_to, new))
}
