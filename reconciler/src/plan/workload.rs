//! The plan of one workload, from its two sides.

use dcp_model::manifest::Reset;

use super::reason;
use super::workload_version::{POOL, Planned, WorkloadDiff, WorkloadFieldLocator, WorkloadVersion, steps};
use super::{Class, Consent, Live, Reason, Workload};
use crate::state::Action;

pub(super) fn describe(
    domain: &str,
    name: &str,
    sides: &WorkloadDiff<'_>,
    (old, new): (WorkloadVersion, WorkloadVersion),
    locate: &WorkloadFieldLocator<'_>,
) -> Planned {
    let (action, reasons) = match (old.exists(), new.exists()) {
        (false, _) => (Action::Create, Vec::new()),
        (true, false) => (Action::Delete, reason::of_deletion(&old)),
        (true, true) => {
            let reasons = reason::of_change(&old, &new, locate);
            (action(&old, &new, &reasons), reasons)
        }
    };
    let side = if new.exists() { &new } else { &old };
    let workload = Workload {
        domain: domain.to_owned(),
        name: name.to_owned(),
        job: match &side.job {
            _ if side.pool.is_some() => POOL.to_owned(),
            Some(job) => job.job.kind().to_string(),
            None => String::new(),
        },
        run: side.run().unwrap_or_default().to_owned(),
        action,
        consent: consent(action, &old, &new),
        live: match [&old, &new].iter().any(|side| side.continuous.is_some() || side.pool.is_some()) {
            false => Live::NotContinuous,
            true => Live::Unknown,
        },
        renamed: None,
        steps: steps(sides, action),
        reasons,
    };
    Planned { workload, old, new }
}

fn action(old: &WorkloadVersion, new: &WorkloadVersion, reasons: &[Reason]) -> Action {
    let runs = old.is_permanent();
    let stays = is_same_kind(old, new);
    match reasons.iter().map(|reason| reason.class).max() {
        Some(Class::Reset) => Action::Reset,
        // The stream is drained, or the sessions of the pool end.
        _ if runs && !stays => Action::Redeploy,
        Some(Class::Restart | Class::Unknown) if stays && !(old.is_paused() && new.is_paused()) => {
            Action::Redeploy
        }
        _ => Action::Update,
    }
}

/// Returns whether both sides are continuous jobs, or both are pools.
fn is_same_kind(old: &WorkloadVersion, new: &WorkloadVersion) -> bool {
    (old.continuous.is_some() && new.continuous.is_some()) || (old.pool.is_some() && new.pool.is_some())
}

fn consent(action: Action, old: &WorkloadVersion, new: &WorkloadVersion) -> Consent {
    let prevents_destroy =
        |side: &WorkloadVersion| side.job.as_ref().is_some_and(|job| job.lifecycle.prevent_destroy);
    match action {
        Action::Delete if prevents_destroy(old) => Consent::Refused,
        Action::Reset if prevents_destroy(new) => Consent::Refused,
        Action::Delete if old.is_permanent() => Consent::Delete,
        // The workload loses its stream, or the sessions of the pool.
        Action::Redeploy if !is_same_kind(old, new) => Consent::Delete,
        Action::Reset => match new.continuous.as_ref().and_then(|it| Some(it.continuous()?.upgrade.reset)) {
            Some(Reset::Allow) => Consent::GivenByManifest,
            Some(Reset::Ask) | None => Consent::Reset,
        },
        _ => Consent::NotNeeded,
    }
}
