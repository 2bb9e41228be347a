//! Derives the declared settings of a continuous job from its applied revisions.

use dcp_model::manifest::{Continuous, Duration, Trigger};
use dcp_model::primitive::{Body, ContinuousJob, ContinuousRun, Kind};

use super::{Completes, Desired, Scaling, Version};
use crate::registry::sql::ChangedAddress;
use crate::state::Action;
use crate::state::Revision;

/// Reads the applied continuous job, or none if it was deleted. The error says why it can't be read.
pub(super) fn read(changed: &ChangedAddress) -> Result<Option<ContinuousJob>, String> {
    let Some(body) = &changed.body else { return Ok(None) };
    match Body::parse(Kind::ContinuousJob, body) {
        Ok(Body::ContinuousJob(job)) => Ok(Some(*job)),
        Ok(_) => Err("it is no continuous job".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the declared settings of a continuous job, or none if it was deleted.
pub fn desired(revisions: &[Revision], job: &ContinuousJob) -> Option<Desired> {
    let version = version(revisions, job)?;
    Some(match &job.run {
        ContinuousRun::Service { service } => Desired {
            version,
            paused: service.paused,
            on_unhealthy: service.upgrade.on_unhealthy,
            start_within: seconds(service.health.start_within),
            progress_within: 0,
            stable_after: seconds(service.health.stable_after),
            scaling: None,
            completes: None,
            author: None,
        },
        ContinuousRun::Continuous(continuous) => of_stream(version, continuous),
    })
}

fn of_stream(version: Version, job: &Continuous) -> Desired {
    let every = match &job.trigger {
        Trigger::Every(pause) => Some(*pause),
        Trigger::Asap(_) | Trigger::Continuous(_) => None,
    };
    // The pause between two batches does not count.
    let between = every.map_or(0, seconds);
    let scaling = job.scaling.as_ref().map(|it| Scaling {
        target: it.target_utilization,
        cool_down: seconds(it.cool_down),
        every_millis: every.map(Duration::millis),
        ..Scaling::default()
    });
    Desired {
        version,
        paused: job.paused,
        on_unhealthy: job.upgrade.on_unhealthy,
        start_within: seconds(job.health.start_within),
        progress_within: seconds(job.health.progress_within).saturating_add(between),
        stable_after: 0,
        scaling,
        completes: job
            .completes
            .as_ref()
            .map(|it| Completes { every: seconds(it.every), outputs: Vec::new() }),
        author: None,
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.millis().div_ceil(1000)
}

/// Returns the version of the newest revision, or none if there is none or it deleted the job. `newest` is its body.
pub fn version(revisions: &[Revision], newest: &ContinuousJob) -> Option<Version> {
    let last = revisions.iter().max_by_key(|it| it.revision)?;
    last.fingerprint.as_ref()?;
    let (mut build, mut state) = (0, 0);
    let mut in_order: Vec<&Revision> = revisions.iter().collect();
    in_order.sort_by_key(|it| it.revision);
    let mut exists = false;
    for Revision { revision, action, fingerprint, .. } in in_order {
        // A job that is applied again after its deletion continues from its last state.
        let begins = fingerprint.is_some() && !exists;
        exists = fingerprint.is_some();
        match action {
            Action::Reset => (build, state) = (*revision, *revision),
            _ if begins && state == 0 => (build, state) = (*revision, *revision),
            Action::Redeploy => build = *revision,
            _ if begins => build = *revision,
            Action::None | Action::Create | Action::Update | Action::Delete => {}
        }
    }
    Some(Version {
        revision: last.revision,
        build,
        state,
        job: newest.job_fingerprint.clone(),
        trigger: newest.continuous().map(|it| it.trigger.clone()),
        checkpoint: newest.continuous().map(|it| it.checkpoint.as_str().to_owned()),
        grace: seconds(newest.grace()),
    })
}

#[cfg(test)]
mod tests {
    use dcp_model::primitive::Fingerprint;

    use super::*;

    fn job() -> ContinuousJob {
        serde_json::from_value(serde_json::json!({
            "job": "CoreEtlJob/logistics/clicks",
            "jobFingerprint": Fingerprint::of("job").as_str(),
            "trigger": {"asap": {}},
            "checkpoint": "s3://lake/clicks",
            "upgrade": {"onUnhealthy": "rollback", "reset": "ask", "grace": "2m"},
            "health": {"startWithin": "10m", "progressWithin": "10m"},
            "paused": false,
        }))
        .unwrap()
    }

    fn of(actions: &[Action]) -> Option<(u64, u64, u64)> {
        let revision = |(at, action): (usize, &Action)| Revision {
            revision: at as u64 + 1,
            serial: at as u64 + 1,
            action: *action,
            fingerprint: (*action != Action::Delete).then(|| Fingerprint::of("any")),
        };
        // The registry tells the newest first.
        let revisions: Vec<Revision> = actions.iter().enumerate().map(revision).rev().collect();
        version(&revisions, &job()).map(|it| (it.revision, it.build, it.state))
    }

    #[test]
    fn service_has_no_checkpoint_and_is_stable_after_a_while() {
        let service: ContinuousJob = serde_json::from_value(serde_json::json!({
            "job": "CoreEtlJob/platform/connect",
            "jobFingerprint": Fingerprint::of("job").as_str(),
            "service": {
                "upgrade": {"onUnhealthy": "pause", "grace": "5s"},
                "health": {"startWithin": "1m", "stableAfter": "7s"},
                "paused": true,
            },
        }))
        .unwrap();
        let fingerprint = Some(Fingerprint::of("any"));
        let created = Revision { revision: 1, serial: 1, action: Action::Create, fingerprint };
        let desired = desired(&[created], &service).unwrap();
        assert!(desired.version.is_service() && desired.paused);
        assert_eq!((desired.version.trigger.as_ref(), desired.version.grace), (None, 5));
        assert_eq!((desired.start_within, desired.stable_after), (60, 7));
        assert_eq!(desired.on_unhealthy, dcp_model::manifest::OnUnhealthy::Pause);
    }

    #[test]
    fn redeploy_changes_the_build_and_reset_also_the_state() {
        use Action::{Create, Delete, Redeploy, Reset, Update};
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[Create]), Some((1, 1, 1)));
        assert_eq!(of(&[Create, Update, Update]), Some((3, 1, 1)));
        assert_eq!(of(&[Create, Update, Redeploy, Update]), Some((4, 3, 1)));
        assert_eq!(of(&[Create, Redeploy, Reset, Update]), Some((4, 3, 3)));
        assert_eq!(of(&[Create, Reset, Redeploy]), Some((3, 3, 2)));
        assert_eq!(of(&[Create, Delete]), None);
        // It comes back where it was.
        assert_eq!(of(&[Create, Reset, Delete, Create]), Some((4, 4, 2)));
        assert_eq!(of(&[Create, Delete, Update]), Some((3, 3, 1)));
        assert_eq!(of(&[Update, Redeploy]), Some((2, 2, 1)), "it was not continuous before");
    }
}
