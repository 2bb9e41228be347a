//! Plan and apply: what would change, why, and what it costs a running stream; then exactly that.
//!
//! [`plan`] is pure: it compares what is wanted with what is applied. [`registry`] holds what is applied, [`publish`] is
//! the folder of DAG files, [`apply`] brings both to what a plan says, and [`service`] is a control plane that others
//! can ask for the registry. [`reconcile`] keeps continuous jobs as declared, [`assets`] what of the data is
//! complete.

pub mod apply;
pub mod assets;
pub mod drift;
pub mod plan;
pub mod publish;
pub mod reconcile;
pub mod registry;
pub mod service;
pub mod state;
mod wire;
