//! Manifests and primitives as types.
//!
//! Every other crate depends on this one. It reads no YAML, parses no SQL and renders no file; it has no clock, no
//! network and no file system.

pub mod dag;
pub mod dataset;
pub mod diag;
pub mod manifest;
pub mod primitive;
pub mod reference;
pub mod secrets;
