//! How a list is told page by page, by whatever protocol.

use crate::api::Record;

/// How many executions a page has, where it is not said, and at most.
pub(crate) const SIZE: u32 = 50;
pub(crate) const LARGEST: u32 = 1_000;
/// How many phases a list may be of. More than there are need not be named.
pub(crate) const PHASES: usize = 64;

/// What the next page begins after, where there may be one.
pub(crate) fn next(found: &[Record], size: u32) -> Option<String> {
    let full = u32::try_from(found.len()).is_ok_and(|number| number >= size);
    found.last().filter(|_| full).map(|last| last.id().to_string())
}

/// About how many bytes a page takes when it is written.
pub(crate) fn weight(found: &[Record]) -> usize {
    const RECORD: usize = 1 << 10;
    let parameters = found.iter().flat_map(|record| &record.request.parameters);
    found.len() * RECORD + parameters.map(|(name, value)| name.len() + value.len()).sum::<usize>()
}
