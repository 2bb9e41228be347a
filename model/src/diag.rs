//! Codes of diagnostics, and suggestions for misspelt names.

mod code;
mod suggest;

pub use code::{Code, CodeInfo, Severity};
pub use suggest::{DottedNames, list, nearest};
