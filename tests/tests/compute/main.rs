//! What the Gateway's backends do.

mod files;
mod local;
mod processes;
mod spark;
