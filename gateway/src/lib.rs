//! The Gateway: translates a [`SparkApplication`] for a backend.
//!
//! A Runner's requests are the same for all backends, and each backend has its own way to run them. [`Compute`] is
//! the only interface between them. Its contract is tested in `tests/tests/compute`.

pub mod application;
mod compute;
pub mod local;
pub mod regular;

pub use application::SparkApplication;
pub use compute::{Compute, End, Error, Log, Name, Phase, Result, Status};
