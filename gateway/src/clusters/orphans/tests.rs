//! The decision for any facts, and simulated control planes that share a cluster, with seeds and in virtual time.

mod simulation;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::decision::{Facts, Verdict, decide};
use super::{OrphanAction, Orphans};
use crate::{OrphanMark, Recorded};

const OWN: &str = "own";

fn any_mark() -> impl Strategy<Value = Option<OrphanMark>> {
    prop::sample::select(vec![
        None,
        Some(OrphanMark::Since(Timestamp::UNIX_EPOCH)),
        Some(OrphanMark::Claimed),
    ])
}

prop_compose! {
    fn any_recorded()(
        control_plane in prop::sample::select(vec![None, Some(OWN.to_owned()), Some("other".to_owned())]),
        mark in any_mark(),
    ) -> Recorded {
        let name = "a-1".parse().expect("it is a name");
        Recorded { name, control_plane, created: None, mark, version: "1".to_owned() }
    }
}

proptest! {
    #[test]
    fn only_own_applications_that_were_marked_and_unowned_for_long_enough_are_ended(
        recorded in any_recorded(),
        is_owned: bool,
        age in -10..10i64,
        marked_for in prop::option::of(0..10u64),
        action in prop::sample::select(vec![OrphanAction::End, OrphanAction::Report]),
    ) {
        let orphans = Orphans { action, after: Duration::from_secs(5) };
        let marked_for = marked_for.map(Duration::from_secs);
        let age = SignedDuration::from_secs(age);
        let facts = Facts { recorded: &recorded, own: OWN, is_owned, age, marked_for, orphans };
        let is_own = recorded.control_plane.as_deref() == Some(OWN);
        let is_marked = matches!(recorded.mark, Some(OrphanMark::Since(_)));
        let may_change = is_own && !is_owned && action == OrphanAction::End && age >= SignedDuration::from_secs(5);
        let is_due = marked_for.is_some_and(|time| time >= Duration::from_secs(5));
        let verdict = decide(&facts);
        prop_assert_eq!(verdict == Verdict::End, may_change && is_marked && is_due);
        prop_assert_eq!(verdict == Verdict::Mark, may_change && recorded.mark.is_none());
        prop_assert_eq!(verdict == Verdict::Claim, is_own && is_owned && is_marked);
        prop_assert_eq!(verdict == Verdict::Other, !is_own && !is_owned);
    }
}

#[test]
fn a_mark_is_read_as_it_was_written() {
    for mark in [OrphanMark::Since(Timestamp::UNIX_EPOCH), OrphanMark::Claimed] {
        assert_eq!(mark.to_string().parse::<OrphanMark>().ok(), Some(mark));
    }
    "soon".parse::<OrphanMark>().expect_err("it is no time");
}
