//! The first lines of a plan: counts of changes by domain, and the base state.

use std::collections::{BTreeMap, BTreeSet};

use dcp_reconciler::plan::Plan;
use dcp_reconciler::state::Action;
use jiff::Timestamp;

use crate::render::{format_count, format_thousands};

/// Above this number of domains, counts are not split by domain.
const DOMAINS: usize = 6;

/// Counts by danger and name, with the need of consent.
type Counts = BTreeMap<(u8, &'static str), (u64, bool)>;

/// Summarizes the changes, with dangerous ones in capitals.
pub(crate) fn headline(plan: &Plan) -> String {
    let mut domains: BTreeMap<&str, Counts> = BTreeMap::new();
    let names: BTreeSet<&str> = plan.workloads.iter().map(|it| it.domain.as_str()).collect();
    let many = names.len() > DOMAINS;
    for workload in &plan.workloads {
        let domain = if many { "" } else { workload.domain.as_str() };
        let name = match workload.action {
            Action::Reset => "RESET",
            Action::Delete if matches!(workload.run.as_str(), "continuous" | "service" | "pool") => "DELETE",
            other => other.name(),
        };
        let counts = domains.entry(domain).or_default();
        let count = counts.entry((super::danger(workload), name)).or_default();
        count.0 += 1;
        count.1 |= super::consent(workload).is_some_and(|text| !text.contains("given"));
    }
    let mut parts: Vec<String> = Vec::new();
    for (domain, counts) in domains {
        let counts = counts.into_iter().map(|((_, name), (count, asks))| {
            let needs = if asks { " (needs consent)" } else { "" };
            format!("{} {name}{needs}", format_thousands(usize::try_from(count).unwrap_or(usize::MAX)))
        });
        let counts = counts.collect::<Vec<_>>().join(", ");
        parts.push(if domain.is_empty() { counts } else { format!("{domain}: {counts}") });
    }
    let number = |count: u64| format_thousands(usize::try_from(count).unwrap_or(usize::MAX));
    if plan.unchanged > 0 {
        parts.push(format!("{} unchanged", number(plan.unchanged)));
    }
    if plan.left_out > 0 {
        parts.push(format!("{} not looked at", number(plan.left_out)));
    }
    if parts.is_empty() { "there are no workloads".to_owned() } else { parts.join(" · ") }
}

impl Base<'_> {
    /// Describes the base state, with its age at `now`, or without `now` its time.
    pub(crate) fn describe(&self, now: Option<Timestamp>) -> String {
        let Some(applied) = &self.0.applied else {
            return format!("nothing was ever applied to {}", self.0.scope);
        };
        let commit = applied.commit.as_deref().map(short).map(|it| format!(" at {it}")).unwrap_or_default();
        let when = match now {
            Some(now) => ago(applied.at, now),
            None => applied.at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        };
        format!(
            "{}, serial {}, applied by {}{commit}, {when}",
            self.0.scope,
            applied.serial,
            crate::render::sanitize(&applied.by)
        )
    }
}

/// The state that a plan was made against.
pub(crate) struct Base<'a>(pub(crate) &'a Plan);

fn short(commit: &str) -> String {
    let (hash, dirty) = commit.split_once('-').map_or((commit, ""), |(hash, rest)| (hash, rest));
    let short: String = hash.chars().take(7).collect();
    if dirty.is_empty() { short } else { format!("{short} with changes") }
}

/// Formats an age, roughly.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - at.as_second()).max(0);
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} ago", format_count(usize::try_from(seconds / 86_400).unwrap_or(usize::MAX), "day")),
    }
}
