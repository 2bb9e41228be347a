//! Reads from a registry what is declared of its continuous jobs.

use std::collections::HashMap;

use dcp_model::primitive::{Address, Body, CoreEtlJob, Fingerprint, Kind};

use super::{Desired, desired};
use crate::registry::sql::Sql;
use crate::registry::{Registry as _, Result};
use crate::state::Scope;

/// The declared settings of a job, or the reason why they can't be read.
pub(super) type Declared = std::result::Result<Option<Desired>, String>;

/// The jobs of a scope that were changed after a serial, and the serial that this is so at.
pub(super) async fn read_declared(
    registry: &Sql,
    scope: &Scope,
    since: u64,
) -> Result<(u64, Vec<(Address, Declared)>)> {
    let (serial, changed) = registry.changed(scope, Kind::ContinuousJob, since).await?;
    let mut all = Vec::with_capacity(changed.len());
    // Jobs that follow the load need their resources, and jobs that report partitions need their outputs.
    let mut needed = Vec::new();
    for changed in changed {
        match super::version::read(&changed) {
            Err(why) => all.push((changed.address, Err(why))),
            Ok(None) => all.push((changed.address, Ok(None))),
            Ok(Some(job)) => {
                if job.continuous().is_some_and(|it| it.scaling.is_some() || it.completes.is_some()) {
                    needed.push(job.job_fingerprint.clone());
                }
                let desired = desired(&changed.revisions, &job)
                    .map(|desired| Desired { author: Some(changed.author), ..desired });
                all.push((changed.address, Ok(desired)));
            }
        }
    }
    if !needed.is_empty() {
        let texts = registry.bodies(scope, &needed).await?;
        let jobs: HashMap<Fingerprint, CoreEtlJob> =
            needed.into_iter().zip(texts).filter_map(|(at, text)| Some((at, job(&text)?))).collect();
        for desired in all.iter_mut().filter_map(|(_, it)| it.as_mut().ok()?.as_mut()) {
            if let Some(job) = jobs.get(&desired.version.job) {
                desired.scaling = desired.scaling.take().and_then(|it| it.within(job));
                if let Some(completes) = &mut desired.completes {
                    completes.outputs =
                        job.outputs.iter().map(|it| format!("{}:{}", it.kind, it.name)).collect();
                }
            }
        }
    }
    Ok((serial, all))
}

fn job(text: &str) -> Option<CoreEtlJob> {
    match Body::parse(Kind::CoreEtlJob, text) {
        Ok(Body::CoreEtlJob(job)) => Some(*job),
        _ => None,
    }
}
