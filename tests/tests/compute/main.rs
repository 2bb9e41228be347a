//! Tests of the Gateway's backends.

mod fields;
mod files;
mod local;
mod processes;
mod spark;
mod watch;
