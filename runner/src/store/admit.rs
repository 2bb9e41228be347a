//! Decides which of many submits are accepted. Pure.

use std::collections::{HashMap, HashSet};

use super::New;
use super::fence::{self, Lease};
use crate::api::{Error, Record};
use crate::execution::Id;

/// The decision on a submit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Admission {
    Insert,
    /// An earlier submit with the same token is stored.
    Stored(Box<Record>),
    /// The submit at this index of the same batch has the same token.
    Beside(usize),
    Refused(Error),
}

/// The stored state that the submits of a batch depend on.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) tokens: HashMap<String, Record>,
    /// The live executions that hold keys.
    pub(super) held: HashMap<String, Id>,
    /// Owners of the executions that are members.
    pub(super) members: HashSet<String>,
    /// Leases of the fences; afterwards, with the epochs of this batch.
    pub(super) fences: HashMap<String, Lease>,
}

/// Decides on submits in their order; each one affects those after it.
pub(super) fn admit(news: &[&New], known: &mut Known) -> Vec<Admission> {
    let mut beside: HashMap<&str, usize> = HashMap::new();
    let mut held: HashMap<&str, &Id> = HashMap::new();
    let mut admissions = Vec::with_capacity(news.len());
    for (index, new) in news.iter().enumerate() {
        let request = &new.record.request;
        if let Err(error) = fence::pass(request, &mut known.fences) {
            admissions.push(Admission::Refused(error));
            continue;
        }
        let earlier = known.tokens.get(&request.token);
        let same = beside.get(request.token.as_str()).copied();
        if let Some(earlier) = earlier.or_else(|| same.and_then(|at| news.get(at)).map(|it| &it.record)) {
            let differences = earlier.request.differences(request);
            admissions.push(match (differences.is_empty(), same) {
                (false, _) => {
                    Admission::Refused(Error::TokenReused { id: earlier.id().clone(), differences })
                }
                (true, Some(at)) => Admission::Beside(at),
                (true, None) => Admission::Stored(Box::new(earlier.clone())),
            });
            continue;
        }
        if !known.members.contains(&new.record.owner) {
            admissions.push(Admission::Refused(no_member()));
            continue;
        }
        // An execution with an order is stored without the key, and claims it later.
        if let Some(key) = request.exclusive.as_ref().filter(|_| request.order.is_none()) {
            if let Some(by) = held.get(key.as_str()).copied().or(known.held.get(key)) {
                let error = Error::Held { key: key.clone(), by: by.clone() };
                admissions.push(Admission::Refused(error));
                continue;
            }
            held.insert(key, new.record.id());
        }
        beside.insert(&request.token, index);
        admissions.push(Admission::Insert);
    }
    admissions
}

fn no_member() -> Error {
    Error::Unavailable(
        "this Runner did not send its heartbeat for the length of its lease, and others took over from it; it joins \
         again by itself: retry"
            .to_owned(),
    )
}
