//! Plan and apply: what would change, why, and what it costs a running stream; then exactly that.
//!
//! [`plan`] is pure: it compares what is wanted with what is applied. [`registry`] holds what is applied, and [`dags`]
//! publishes the DAG files.

pub mod dags;
pub mod plan;
pub mod registry;
