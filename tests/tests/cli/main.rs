//! The binary from a user's perspective.

mod apply;
mod assets;
mod bad_input;
mod cache;
mod commands;
mod compile;
mod disk;
mod documents;
mod doors;
mod fmt;
mod formats;
mod gitops;
mod groups;
mod harness;
mod hostile;
mod interrupted;
mod kept;
mod pages;

mod plane;
mod private;
mod run;
mod serve;
mod sinks;
mod terminal;
