//! The number of drivers of a pool: a pure function of its declaration, its drivers and the sessions that wait.
//!
//! A pool keeps `min_idle` drivers ready for a session: without one in a private pool, and below the maximum of sessions in a
//! domain's. It grows at once and shrinks slowly: sessions that wait get drivers up to the maximum, while a driver without sessions is
//! ended only once there have been more than `max_idle` of them for [`SURPLUS_TIME`].

use jiff::{SignedDuration, Timestamp};

use crate::session::Share;
use crate::store::Demand;

/// Time for which there have to be too many idle drivers before one of them ends.
pub(crate) const SURPLUS_TIME: SignedDuration = SignedDuration::from_mins(2);

/// The declared size of a pool, and the limits of its drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) share: Share,
    pub(crate) min_idle: u64,
    pub(crate) max_idle: u64,
    pub(crate) max: u64,
    pub(crate) sessions_per_driver: u64,
    pub(crate) recycle_after: SignedDuration,
    pub(crate) recycle_sessions: u64,
}

/// A driver of a pool that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) slot: u64,
    pub(crate) state: State,
    /// The start of its driver; none before that.
    pub(crate) started: Option<Timestamp>,
    pub(crate) live: u64,
    pub(crate) total: u64,
    /// Whether it has the applied definition.
    pub(crate) is_current: bool,
    pub(crate) is_owned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Open,
    Draining,
    /// Its end is requested.
    Ending,
}

/// The changes of a pool in one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The number of drivers to start.
    pub(crate) start: u64,
    /// Slots of drivers that take no new session.
    pub(crate) drain: Vec<u64>,
    /// Slots of drivers that take no new session, if they have none.
    pub(crate) drain_unused: Vec<u64>,
    /// Slots of drivers to end.
    pub(crate) end: Vec<u64>,
    /// The time since which there are too many idle drivers.
    pub(crate) surplus_since: Option<Timestamp>,
}

/// Decides about a pool. `surplus_since` is that of the decision before.
pub(crate) fn decide(
    declared: &Declared,
    members: &[Member],
    demand: Demand,
    surplus_since: Option<Timestamp>,
    now: Timestamp,
) -> Decision {
    let count = |is: &dyn Fn(&&Member) -> bool| members.iter().filter(is).count() as u64;
    let is_outdated = |member: &Member| is_outdated(declared, member, now);

    let mut decision = Decision { end: useless(members), ..Decision::default() };
    // A private driver is not given to a second user.
    let is_left = |member: &&Member| {
        member.state == State::Open && member.live == 0 && (member.is_owned || is_outdated(member))
    };
    decision.drain_unused.extend(members.iter().filter(is_left).map(|member| member.slot));

    let all = members.len() as u64;
    let starting = count(&|it| it.state == State::Starting && it.is_current);
    let is_idle = |it: &&Member| it.state == State::Open && it.live == 0 && !it.is_owned && !is_outdated(it);
    let idle = count(&is_idle);

    // A driver of a domain is ready for a session until it is full.
    let is_ready = |it: &&Member| match declared.share {
        Share::Private => is_idle(it),
        Share::Domain => {
            it.state == State::Open && it.live < declared.sessions_per_driver && !is_outdated(it)
        }
    };
    let ready = count(&is_ready);

    let wanted = declared.min_idle.saturating_add(drivers_for(declared, demand));
    let missing = wanted.saturating_sub(ready + starting);
    decision.start = missing.min(declared.max.saturating_sub(all));

    // A driver in use is replaced only if there is a place for another one; otherwise new sessions would find none.
    let has_place = all + decision.start < declared.max || ready + starting > 0;
    if has_place {
        let in_use = |it: &&Member| it.state == State::Open && it.live > 0 && is_outdated(it);
        decision.drain.extend(members.iter().filter(in_use).map(|member| member.slot));
    }

    let ceiling = declared.max_idle.max(declared.min_idle);
    if idle > ceiling && decision.start == 0 {
        let since = surplus_since.unwrap_or(now);
        decision.surplus_since = Some(since);
        if now.duration_since(since) >= SURPLUS_TIME {
            let mut candidates: Vec<&Member> = members.iter().filter(is_idle).collect();
            candidates.sort_by_key(|member| (member.started, member.slot));
            let surplus = usize::try_from(idle - ceiling).unwrap_or(usize::MAX);
            decision.drain_unused.extend(candidates.iter().take(surplus).map(|member| member.slot));
        }
    }
    decision
}

