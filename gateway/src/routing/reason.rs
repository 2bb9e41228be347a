//! Reasons for the choice of a cluster.

use std::fmt;

use jiff::Timestamp;

/// The reason why a cluster was chosen, or why not. The variants are in the order in which they are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The placement names other clusters.
    NotNamed,
    /// The placement names regions, and the cluster is in another one or in none.
    Region {
        region: Option<String>,
    },
    /// The cluster lacks a tag of the placement.
    Tag {
        key: String,
        value: String,
    },
    /// The cluster does not allow the domain.
    Domain {
        domain: String,
    },
    /// The cluster does not accept the application, because of a limit of its own.
    Rejected {
        why: String,
    },
    Unreachable {
        since: Timestamp,
        why: String,
    },
    /// The weight of the cluster is 0.
    Drained,
    /// The cluster runs as many applications as it may.
    Full {
        load: u32,
        capacity: u32,
    },
    /// A cluster in a region that the placement prefers was chosen.
    LessPreferredRegion {
        region: String,
    },
    /// The cluster has more load for its weight than the chosen one.
    MoreLoad {
        load: u32,
        weight: u32,
    },
    /// The cluster has the same load for its weight as the chosen one.
    Tie {
        chosen: String,
    },
    Chosen,
}

impl Reason {
    /// Returns true if the cluster can never run the application, as long as its properties are the same.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::NotNamed
                | Self::Region { .. }
                | Self::Tag { .. }
                | Self::Domain { .. }
                | Self::Rejected { .. }
        )
    }
}

impl fmt::Display for Reason {
    /// Completes the sentence "the cluster …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNamed => f.write_str("is not in `placement.clusters.names`"),
            Self::Region { region: Some(region) } => {
                write!(f, "is in the region {region}, which is not in `placement.regions`")
            }
            Self::Region { region: None } => f.write_str("has no region, and `placement.regions` needs one"),
            Self::Tag { key, value } => {
                write!(f, "lacks the tag `{key}: {value}` of `placement.clusters.tags`")
            }
            Self::Domain { domain } => write!(f, "does not allow the domain {domain}"),
            Self::Rejected { why } => write!(f, "does not accept it: {why}"),
            Self::Unreachable { since, why } => write!(f, "has been unreachable since {since:.0}: {why}"),
            Self::Drained => f.write_str("is drained: its weight is 0"),
            Self::Full { load, capacity } => write!(f, "is full: it runs {load} of {capacity} applications"),
            Self::LessPreferredRegion { region } => {
                write!(f, "is in the region {region}, and `placement.regions` prefers another one")
            }
            Self::MoreLoad { load, weight } => {
                write!(f, "has more load for its weight: {load} applications, weight {weight}")
            }
            Self::Tie { chosen } => write!(f, "is equal to {chosen}, and the names decided"),
            Self::Chosen => f.write_str("was chosen"),
        }
    }
}
