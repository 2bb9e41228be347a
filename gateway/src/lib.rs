//! The Gateway: translates a [`SparkApplication`] for a backend.
//!
//! A Runner's requests are the same for all backends, and each backend has its own way to run them. [`Compute`] is
//! the only interface between them. Its contract is tested in `tests/tests/compute`. [`service`] and [`remote`] make it
//! available over the network.

pub mod application;
pub mod clusters;
mod compute;
mod connect;
mod connect_key;
mod error;
mod event_task;
pub mod fields;
mod hash;
pub mod kubernetes;
pub mod local;
mod log4j;
mod name;
mod recorded;
mod references;
pub mod regular;
pub mod remote;
pub mod routing;
pub mod secrets;
pub mod service;
mod status;
mod wire;

pub use application::SparkApplication;
pub use compute::{Ability, Capabilities, Compute, Cursor, Log};
pub use connect_key::ConnectKey;
pub use error::{Error, Result};
pub use name::Name;
pub use recorded::{OrphanMark, Recorded};
pub use references::SecretKey;
pub use status::{Addresses, Change, End, Evidence, Obstacle, Phase, Reason, Source, Status, WatchEvent};
