//! What the Gateway's backends do.

mod local;
mod spark;
