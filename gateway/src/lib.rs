//! The Gateway: translates a [`SparkApplication`] for a backend.
//!
//! A Runner's requests are the same for all backends, and each backend has its own way to run them. [`Compute`] is
//! the only interface between them. Its contract is tested in `tests/tests/compute`.

pub mod application;
mod compute;
mod error;
pub mod fields;
pub mod local;
mod name;
pub mod regular;
mod status;

pub use application::SparkApplication;
pub use compute::{Ability, Capabilities, Compute, Cursor, Log};
pub use error::{Error, Result};
pub use name::Name;
pub use status::{Addresses, Change, End, Evidence, Obstacle, Phase, Reason, Source, Status, WatchEvent};
