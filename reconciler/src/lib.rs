//! Plans, applies, and keeps continuous jobs as declared.
//!
//! [`plan`] is pure: it compares desired with applied primitives. [`registry`] stores the applied [`state`],
//! [`publish`] writes the folder of DAG files, and [`apply`] changes both as a plan says. [`reconcile`] keeps
//! continuous jobs as declared, and [`assets`] stores completions of data. [`service`] and [`rest`] serve all of it
//! as a control plane.

pub mod apply;
pub mod assets;
pub mod drift;
mod guarded;
pub mod plan;
pub mod publish;
pub mod reconcile;
pub mod registry;
pub mod rest;
pub mod service;
pub mod state;
mod wire;
