//! Stored applications of a cluster, with the facts about their owners.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::Name;

/// A stored application, without its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub name: Name,
    /// The identity of the control plane that created it; none if dcp did not store identities then.
    pub control_plane: Option<String>,
    pub created: Option<Timestamp>,
    pub mark: Option<OrphanMark>,
    /// The version of what is stored, for a change that fails if it has changed.
    pub version: String,
}

/// A mark that a Gateway has stored with an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanMark {
    /// Its control plane has no owner of it in its database, first seen at this time.
    Since(Timestamp),
    /// Another Gateway with the same identity has found an owner since: two databases have one identity, and one of
    /// them is a copy.
    Claimed,
}

const CLAIMED: &str = "claimed";

impl fmt::Display for OrphanMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Since(since) => since.fmt(f),
            Self::Claimed => f.write_str(CLAIMED),
        }
    }
}

impl FromStr for OrphanMark {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            CLAIMED => Ok(Self::Claimed),
            since => since.parse().map(Self::Since),
        }
    }
}
