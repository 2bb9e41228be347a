//! Admits requests by the epochs of their leases. Pure.

use std::collections::HashMap;

use crate::api::Error;
use crate::request::Request;

/// Maximum rise of an epoch at once. An epoch counts changes of the holder, each of which takes at least seconds. A
/// greater rise is an error or an attack: it would fence the holder for ever.
pub(super) const MAX_EPOCH_RISE: u64 = 1_000_000;

/// The newest epoch of a lease, and its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) newest: u64,
    /// The caller who used the lease first; none if an older dcp did not store it.
    pub(super) created_by: Option<String>,
}

/// Checks the fence of a request, if it has one, and records its epoch.
pub(super) fn check(request: &Request, leases: &mut HashMap<String, Lease>) -> Result<(), Error> {
    let Some(fence) = &request.fence else { return Ok(()) };
    let (lease, epoch, by) = (fence.lease.clone(), fence.epoch, request.by.clone());
    let known =
        leases.entry(lease.clone()).or_insert_with(|| Lease { newest: epoch, created_by: Some(by.clone()) });
    if let Some(owner) = known.created_by.as_ref().filter(|owner| **owner != by) {
        return Err(Error::Denied(format!(
            "the lease `{lease}` belongs to `{owner}`, who used it first, and `{by}` may not use it: call with a token \
             of `{owner}`, or without a fence"
        )));
    }
    if epoch < known.newest {
        return Err(Error::Fenced { lease, epoch, newest: known.newest });
    }
    if epoch - known.newest > MAX_EPOCH_RISE {
        let message = format!(
            "epoch {epoch} of the lease `{lease}` is not plausible: the newest one is {}, and an epoch may rise by \
             {MAX_EPOCH_RISE} at most",
            known.newest
        );
        return Err(Error::Invalid { field: "fence.epoch".to_owned(), message });
    }
    *known = Lease { newest: epoch, created_by: Some(by) };
    Ok(())
}
