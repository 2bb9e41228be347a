//! Limits of domains.

use std::collections::BTreeMap;

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
    /// Creates limits of the named domains, and of all others.
    pub fn new(named: BTreeMap<String, Quota>, others: Quota) -> Self {
        Self { named, others }
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
        let named = Quota { running: Some(20), results: Some(10 << 30), ..Quota::default() };
        let others = Quota { running: Some(50), submits_per_second: Some(10), ..Quota::default() };
        let limits = Limits::new(BTreeMap::from([("sales".to_owned(), named)]), others);
        let both = Quota { submits_per_second: Some(10), ..named };
        assert_eq!([limits.of("sales"), limits.of("hr")], [both, others]);
        assert_eq!(Limits::default().of("sales"), Quota::default());
    }
}
