//! The state of clusters and the latest choices, for people.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Properties, Unowned};
use crate::Name;
use crate::routing::{Decision, Health, Reason};

/// Maximum number of choices that a process remembers.
const MAX_ROUTINGS: usize = 200;
/// Maximum number of clusters in a choice, and maximum length of a reason.
const MAX_REASONS: usize = 50;
const MAX_REASON_CHARS: usize = 300;

/// The clusters, and the latest choices of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Ordered by name.
    pub clusters: Vec<ClusterStatus>,
    /// At most one for each application, newest first.
    pub routings: Vec<Routing>,
}

/// The state of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    pub name: String,
    pub kind: String,
    pub properties: Properties,
    pub health: Health,
    /// The number of applications that this process knows to run or start there.
    pub load: u32,
    pub unowned: Unowned,
    /// The cause why the logs of drivers are not stored, if they should be.
    pub log_problem: Option<String>,
}

/// The choice of a cluster for an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    pub at: Timestamp,
    pub application: Name,
    pub domain: String,
    /// The chosen cluster, if one was suitable.
    pub cluster: Option<String>,
    /// The names of clusters, with the rest of a sentence about each. The chosen one is the first.
    pub reasons: Vec<(String, String)>,
}

/// The latest choices. A waiting application is tried again and again, and has only its last one.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Routing>>);

impl History {
    fn routings(&self) -> MutexGuard<'_, VecDeque<Routing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, at: Timestamp, application: &Name, domain: &str, decision: &Decision) {
        let reason = |(name, reason): (&String, &Reason)| {
            (name.clone(), reason.to_string().chars().take(MAX_REASON_CHARS).collect())
        };
        let (chosen, others): (Vec<_>, Vec<_>) =
            decision.reasons.iter().partition(|(name, _)| decision.chosen.as_ref() == Some(*name));
        let reasons = chosen.into_iter().chain(others).take(MAX_REASONS).map(reason).collect();
        let (application, domain) = (application.clone(), domain.to_owned());
        let mut routings = self.routings();
        routings.retain(|routing| routing.application != application);
        routings.push_front(Routing { at, application, domain, cluster: decision.chosen.clone(), reasons });
        routings.truncate(MAX_ROUTINGS);
    }

    /// Returns the choices, newest first.
    pub(super) fn newest_first(&self) -> Vec<Routing> {
        self.routings().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_latest_choice_of_each_application_is_remembered_up_to_a_limit() {
        let history = History::default();
        let none = Decision { chosen: None, reasons: BTreeMap::from([("main".to_owned(), Reason::Drained)]) };
        let main = Decision {
            chosen: Some("main".to_owned()),
            reasons: BTreeMap::from([("main".to_owned(), Reason::Chosen)]),
        };
        let name = |number: usize| format!("a-{number}").parse::<Name>().expect("the name is valid");
        history.add(Timestamp::UNIX_EPOCH, &name(0), "sales", &none);
        for number in 1..=MAX_ROUTINGS {
            history.add(Timestamp::UNIX_EPOCH, &name(number), "sales", &none);
        }
        history.add(Timestamp::UNIX_EPOCH, &name(1), "sales", &main);
        let found = history.newest_first();
        assert_eq!(found.len(), MAX_ROUTINGS);
        assert_eq!(found[0].application, name(1));
        assert_eq!(found[0].cluster.as_deref(), Some("main"));
        assert_eq!(found[0].reasons, [("main".to_owned(), "was chosen".to_owned())]);
        assert!(found[1..].iter().all(|it| it.application != name(1) && it.application != name(0)));
    }

    #[test]
    fn a_long_reason_is_cut() {
        let history = History::default();
        let why = "x".repeat(100_000);
        let reasons = BTreeMap::from([("main".to_owned(), Reason::Rejected { why })]);
        let name: Name = "a-1".parse().expect("the name is valid");
        history.add(Timestamp::UNIX_EPOCH, &name, "sales", &Decision { chosen: None, reasons });
        assert_eq!(history.newest_first()[0].reasons[0].1.chars().count(), MAX_REASON_CHARS);
    }
}