/// Returns the slots of drained drivers without sessions, and of starting drivers of an earlier revision.
fn useless(members: &[Member]) -> Vec<u64> {
    let is_useless = |member: &&Member| match member.state {
        State::Starting => !member.is_current,
        State::Draining => member.live == 0,
        State::Open | State::Ending => false,
    };
    members.iter().filter(is_useless).map(|member| member.slot).collect()
}

/// Returns the number of drivers for sessions that wait.
fn drivers_for(declared: &Declared, demand: Demand) -> u64 {
    match declared.share {
        Share::Private => demand.users,
        Share::Domain => demand.sessions.div_ceil(declared.sessions_per_driver.max(1)),
    }
}

/// Returns whether a driver is to be replaced: it has another definition, or is too old.
fn is_outdated(declared: &Declared, member: &Member, now: Timestamp) -> bool {
    let age = member.started.map_or(SignedDuration::ZERO, |started| now.duration_since(started));
    !member.is_current || age >= declared.recycle_after || member.total >= declared.recycle_sessions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn declared() -> Declared {
        Declared {
            share: Share::Domain,
            min_idle: 1,
            max_idle: 2,
            max: 5,
            sessions_per_driver: 4,
            recycle_after: SignedDuration::from_hours(24),
            recycle_sessions: 100,
        }
    }

    fn open(slot: u64, live: u64) -> Member {
        Member {
            slot,
            state: State::Open,
            started: Some(NOW),
            live,
            total: live,
            is_current: true,
            is_owned: false,
        }
    }

    fn decide_at(declared: &Declared, members: &[Member], sessions: u64, now: Timestamp) -> Decision {
        decide(declared, members, Demand { sessions, users: sessions }, None, now)
    }

    #[test]
    fn idle_drivers_are_kept_ready() {
        assert_eq!(decide_at(&declared(), &[], 0, NOW).start, 1);
        assert_eq!(decide_at(&declared(), &[open(0, 3)], 0, NOW), Decision::default());
        assert_eq!(decide_at(&declared(), &[open(0, 4)], 0, NOW).start, 1);
        let private = Declared { share: Share::Private, ..declared() };
        assert_eq!(decide_at(&private, &[open(0, 1)], 0, NOW).start, 1);
        assert_eq!(decide_at(&declared(), &[open(0, 0)], 0, NOW), Decision::default());
        let starting = Member { state: State::Starting, started: None, ..open(0, 0) };
        assert_eq!(decide_at(&declared(), &[starting], 0, NOW), Decision::default());
    }

    #[test]
    fn sessions_that_wait_get_drivers_up_to_the_maximum() {
        let cold = Declared { min_idle: 0, ..declared() };
        assert_eq!(decide_at(&cold, &[], 0, NOW).start, 0);
        assert_eq!(decide_at(&cold, &[], 1, NOW).start, 1);
        assert_eq!(decide_at(&cold, &[], 9, NOW).start, 3);
        assert_eq!(decide_at(&cold, &[open(0, 4), open(1, 4)], 99, NOW).start, 3);
        let private = Declared { share: Share::Private, ..cold };
        assert_eq!(decide_at(&private, &[], 3, NOW).start, 3);
    }

    #[test]
    fn surplus_ends_only_after_a_time() {
        let members: Vec<Member> = (0..4).map(|slot| open(slot, 0)).collect();
        let first = decide_at(&declared(), &members, 0, NOW);
        assert_eq!((first.surplus_since, first.drain_unused), (Some(NOW), Vec::new()));
        let later = NOW + SURPLUS_TIME;
        let decision = decide(&declared(), &members, Demand::default(), Some(NOW), later);
        assert_eq!(decision.drain_unused, [0, 1]);
        let used = decide(&declared(), &members[..2], Demand::default(), Some(NOW), later);
        assert_eq!(used, Decision::default());
    }

    #[test]
    fn old_drivers_are_replaced_first_and_ended_without_sessions() {
        let old = Member { total: 100, ..open(0, 2) };
        let decision = decide_at(&declared(), std::slice::from_ref(&old), 0, NOW);
        assert_eq!((decision.start, decision.drain), (1, vec![0]));
        // Without a place for another driver, it goes on.
        let full = Declared { max: 1, ..declared() };
        assert_eq!(decide_at(&full, std::slice::from_ref(&old), 0, NOW), Decision::default());
        let unused = Member { live: 0, ..old };
        assert_eq!(decide_at(&full, std::slice::from_ref(&unused), 0, NOW).drain_unused, [0]);
        let drained = Member { state: State::Draining, ..unused };
        assert_eq!(decide_at(&full, &[drained], 0, NOW).end, [0]);
    }

    #[test]
    fn driver_of_another_revision_or_user_is_not_used_again() {
        let other = Member { is_current: false, ..open(0, 0) };
        assert_eq!(decide_at(&declared(), &[other.clone(), open(1, 0)], 0, NOW).drain_unused, [0]);
        let starting = Member { state: State::Starting, ..other };
        assert_eq!(decide_at(&declared(), &[starting, open(1, 0)], 0, NOW).end, [0]);
        let owned = Member { is_owned: true, ..open(0, 0) };
        assert_eq!(decide_at(&declared(), &[owned, open(1, 0)], 0, NOW).drain_unused, [0]);
    }

    fn members() -> impl Strategy<Value = Vec<Member>> {
        let member = (0..4_usize, 0..5_u64, 0..120_u64, any::<bool>(), any::<bool>());
        proptest::collection::vec(member, 0..8).prop_map(|all| {
            let all = all.into_iter().enumerate();
            all.map(|(slot, (state, live, total, is_current, is_owned))| Member {
                state: [State::Starting, State::Open, State::Draining, State::Ending][state],
                total: total.max(live),
                is_current,
                is_owned,
                ..open(slot as u64, live)
            })
            .collect()
        })
    }

    proptest! {
        #[test]
        fn bounds_hold_and_sessions_are_kept(
            members in members(), sessions in 0..40_u64, min in 0..4_u64, max in 1..6_u64, waited in 0..10_i64,
        ) {
            let declared = Declared { min_idle: min.min(max), max, ..declared() };
            let now = NOW + SignedDuration::from_mins(waited);
            let demand = Demand { sessions, users: sessions };
            let decision = decide(&declared, &members, demand, Some(NOW), now);
            prop_assert!(decision.start == 0 || members.len() as u64 + decision.start <= max);
            for member in &members {
                if decision.end.contains(&member.slot) {
                    prop_assert!(member.live == 0 || member.state == State::Starting);
                }
                if decision.drain_unused.contains(&member.slot) {
                    prop_assert!(member.live == 0 && member.state == State::Open);
                }
            }
            let mut slots = [decision.end, decision.drain, decision.drain_unused].concat();
            let count = slots.len();
            slots.sort_unstable();
            slots.dedup();
            prop_assert_eq!(slots.len(), count, "each driver has one decision");
        }

        /// A pool without changes from outside settles: it starts and ends drivers for a while, and then does nothing.
        #[test]
        fn pool_settles(
            live in proptest::collection::vec(0..5_u64, 0..5), min in 0..4_u64, extra in 0..3_u64, sessions in 0..9_u64,
        ) {
            let declared = Declared { min_idle: min, max_idle: min + extra, ..declared() };
            let mut members: Vec<Member> =
                live.into_iter().enumerate().map(|(slot, live)| open(slot as u64, live)).collect();
            let (mut now, mut since, mut quiet, mut starts) = (NOW, None, 0, 0);
            let mut waiting = sessions;
            for _ in 0..200 {
                now += SignedDuration::from_secs(10);
                let demand = Demand { sessions: waiting, users: waiting };
                let decision = decide(&declared, &members, demand, since, now);
                since = decision.surplus_since;
                let is_quiet = decision == Decision { surplus_since: since, ..Decision::default() };
                quiet = if is_quiet { quiet + 1 } else { 0 };
                starts += decision.start;
                members.retain(|it| !decision.end.contains(&it.slot));
                for member in &mut members {
                    if decision.drain.contains(&member.slot) || decision.drain_unused.contains(&member.slot) {
                        member.state = State::Draining;
                    }
                }
                for _ in 0..decision.start {
                    let slot = (0..99).find(|slot| members.iter().all(|it| it.slot != *slot)).unwrap();
                    members.push(Member { started: Some(now), ..open(slot, 0) });
                }
                // Waiting sessions get the free places.
                for member in members.iter_mut().filter(|it| it.state == State::Open) {
                    let taken = waiting.min(declared.sessions_per_driver.saturating_sub(member.live));
                    member.live += taken;
                    member.total += taken;
                    waiting -= taken;
                }
                prop_assert!(members.len() <= 5);
            }
            prop_assert!(quiet > 100, "{members:?}");
            prop_assert!(starts <= 5 + declared.min_idle);
        }
    }
}
