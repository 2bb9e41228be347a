//! Limits of domains.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{ALL, DomainSelector};
use crate::manifest::Memory;

/// Limits of domains. Each domain of the entry has them for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainLimits {
    /// The domains; `*` stands for each domain. An entry that names a domain decides over `*`, field by field.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub domains: Vec<DomainSelector>,
    /// Maximum number of executions with an attempt that is or may be alive, at all Runners of a database together.
    /// Further executions are queued. Continuous jobs count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub running: Option<u32>,
    /// Maximum number of executions that wait to be started by a Runner. Further submits are rejected. If omitted, that
    /// of `--max-queued-per-domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queued: Option<u32>,
    /// Maximum number of submits a second at a Runner, and of submits at once. Further submits are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub submits_per_second: Option<u32>,
    /// Maximum size of all stored results. Once it is reached, submits of jobs with `returnResult` are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Memory>,
}

impl DomainLimits {
    /// Returns true if the entry limits nothing.
    pub fn is_empty(&self) -> bool {
        self.quota() == Quota::default()
    }

    fn quota(&self) -> Quota {
        let &Self { domains: _, running, queued, submits_per_second, results } = self;
        Quota { running, queued, submits_per_second, results: results.map(Memory::bytes) }
    }
}

/// The limits of one domain. None stands for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    pub running: Option<u32>,
    pub queued: Option<u32>,
    pub submits_per_second: Option<u32>,
    /// In bytes.
    pub results: Option<u64>,
}

impl Quota {
    /// Returns these limits, and those of another quota where this one has none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            running: self.running.or(other.running),
            queued: self.queued.or(other.queued),
            submits_per_second: self.submits_per_second.or(other.submits_per_second),
            results: self.results.or(other.results),
        }
    }
}

/// The limits of all domains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    named: BTreeMap<String, Quota>,
    others: Quota,
}

impl Limits {
    pub fn new(entries: &[DomainLimits]) -> Self {
        let mut limits = Self::default();
        for entry in entries {
            for domain in &entry.domains {
                match domain.as_str() {
                    ALL => limits.others = entry.quota(),
                    name => {
                        limits.named.insert(name.to_owned(), entry.quota());
                    }
                }
            }
        }
        limits
    }

    /// Returns the limits of a domain.
    pub fn of(&self, domain: &str) -> Quota {
        self.named.get(domain).map_or(self.others, |named| named.or(self.others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_domain_overrides_all_domains_field_by_field() {
        let entries: Vec<DomainLimits> = serde_json::from_value(serde_json::json!([
            {"domains": ["sales", "logistics"], "running": 20, "results": "10GiB"},
            {"domains": ["*"], "running": 50, "submitsPerSecond": 10},
        ]))
        .expect("the entries are valid");
        let limits = Limits::new(&entries);
        let others = Quota { running: Some(50), submits_per_second: Some(10), ..Quota::default() };
        let named = Quota { running: Some(20), results: Some(10 << 30), ..others };
        assert_eq!([limits.of("sales"), limits.of("logistics"), limits.of("hr")], [named, named, others]);
        assert_eq!(Limits::default().of("sales"), Quota::default());
    }
}
