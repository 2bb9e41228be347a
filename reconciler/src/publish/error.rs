//! Errors of DAG folders. They pass on no text of a service, which may hold secrets.

use std::fmt;

pub use dcp_objects::Cause;

use super::GENERATED_HEADER;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The location in the project file can't be a DAG folder.
    #[error("`{location}` can't be the DAG folder: {why}")]
    Location { location: String, why: String, help: &'static str },
    #[error("`{name}` can't be the name of a DAG file: {why}")]
    Name { name: String, why: &'static str },
    #[error("`{0}` can't be the id of staged files: letters, digits, `-` and `_` can, up to 100 of them")]
    Id(String),
    #[error("the text for `{name}` does not begin with `{GENERATED_HEADER}`")]
    MissingHeader { name: String },
    /// Files with these names that dcp did not write.
    #[error("{} written by dcp: nothing is changed", were_not(.0))]
    ForeignFiles(Vec<String>),
    /// Files that are neither staged nor in place with this content.
    #[error("{} staged as `{id}`, and not in place either", are_not(.files))]
    NotStaged { id: String, files: Vec<String> },
    #[error("`{location}` can't be {operation}: {cause}")]
    Failed { location: String, operation: Operation, cause: Cause },
}

impl From<dcp_objects::UnusableLocation> for Error {
    fn from(dcp_objects::UnusableLocation { location, why, help }: dcp_objects::UnusableLocation) -> Self {
        Self::Location { location, why, help }
    }
}

impl Error {
    /// Returns a remedy, if there is one.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Location { help, .. } => Some(help),
            Self::Name { .. } | Self::Id(_) | Self::MissingHeader { .. } => None,
            Self::ForeignFiles(_) => Some(
                "rename or move the file, or rename the workload; to let dcp take the file over, delete it",
            ),
            Self::NotStaged { .. } => Some("apply again: what is missing is written anew"),
            Self::Failed { cause, .. } => cause.help(),
        }
    }
}

/// The operation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Read,
    List,
    Write,
    Switch,
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::List => "listed",
            Self::Write => "written",
            Self::Switch => "put in place",
            Self::Remove => "removed",
        })
    }
}

fn were_not(files: &[String]) -> String {
    format!("{} {} not", enumerated(files), if files.len() == 1 { "was" } else { "were" })
}

fn are_not(files: &[String]) -> String {
    format!("{} {} not", enumerated(files), if files.len() == 1 { "is" } else { "are" })
}

/// Formats a few names and the number of further ones.
fn enumerated(files: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = files.iter().take(SHOWN).map(|file| format!("`{file}`")).collect();
    match files.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
