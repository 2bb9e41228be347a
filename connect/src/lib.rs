//! Interactive sessions: the proxy for Spark Connect, and its pools of drivers.
//!
//! The proxy identifies callers, binds each session to one driver, and forwards bytes. What it knows of pools, drivers and sessions
//! is in the database of the control plane, so any number of proxies may serve the same sessions, and each may end at any time.

pub mod client;
mod directory;
pub mod discovery;
mod ending;
pub mod expiry;
mod failure;
mod overview;
pub mod pools;
pub mod proxy;
pub mod remote;
pub mod rest;
pub mod route;
pub mod sandboxes;
pub mod service;
pub mod session;
pub mod store;
mod wire;

pub use failure::is_lost;
pub use overview::{DriverCounts, Failure, PoolState, PoolStatus, SessionStatus, pool_statuses};
