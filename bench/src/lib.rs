//! The benchmarks of `make bench`: validating a corpus of manifests, a Runner alone, with authorization and with a cluster,
//! and a reconciler.

pub mod access;
pub mod corpus;
pub mod kubernetes;
pub mod measure;
pub mod reconcile;
pub mod runner;
pub mod validate;
