//! The dangerous changes of a plan, as annotations of GitHub Actions.

use dcp_reconciler::plan::{Consent, Plan, Workload};

use super::{by_danger, consent, given_up, is_dangerous, meaning};
use crate::render::github::{escape, property};

/// Returns an annotation for each dangerous workload, at the line of the main reason. `prefix` is the path from
/// the repository to the project.
pub(crate) fn github(plan: &Plan, prefix: &str) -> String {
    let dangerous = by_danger(plan).into_iter().filter(|it| is_dangerous(it));
    let given_up = given_up(plan).into_iter().map(|line| format!("::warning::{}\n", escape(&line)));
    dangerous.map(|it| annotation(it, prefix)).chain(given_up).collect()
}

fn annotation(workload: &Workload, prefix: &str) -> String {
    let command = match workload.consent {
        Consent::NotNeeded | Consent::GivenByManifest => "warning",
        Consent::Reset | Consent::Delete | Consent::Refused => "error",
    };
    // The most severe reason comes first.
    let reason = workload.reasons.first();
    let at = reason.and_then(|reason| reason.at.as_ref()).map_or_else(String::new, |at| {
        let file = property(&format!("{prefix}{}", at.path));
        format!("file={file},line={},col={},", at.line, at.column)
    });
    let title = property(&format!("{} {}: {}", workload.action.name(), workload.id(), meaning(workload)));
    let why = reason.map(|reason| {
        let what = reason.what.as_ref().map_or_else(String::new, |what| format!(" ({what})"));
        format!("{}{what}: {}", reason.field, reason.why)
    });
    let text: Vec<String> = why.into_iter().chain(consent(workload)).collect();
    format!("::{command} {at}title={title}::{}\n", escape(&text.join("\n")))
}
