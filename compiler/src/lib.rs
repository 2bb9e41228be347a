//! Manifest text in, primitives and diagnostics out.
//!
//! Pure: no file system, no clock, no network, no async runtime. What the compiler needs from outside comes
//! through [`source::SourceLoader`].

pub mod diag;
pub mod source;
pub mod sql;
