//! Saved plans, which are applied exactly or rejected.

use dcp_model::primitive::{Fingerprint, canonical};
use serde::{Deserialize, Serialize};

use super::Plan;

/// The version of the format.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    /// The version of dcp that wrote the plan.
    dcp: String,
    /// The digest of the canonical plan, which detects manual changes.
    digest: Fingerprint,
    plan: serde_json::Value,
}

/// The reason why a file can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    #[error("it is no plan of dcp: {0}")]
    NoPlan(String),
    #[error("it was made by dcp {0}, which writes plans in another way")]
    OtherFormat(String),
    #[error("it was changed after it was made")]
    Changed,
}

impl Plan {
    /// Returns the text of a saved plan.
    pub fn save(&self) -> String {
        let plan =
            serde_json::to_value(self).expect("a plan has text as keys, and nothing that JSON can't hold");
        let digest = Fingerprint::of(&canonical(&plan));
        let file = File { format: FORMAT, dcp: env!("CARGO_PKG_VERSION").to_owned(), digest, plan };
        let mut text = serde_json::to_string_pretty(&file).expect("it is made of what JSON can hold");
        text.push('\n');
        text
    }

    /// Reads a saved plan.
    pub fn read(text: &str) -> Result<Self, SavedError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            dcp: String,
        }
        let no_plan = |error: serde_json::Error| SavedError::NoPlan(error.to_string());
        let head: Head = serde_json::from_str(text).map_err(no_plan)?;
        if head.format != FORMAT {
            return Err(SavedError::OtherFormat(head.dcp));
        }
        let file: File = serde_json::from_str(text).map_err(no_plan)?;
        if Fingerprint::of(&canonical(&file.plan)) != file.digest {
            return Err(SavedError::Changed);
        }
        let plan: Self = serde_json::from_value(file.plan).map_err(no_plan)?;
        let matches_fingerprint =
            |step: &super::Step| step.body.as_deref().map(Fingerprint::of) == step.after;
        let steps = || plan.workloads.iter().flat_map(|workload| &workload.steps);
        if steps().all(matches_fingerprint) { Ok(plan) } else { Err(SavedError::Changed) }
    }
}
