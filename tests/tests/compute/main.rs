//! Tests of the Gateway's backends.

mod abilities;
mod contract;
mod fields;
mod files;
mod local;
mod processes;
mod remote;
mod secrets;
mod spark;
mod watch;
