//! Has it be told what is complete of what streams write: all up to what their watermarks have passed.

use dcp_runner::api::Holder;

use super::job::{Job, UpTo};
use crate::assets::Told;

/// Who tells it.
pub(super) const ORIGIN: &str = "stream";

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
