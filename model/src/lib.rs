//! Types of manifests and primitives.
//!
//! All other crates depend on this one. It does not read YAML, parse SQL or render files, and it uses no clock, no
//! network and no file system.

pub mod clusters;
pub mod dag;
pub mod dataset;
pub mod diag;
pub mod drivers;
pub mod manifest;
pub mod policy;
pub mod primitive;
pub mod providers;
pub mod reference;
pub mod secrets;
