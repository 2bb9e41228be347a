//! The choice of a cluster for an application: a pure function with its reasons.
//!
//! Filters exclude clusters by placement, domain, health and capacity, in this order. Among the others, those in the
//! most preferred region remain. The cluster with the lowest load for its weight is chosen. A hash of the names of
//! application and cluster decides between equal ones (weighted rendezvous hashing), so that repeated requests of one
//! application lead to one cluster, and many applications spread by the weights.

mod hash;
mod reason;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use crate::application::Placement;
pub use reason::Reason;

/// An application that needs a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The name of the application, from which equal clusters are chosen.
    pub application: &'a str,
    pub domain: &'a str,
    /// An order of preference for regions; other restrictions have no order.
    pub placement: &'a Placement,
}

/// A cluster, with its state at the time of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Unique among all clusters.
    pub name: String,
    pub region: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// The share of applications, relative to the weights of other clusters. 0 is drained.
    pub weight: u32,
    /// Maximum number of applications, if there is a limit.
    pub capacity: Option<u32>,
    /// The domains that may run here, or `None` for all.
    pub domains: Option<BTreeSet<String>>,
    pub health: Health,
    /// The number of applications that run or start here.
    pub load: u32,
    /// The reason why the cluster rejects this application, whatever its state.
    pub rejection: Option<String>,
}

/// The health of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Healthy,
    Unreachable { since: Timestamp, why: String },
}

/// The result of a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The name of the cluster, if one is suitable.
    pub chosen: Option<String>,
    /// The reason for each cluster, by name.
    pub reasons: BTreeMap<String, Reason>,
}

impl fmt::Display for Decision {
    /// Lists all clusters, the chosen one first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reasons.is_empty() {
            return f.write_str("there are no clusters");
        }
        let (chosen, others): (Vec<_>, Vec<_>) =
            self.reasons.iter().partition(|(name, _)| self.chosen.as_ref() == Some(*name));
        for (index, (name, reason)) in chosen.into_iter().chain(others).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}`{name}` {reason}")?;
        }
        Ok(())
    }
}

/// Chooses a cluster for an application. The order of the clusters has no effect.
pub fn route(request: &Request<'_>, clusters: &[Cluster]) -> Decision {
    let mut reasons = BTreeMap::new();
    let mut suitable = Vec::new();
    for cluster in clusters {
        match exclusion(request, cluster) {
            Some(reason) => _ = reasons.insert(cluster.name.clone(), reason),
            None => suitable.push(cluster),
        }
    }
    let best = suitable.iter().copied().max_by(|a, b| preference(request, a, b));
    for cluster in suitable {
        let reason = best.map_or(Reason::Chosen, |best| comparison(request, cluster, best));
        reasons.insert(cluster.name.clone(), reason);
    }
    Decision { chosen: best.map(|best| best.name.clone()), reasons }
}

/// Returns the reason of the first filter that excludes a cluster.
fn exclusion(request: &Request<'_>, cluster: &Cluster) -> Option<Reason> {
    placement(request.placement, cluster)
        .or_else(|| domain(request.domain, cluster))
        .or_else(|| Some(Reason::Rejected { why: cluster.rejection.clone()? }))
        .or_else(|| health(cluster))
        .or_else(|| capacity(cluster))
}

fn placement(placement: &Placement, cluster: &Cluster) -> Option<Reason> {
    let Placement { regions, clusters, tags } = placement;
    if !clusters.is_empty() && !clusters.contains(&cluster.name) {
        return Some(Reason::NotNamed);
    }
    if !regions.is_empty() && region_rank(placement, cluster).is_none() {
        return Some(Reason::Region { region: cluster.region.clone() });
    }
    let missing = tags.iter().find(|(key, value)| cluster.tags.get(*key) != Some(*value))?;
    let (key, value) = (missing.0.clone(), missing.1.clone());
    Some(Reason::Tag { key, value })
}

fn domain(domain: &str, cluster: &Cluster) -> Option<Reason> {
    let allowed = cluster.domains.as_ref()?;
    (!allowed.contains(domain)).then(|| Reason::Domain { domain: domain.to_owned() })
}

fn health(cluster: &Cluster) -> Option<Reason> {
    match &cluster.health {
        Health::Unreachable { since, why } => Some(Reason::Unreachable { since: *since, why: why.clone() }),
        Health::Healthy => (cluster.weight == 0).then_some(Reason::Drained),
    }
}

fn capacity(cluster: &Cluster) -> Option<Reason> {
    let (load, capacity) = (cluster.load, cluster.capacity?);
    (load >= capacity).then_some(Reason::Full { load, capacity })
}

/// Returns the position of a cluster's region in the order of preference.
fn region_rank(placement: &Placement, cluster: &Cluster) -> Option<usize> {
    let region = cluster.region.as_ref()?;
    placement.regions.iter().position(|allowed| allowed == region)
}

/// Compares two suitable clusters. The greater one is preferred.
fn preference(request: &Request<'_>, a: &Cluster, b: &Cluster) -> std::cmp::Ordering {
    let rank = |cluster| region_rank(request.placement, cluster);
    let score = |cluster: &Cluster| hash::score(request.application, &cluster.name, cluster.weight);
    rank(b)
        .cmp(&rank(a))
        .then_with(|| compare_load(b, a))
        .then_with(|| score(a).total_cmp(&score(b)))
        .then_with(|| b.name.cmp(&a.name))
}

/// Compares the loads of two clusters for their weights: `load / weight` without a division.
fn compare_load(a: &Cluster, b: &Cluster) -> std::cmp::Ordering {
    let product = |load: u32, weight: u32| u64::from(load) * u64::from(weight);
    product(a.load, b.weight).cmp(&product(b.load, a.weight))
}

/// Returns the reason why a suitable cluster is the best one, or why it is not.
fn comparison(request: &Request<'_>, cluster: &Cluster, best: &Cluster) -> Reason {
    if cluster.name == best.name {
        return Reason::Chosen;
    }
    if region_rank(request.placement, cluster) != region_rank(request.placement, best) {
        return Reason::LessPreferredRegion { region: cluster.region.clone().unwrap_or_default() };
    }
    match compare_load(cluster, best) {
        std::cmp::Ordering::Equal => Reason::Tie { chosen: best.name.clone() },
        _ => Reason::MoreLoad { load: cluster.load, weight: cluster.weight },
    }
}

#[cfg(test)]
mod tests;
