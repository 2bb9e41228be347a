//! What the Gateway's backends do.

mod fields;
mod files;
mod local;
mod processes;
mod spark;
