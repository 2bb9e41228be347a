//! The Runner: submits, checks and cancels executions of jobs.
//!
//! What an execution is and how it goes on is decided by pure functions: [`machine`] from state and event to the next
//! state, [`failure`] from what a failed attempt left to its cause and its remedy, [`sizing`] from earlier runs to what
//! the next one is given, [`lower`] from a job to what a backend is given, [`parameters`] from what was asked for to
//! values, [`progress`] from what Spark tells of its queries to how a stream is. Around them are the [`store`], in which all of it is kept, and the Runner of a process, [`embedded`], which
//! does what they decide. [`api`] is what others see, by [`service`] and [`remote`] also from elsewhere.

pub mod api;
pub mod checkpoint;
pub mod clock;
pub mod driver_log;
pub mod embedded;
mod error;
pub mod execution;
pub mod failure;
mod lines;
pub mod lower;
pub mod machine;
pub mod pace;
mod page;
pub mod parameters;
pub mod progress;
mod recent;
pub mod remote;
pub mod replace;
pub mod request;
pub mod rest;
pub mod results;
pub mod service;
pub mod sizing;
pub mod store;
pub mod streaming;
mod wire;
