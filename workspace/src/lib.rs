//! Projects on disk: their folders, files and compilation.
//!
//! The crate reads untrusted files, and writes only below `.dcp`. It prints nothing: callers show errors and
//! progress.

pub mod cache;
pub mod error;
pub mod files;
pub mod git;
pub mod load;
pub mod private;
pub mod project;
pub mod select;

pub use error::Error;

/// The folder below a project in which dcp stores its files.
pub const FOLDER: &str = ".dcp";
