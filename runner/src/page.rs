//! Pagination of lists, for all protocols.

use crate::api::Record;

/// Default size and maximum size of a page.
pub(crate) const DEFAULT_SIZE: u32 = 50;
pub(crate) const MAX_SIZE: u32 = 1_000;
/// Maximum number of phases in a filter. Fewer phases than that exist.
pub(crate) const MAX_PHASES: usize = 64;

/// Returns the id after which the next page begins, if there may be one.
pub(crate) fn next(found: &[Record], size: u32) -> Option<String> {
    let full = u32::try_from(found.len()).is_ok_and(|number| number >= size);
    found.last().filter(|_| full).map(|last| last.id().to_string())
}

/// Estimates the size of a serialized page, in bytes.
pub(crate) fn estimated_bytes(found: &[Record]) -> usize {
    const RECORD: usize = 1 << 10;
    let parameters = found.iter().flat_map(|record| &record.request.parameters);
    found.len() * RECORD + parameters.map(|(name, value)| name.len() + value.len()).sum::<usize>()
}
