//! Consent for changes that lose state or delete jobs.

use std::collections::BTreeSet;

use super::{Consent, Plan, Workload};

/// The allowed workloads: `domain/name`, or `all`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    pub resets: BTreeSet<String>,
    pub deletions: BTreeSet<String>,
}

impl Allowed {
    /// Returns whether a workload may be changed as planned.
    pub fn covers(&self, workload: &Workload) -> bool {
        let named = |given: &BTreeSet<String>| given.contains(&workload.id()) || given.contains("all");
        match workload.consent {
            Consent::NotNeeded | Consent::GivenByManifest => true,
            Consent::Reset => named(&self.resets),
            Consent::Delete => named(&self.deletions),
            Consent::Refused => false,
        }
    }

    /// Returns the workloads that lack consent.
    pub fn refused<'p>(&self, plan: &'p Plan) -> Vec<&'p Workload> {
        plan.workloads.iter().filter(|workload| !self.covers(workload)).collect()
    }
}
