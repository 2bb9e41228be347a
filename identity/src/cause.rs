//! Causes of errors.

/// Returns the innermost error: the outer ones only say that a request failed.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.last().map_or_else(|| error.to_string(), ToString::to_string)
}
