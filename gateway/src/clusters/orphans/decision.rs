//! The decision about one stored application. It is pure.

use std::time::Duration;

use jiff::SignedDuration;

use super::super::{OrphanAction, Orphans};
use crate::{OrphanMark, Recorded};

/// The facts that decide about a stored application.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) recorded: &'a Recorded,
    /// The identity of this control plane.
    pub(super) own: &'a str,
    /// The database has an owner. It was read after the application was listed.
    pub(super) is_owned: bool,
    /// The time since the application was stored, by two clocks.
    pub(super) age: SignedDuration,
    /// The time for which this process has seen the mark and no owner, each time it looked.
    pub(super) marked_for: Option<Duration>,
    pub(super) orphans: Orphans,
}

/// The decision: the owner of an application, and the change to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Owned,
    /// It is owned, and another Gateway has marked it: store that there is an owner.
    Claim,
    /// Another control plane owns it, or one that stored no identity.
    Other,
    /// Two databases have the identity of this control plane, and the other one had an owner.
    Claimed,
    /// It has no owner, and stays as it is for now.
    Orphan,
    /// It has no owner: store a mark.
    Mark,
    /// It has had no owner for long enough: end it.
    End,
}

impl Verdict {
    /// Returns true if something is to be changed.
    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::Claim | Self::Mark | Self::End)
    }
}

/// Decides about an application. It is ended only if its control plane is this one, if the database had no owner for
/// the whole time, and if every other Gateway with a copy of the database had this time to object.
pub(super) fn decide(facts: &Facts<'_>) -> Verdict {
    let Facts { recorded, own, is_owned, age, marked_for, orphans } = *facts;
    let is_own = recorded.control_plane.as_deref() == Some(own);
    if is_owned {
        let is_marked = is_own && matches!(recorded.mark, Some(OrphanMark::Since(_)));
        return if is_marked { Verdict::Claim } else { Verdict::Owned };
    }
    if !is_own {
        return Verdict::Other;
    }
    let is_old = age.try_into().is_ok_and(|age: Duration| age >= orphans.after);
    match recorded.mark {
        Some(OrphanMark::Claimed) => Verdict::Claimed,
        _ if orphans.action == OrphanAction::Report || !is_old => Verdict::Orphan,
        None => Verdict::Mark,
        Some(OrphanMark::Since(_)) if marked_for.is_some_and(|time| time >= orphans.after) => Verdict::End,
        Some(OrphanMark::Since(_)) => Verdict::Orphan,
    }
}
