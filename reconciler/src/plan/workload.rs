//! A workload's two sides, and what is to be said of them.

use dcp_model::manifest::{Job, Location, Reset};
use dcp_model::primitive::{Body, ContinuousJob, CoreEtlJob, Kind, Orchestrator};
use serde_json::Value;

use super::compare::Sides;
use super::reason::{self, Locate};
use super::{Action, Class, Consent, Live, Reason, Step, Workload};

/// One side of a workload.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) job: Option<CoreEtlJob>,
    pub(super) continuous: Option<ContinuousJob>,
    pub(super) orchestrator: Option<Orchestrator>,
    /// The group whose DAG has its task.
    pub(super) group: Option<String>,
}

impl Side {
    pub(super) fn of(bodies: impl IntoIterator<Item = Body>, group: Option<String>) -> Self {
        let mut side = Self { group, ..Self::default() };
        for body in bodies {
            match body {
                Body::CoreEtlJob(job) => side.job = Some(*job),
                Body::ContinuousJob(job) => side.continuous = Some(*job),
                Body::Orchestrator(orchestrator) => side.orchestrator = Some(*orchestrator),
            }
        }
        side
    }

    /// How the workload is run, as the manifest calls it.
    pub(super) fn run(&self) -> Option<&'static str> {
        use dcp_model::dag::Schedule;
        match (&self.continuous, &self.orchestrator) {
            (Some(job), _) => Some(job.kind()),
            (None, Some(orchestrator)) => Some(match orchestrator.dag.schedule {
                Schedule::Cron(_) | Schedule::Every(_) => "schedule",
                Schedule::Assets { .. } => "onAssets",
                Schedule::Manual => "manual",
            }),
            (None, None) => self.group.as_ref().map(|_| "group"),
        }
    }

    fn is_there(&self) -> bool {
        self.job.is_some() || self.run().is_some()
    }

    /// Returns whether it is kept running, and is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.continuous.as_ref().is_some_and(ContinuousJob::is_paused)
    }

    /// Where state is kept, if it is.
    pub(super) fn checkpoint(&self) -> Option<&str> {
        let of_job = || match &self.job.as_ref()?.job {
            Job::Stream(stream) => stream.checkpoint.as_ref().map(Location::as_str),
            Job::Sql(_) | Job::Pyspark(_) | Job::Jar(_) => None,
        };
        let stream = self.continuous.as_ref().and_then(ContinuousJob::continuous);
        stream.map(|it| it.checkpoint.as_str()).or_else(of_job)
    }
}

/// A planned workload, with what it takes to order it and to recognise it under another name.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) workload: Workload,
    pub(super) old: Side,
    pub(super) new: Side,
}

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
        // The stream is drained; what comes in its place is started in another way.
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
        // A stream that is no longer kept running is one that is taken away.
        Action::Redeploy if new.continuous.is_none() => Consent::Delete,
        Action::Reset => match new.continuous.as_ref().and_then(|it| Some(it.continuous()?.upgrade.reset)) {
            Some(Reset::Allow) => Consent::GivenByManifest,
            Some(Reset::Ask) | None => Consent::Reset,
        },
        _ => Consent::NotNeeded,
    }
}

pub(super) fn steps(sides: &Sides<'_>, action: Action) -> Vec<Step> {
    let mut steps = Vec::new();
    for (address, (old, new)) in &sides.addresses {
        let before = old.map(|entry| entry.fingerprint.clone());
        let after = new.map(|primitive| primitive.fingerprint.clone());
        if before == after {
            continue;
        }
        let action = match (&before, &after) {
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
            (Some(_), Some(_)) if address.kind == Kind::Orchestrator => Action::Update,
            (Some(_), Some(_)) => action,
        };
        let body = new.map(|primitive| primitive.body.canonical());
        steps.push(Step { address: address.to_string(), action, before, after, body });
    }
    steps
}

/// A primitive as the plain data that differences are looked for in.
pub(super) fn value<T: serde::Serialize>(primitive: &T) -> Value {
    serde_json::to_value(primitive).expect("primitives have text as keys, and nothing that JSON can't hold")
}
