//! Recognises renames: the same content under another name.

use std::collections::HashMap;

use dcp_model::primitive::canonical;
use serde_json::Value;

use super::workload_version::{Planned, WorkloadVersion, to_json};
use super::{Class, Consent, Renamed};
use crate::state::Action;

/// Marks a deleted and a created workload with the same content as a rename.
pub(super) fn recognise(planned: &mut [Planned]) {
    let mut deleted_by_content: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, it) in planned.iter().enumerate().filter(|(_, it)| it.workload.action == Action::Delete) {
        deleted_by_content.entry(content(&it.old)).or_default().push(index);
    }
    if deleted_by_content.is_empty() {
        return;
    }
    for created in 0..planned.len() {
        if planned[created].workload.action != Action::Create {
            continue;
        }
        // An ambiguous rename is not reported.
        let Some([deleted]) = deleted_by_content.get(&content(&planned[created].new)).map(Vec::as_slice)
        else {
            continue;
        };
        let (deleted, from, to) = (*deleted, planned[*deleted].workload.id(), planned[created].workload.id());
        let same_state = planned[deleted].old.checkpoint() == planned[created].new.checkpoint();
        planned[created].workload.renamed = Some(Renamed::From(from));
        let is_pool = planned[deleted].old.pool.is_some();
        let old = &mut planned[deleted].workload;
        old.renamed = Some(Renamed::To(to));
        let why = match planned[created].new.checkpoint() {
            Some(_) => "the stream is drained, and goes on from its checkpoint under its new name",
            None => "the service is stopped, and is started under its new name",
        };
        // The stream continues under the new name from the same checkpoint. The sessions of a pool end.
        if same_state && !is_pool && old.consent == Consent::Delete {
            old.consent = Consent::NotNeeded;
            for reason in &mut old.reasons {
                reason.class = Class::Restart;
                why.clone_into(&mut reason.why);
            }
        }
        deleted_by_content.retain(|_, indices| *indices != [deleted]);
    }
}

/// Returns the content of a workload without its name.
fn content(side: &WorkloadVersion) -> String {
    let mut job = side.job.as_ref().map_or(Value::Null, to_json);
    if let Some(metadata) = job.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| key != "name" && key != "domain");
    }
    if let Some(group) = side.orchestrator.as_ref().filter(|it| it.dag.group) {
        return canonical(&serde_json::json!([to_json(&group.dag.schedule), to_json(&group.dag.tasks)]));
    }
    let run = side.run().unwrap_or_default();
    let cron = side.orchestrator.as_ref().map_or(Value::Null, |it| to_json(&it.dag.schedule));
    let checkpoint = side.checkpoint().unwrap_or_default();
    let pool = side.pool.as_ref().map_or(Value::Null, |it| to_json(&it.settings));
    canonical(&serde_json::json!([job, run, cron, checkpoint, pool]))
}
