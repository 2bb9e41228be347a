//! Decides which of many submits are accepted. Pure.

use std::collections::{HashMap, HashSet};

use super::NewExecution;
use super::checkpoints;
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
    SameBatch(usize),
    Rejected(Error),
}

/// The stored state that the submits of a batch depend on.
#[derive(Debug, Default)]
pub(super) struct StoredState {
    pub(super) tokens: HashMap<String, Record>,
    /// The live executions that hold keys, by their domains and keys.
    pub(super) key_holders: HashMap<(String, String), Id>,
    /// The domains of checkpoints; afterwards, with those of this batch.
    pub(super) checkpoints: HashMap<String, String>,
    /// Owners of the executions that are members.
    pub(super) members: HashSet<String>,
    /// Leases of the fences; afterwards, with the epochs of this batch.
    pub(super) fences: HashMap<String, Lease>,
}

/// Decides on submits in their order; each one affects those after it.
pub(super) fn admit(submits: &[&NewExecution], known: &mut StoredState) -> Vec<Admission> {
    let mut batch_tokens: HashMap<&str, usize> = HashMap::new();
    let mut batch_holders: HashMap<(&str, &str), &Id> = HashMap::new();
    let mut admissions = Vec::with_capacity(submits.len());
    for (index, new) in submits.iter().enumerate() {
        let request = &new.record.request;
        if let Err(error) = fence::check(request, &mut known.fences) {
            admissions.push(Admission::Rejected(error));
            continue;
        }
        let earlier = known.tokens.get(&request.token);
        let same = batch_tokens.get(request.token.as_str()).copied();
        if let Some(earlier) = earlier.or_else(|| same.and_then(|at| submits.get(at)).map(|it| &it.record)) {
            let differences = earlier.request.differences(request);
            admissions.push(match (differences.is_empty(), same) {
                (false, _) => {
                    Admission::Rejected(Error::TokenReused { id: earlier.id().clone(), differences })
                }
                (true, Some(at)) => Admission::SameBatch(at),
                (true, None) => Admission::Stored(Box::new(earlier.clone())),
            });
            continue;
        }
        if let Err(error) = check_new(new, known, &batch_holders) {
            admissions.push(Admission::Rejected(error));
            continue;
        }
        batch_holders.extend(claimed_key(new).map(|key| (key, new.record.id())));
        if let Some(location) = request.checkpoint() {
            known.checkpoints.insert(location.to_owned(), request.domain.clone());
        }
        batch_tokens.insert(&request.token, index);
        admissions.push(Admission::Insert);
    }
    admissions
}

/// Returns the domain and the key that an execution holds from the beginning. One with an order is stored without the key,
/// and claims it later.
fn claimed_key(new: &NewExecution) -> Option<(&str, &str)> {
    let request = &new.record.request;
    let key = request.exclusive.as_deref().filter(|_| request.order.is_none())?;
    Some((request.domain.as_str(), key))
}

/// Checks a submit with a new token.
fn check_new(
    new: &NewExecution,
    known: &StoredState,
    batch_holders: &HashMap<(&str, &str), &Id>,
) -> Result<(), Error> {
    if !known.members.contains(&new.record.owner) {
        return Err(not_a_member());
    }
    checkpoints::check(&new.record.request, &known.checkpoints)?;
    let Some((domain, key)) = claimed_key(new) else { return Ok(()) };
    let stored = || known.key_holders.get(&(domain.to_owned(), key.to_owned()));
    match batch_holders.get(&(domain, key)).copied().or_else(stored) {
        Some(by) => Err(Error::Held { key: key.to_owned(), by: by.clone() }),
        None => Ok(()),
    }
}

fn not_a_member() -> Error {
    Error::Unavailable(
        "this Runner did not send its heartbeat for the length of its lease, and others took over from it; it joins \
         again by itself: retry"
            .to_owned(),
    )
}
