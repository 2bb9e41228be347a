//! Manifest text in, primitives and diagnostics out.
//!
//! Pure: no file system, no clock, no network, no async runtime. What the compiler needs from outside comes
//! through [`source::SourceLoader`].

pub mod airflow;
mod check;
pub mod compile;
pub mod diag;
pub mod engine;
pub mod graph;
mod lower;
pub mod place;
pub mod project;
pub mod schema;
pub mod source;
pub mod sql;
pub mod yaml;
