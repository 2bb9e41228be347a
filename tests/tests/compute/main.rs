//! Tests of the Gateway's backends.

mod abilities;
mod fields;
mod files;
mod local;
mod processes;
mod spark;
mod watch;
