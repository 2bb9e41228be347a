//! What `make bench` measures: a corpus of manifests, and the steps of reading and validating it.

pub mod corpus;
pub mod measure;
pub mod validate;
