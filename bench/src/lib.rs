//! What `make bench` measures: a corpus of manifests, and the steps of reading and validating it; a Runner; and a
//! reconciler.

pub mod corpus;
pub mod keep;
pub mod measure;
pub mod runner;
pub mod validate;
