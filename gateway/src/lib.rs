//! The Gateway: a [`SparkApplication`] in, a backend's own dialect out.
//!
//! What a Runner wants is the same everywhere; how it is done is a backend's own affair. [`Compute`] is all that is
//! between them. What it promises is tested in `tests/tests/compute`.

pub mod application;
mod compute;
pub mod local;
pub mod regular;

pub use application::SparkApplication;
pub use compute::{Compute, End, Error, Log, Name, Phase, Result, Status};
