//! Compiles the text of manifests to primitives and diagnostics.
//!
//! The crate uses no file system, clock, network or async runtime. All input from outside comes through
//! [`source::SourceLoader`].

pub mod airflow;
mod check;
pub mod clusters;
pub mod compile;
pub mod diag;
mod document;
pub mod drivers;
pub mod engine;
pub mod graph;
mod lower;
pub mod place;
pub mod policy;
pub mod project;
pub mod providers;
pub mod schema;
pub mod source;
pub mod sql;
pub mod yaml;
