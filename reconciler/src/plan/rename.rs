//! Recognises renames: the same content under another name.

use std::collections::HashMap;

use dcp_model::primitive::canonical;
use serde_json::Value;

use super::side::{Planned, Side, value};
use super::{Class, Consent, Renamed};
use crate::state::Action;

/// Marks a deleted and a created workload with the same content as a rename.
pub(super) fn recognise(planned: &mut [Planned]) {
    let mut gone: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, it) in planned.iter().enumerate().filter(|(_, it)| it.workload.action == Action::Delete) {
        gone.entry(content(&it.old)).or_default().push(index);
    }
    if gone.is_empty() {
        return;
    }
    for come in 0..planned.len() {
        if planned[come].workload.action != Action::Create {
            continue;
        }
        // An ambiguous rename is not reported.
        let Some([went]) = gone.get(&content(&planned[come].new)).map(Vec::as_slice) else { continue };
        let (went, from, to) = (*went, planned[*went].workload.id(), planned[come].workload.id());
        let same_state = planned[went].old.checkpoint() == planned[come].new.checkpoint();
        planned[come].workload.renamed = Some(Renamed::From(from));
        let old = &mut planned[went].workload;
        old.renamed = Some(Renamed::To(to));
        let why = match planned[come].new.checkpoint() {
            Some(_) => "the stream is drained, and goes on from its checkpoint under its new name",
            None => "the service is stopped, and is started under its new name",
        };
        // The stream continues under the new name from the same checkpoint.
        if same_state && old.consent == Consent::Delete {
            old.consent = Consent::NotNeeded;
            for reason in &mut old.reasons {
                reason.class = Class::Restart;
                why.clone_into(&mut reason.why);
            }
        }
        gone.retain(|_, indices| *indices != [went]);
    }
}

/// Returns the content of a workload without its name.
fn content(side: &Side) -> String {
    let mut job = side.job.as_ref().map_or(Value::Null, value);
    if let Some(metadata) = job.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| key != "name" && key != "domain");
    }
    if let Some(group) = side.orchestrator.as_ref().filter(|it| it.dag.group) {
        return canonical(&serde_json::json!([value(&group.dag.schedule), value(&group.dag.tasks)]));
    }
    let run = side.run().unwrap_or_default();
    let cron = side.orchestrator.as_ref().map_or(Value::Null, |it| value(&it.dag.schedule));
    let checkpoint = side.checkpoint().unwrap_or_default();
    canonical(&serde_json::json!([job, run, cron, checkpoint]))
}
