//! The Runner: submits, checks and cancels executions of jobs.
//!
//! Pure functions make all decisions: [`machine`] maps state and event to the next state, [`failure`] maps the evidence
//! of a failed attempt to its cause and remedy, [`sizing`] maps earlier runs to the resources of the next one,
//! [`lower`] maps a job to the application for a backend, [`parameters`] maps a request to values, and [`progress`]
//! maps Spark's events to the status of a stream. [`store`] keeps the state, and [`in_process`] is the Runner of a
//! process, which performs the decisions. [`api`] is the interface for callers; [`service`] and [`remote`] make it
//! available over the network.

pub mod api;
mod cache;
pub mod checkpoint;
pub mod clock;
pub mod driver_log;
mod error;
mod event_files;
pub mod execution;
pub mod failure;
mod guarded;
pub mod in_process;
pub mod lease;
mod lines;
pub mod lower;
pub mod machine;
pub mod pace;
mod page;
pub mod parameters;
pub mod progress;
pub mod remote;
pub mod replace;
pub mod request;
pub mod rest;
pub mod results;
pub mod service;
pub mod sizing;
pub mod store;
pub mod streaming;
pub mod wire;
