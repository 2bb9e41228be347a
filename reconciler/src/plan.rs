//! What an apply would do, as a value: which address gets which action, and why, field by field.
//!
//! A plan explains itself: whoever prints it, as text or as JSON, adds nothing.

use serde::{Deserialize, Serialize};

/// What becomes of an address. In the order of how much it costs, so that the dearest of several is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Nothing.
    None,
    /// It is new.
    Create,
    /// It is changed in place: nothing restarts.
    Update,
    /// What runs is restarted, and goes on from its checkpoint.
    Redeploy,
    /// What runs is restarted with a new checkpoint: the old one can't be kept.
    Reset,
    /// It is taken away.
    Delete,
}
