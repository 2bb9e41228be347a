//! The Runner: submits, checks and cancels executions of jobs.
//!
//! What an execution is and how it goes on is decided by pure functions: [`machine`] from state and event to the next
//! state, [`failure`] from what a failed attempt left to its cause and its remedy, [`lower`] from a job to what a backend is given, [`parameters`] from what was asked for to values.

pub mod execution;
pub mod failure;
pub mod lower;
pub mod machine;
pub mod parameters;
pub mod results;
