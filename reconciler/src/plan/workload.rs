//! The plan of one workload, from its two sides.

use dcp_model::manifest::Reset;

use super::reason;
use super::side::{Locate, Planned, Side, Sides, steps};
use super::{Class, Consent, Live, Reason, Workload};
use crate::state::Action;

pub(super) fn describe(
    domain: &str,
    name: &str,
    sides: &Sides<'_>,
    (old, new): (Side, Side),
    locate: &Locate<'_>,
) -> Planned {
    let (action, reasons) = match (old.is_there(), new.is_there()) {
        (false, _) => (Action::Create, Vec::new()),
        (true, false) => (Action::Delete, reason::of_deletion(&old)),
        (true, true) => {
            let reasons = reason::of_change(&old, &new, locate);
            (action(&old, &new, &reasons), reasons)
        }
    };
    let side = if new.is_there() { &new } else { &old };
    let workload = Workload {
        domain: domain.to_owned(),
        name: name.to_owned(),
        job: side.job.as_ref().map_or_else(String::new, |job| job.job.kind().to_string()),
        run: side.run().unwrap_or_default().to_owned(),
        action,
        consent: consent(action, &old, &new),
        live: match (&old.continuous, &new.continuous) {
            (None, None) => Live::NotContinuous,
            _ => Live::Unknown,
        },
        renamed: None,
        steps: steps(sides, action),
        reasons,
    };
    Planned { workload, old, new }
}

fn action(old: &Side, new: &Side, reasons: &[Reason]) -> Action {
    let runs = old.continuous.is_some();
    let goes_on = runs && new.continuous.is_some();
    match reasons.iter().map(|reason| reason.class).max() {
        Some(Class::Reset) => Action::Reset,
        // The stream is drained, and its replacement is not continuous.
        _ if runs && !goes_on => Action::Redeploy,
        Some(Class::Restart | Class::Unknown) if goes_on && !(old.is_paused() && new.is_paused()) => {
            Action::Redeploy
        }
        _ => Action::Update,
    }
}

fn consent(action: Action, old: &Side, new: &Side) -> Consent {
    let kept = |side: &Side| side.job.as_ref().is_some_and(|job| job.lifecycle.prevent_destroy);
    match action {
        Action::Delete if kept(old) => Consent::Refused,
        Action::Reset if kept(new) => Consent::Refused,
        Action::Delete if old.continuous.is_some() => Consent::Delete,
        // A workload that is no longer continuous loses its stream.
        Action::Redeploy if new.continuous.is_none() => Consent::Delete,
        Action::Reset => match new.continuous.as_ref().and_then(|it| Some(it.continuous()?.upgrade.reset)) {
            Some(Reset::Allow) => Consent::GivenByManifest,
            Some(Reset::Ask) | None => Consent::Reset,
        },
        _ => Consent::NotNeeded,
    }
}
