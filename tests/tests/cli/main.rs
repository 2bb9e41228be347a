//! The binary from a user's perspective.

mod access;
mod apply;
mod assets;
mod bad_input;
mod cache;
mod cloud;
mod cluster;
mod clusters;
mod commands;
mod compile;
mod continuous;
mod denial_of_service;
mod disk;
mod documents;
mod fmt;
mod formats;
mod gateway;
mod gitops;
mod groups;
mod harness;
mod interrupted;
mod login;
mod plan_document;

mod control_plane;
mod permissions;
mod policy;
mod pools;
mod run;
mod sandboxes;
mod secrets;
mod serve;
mod sinks;
mod terminal;
mod transport;
