//! The reasons of changes of pools.

use dcp_model::manifest::{CORE_ETL, POOL, SESSION_TIMEOUT, Share};

use super::stream::Finding;
use super::workload_version::WorkloadVersion;
use super::{Class, Reason, workload_version};

/// The cost of a change of the drivers' job.
pub(super) const REPLACED: &str =
    "new sessions get new drivers; existing sessions stay on their drivers until they end";

/// Returns whether a field of the job has the value of another field of the pool.
pub(super) fn is_derived(path: &[String]) -> bool {
    matches!(path, [spark, conf, setting] if spark == "spark" && conf == "conf" && setting == SESSION_TIMEOUT)
}

/// Returns the reason of the deletion of a pool.
pub(super) fn deletion() -> Reason {
    Reason {
        field: "sessions".to_owned(),
        what: None,
        old: None,
        new: None,
        diff: None,
        class: Class::Reset,
        why: "all drivers of the pool are stopped, and their sessions end".to_owned(),
        at: None,
    }
}

/// Returns the reason of a change of the share level.
pub(super) fn share(old: Share, new: Share) -> Finding {
    let why = match new {
        Share::Private => {
            "each driver serves one user from now on; a driver with sessions of several users takes no new ones, and \
             is stopped after its last one"
        }
        Share::Domain => {
            "drivers without a user take sessions of all users of the domain from now on; a driver with a user stays with \
             that user until it ends"
        }
    };
    let name = |share| match share {
        Share::Domain => "domain".to_owned(),
        Share::Private => "private".to_owned(),
    };
    Finding { old: Some(name(old)), new: Some(name(new)), ..Finding::new(&["share"], Class::InPlace, why) }
}

/// Returns the reason of a change from a workload to a pool, or from a pool to a workload.
pub(super) fn other_kind(old: &WorkloadVersion, new: &WorkloadVersion) -> Finding {
    let (class, why) = match (old.run(), new.run()) {
        (Some(workload_version::POOL), _) => (
            Class::Restart,
            "all drivers of the pool are stopped, and their sessions end; then the workload runs",
        ),
        (Some("continuous"), _) => {
            (Class::Restart, "the stream is drained; then drivers are started for sessions")
        }
        (Some("service"), _) => {
            (Class::Restart, "the service is stopped; then drivers are started for sessions")
        }
        _ => (Class::InPlace, "drivers are started for sessions; the workload does not run any more"),
    };
    let kind = |side: &WorkloadVersion| Some(if side.pool.is_some() { POOL } else { CORE_ETL }.to_owned());
    Finding { old: kind(old), new: kind(new), ..Finding::new(&["kind"], class, why) }
}
