//! What `make bench` measures: a corpus of manifests, and the steps of reading and validating it; and a Runner.

pub mod corpus;
pub mod measure;
pub mod runner;
pub mod validate;
