//! The benchmarks of `make bench`: validating a corpus of manifests, a Runner, and a reconciler.

pub mod corpus;
pub mod measure;
pub mod reconcile;
pub mod runner;
pub mod validate;
