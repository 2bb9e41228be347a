//! Commits as streams of messages.

use dcp_proto::control::v1::commit_request::Part;
use dcp_proto::control::v1::{Change, Changes, CommitHeader, CommitRequest};

use crate::state::{Commit, Scope};
use crate::wire;

/// Limits of a part: the first that is reached ends it.
const PART_BYTES: usize = 1 << 20;
const PART_CHANGES: usize = 1_000;
/// Splits a commit into parts. The server sets the author and the time itself.
pub(super) fn split(scope: &Scope, commit: &Commit) -> Vec<CommitRequest> {
    let Commit { id, base, by: _, at: _, commit: source, changes } = commit;
    let header = CommitHeader {
        scope: scope.to_string(),
        id: id.clone(),
        base: Some(wire::base(base)),
        commit: source.clone(),
        changes: changes.len() as u64,
    };
    let mut requests = vec![CommitRequest { part: Some(Part::Header(header)) }];
    let (mut part, mut bytes) = (Vec::new(), 0);
    for change in changes {
        part.push(wire::change(change));
        bytes += change.body.as_ref().map_or(0, |body| body.text.len());
        if bytes >= PART_BYTES || part.len() >= PART_CHANGES {
            bytes = 0;
            requests.push(part_of(std::mem::take(&mut part)));
        }
    }
    if !part.is_empty() {
        requests.push(part_of(part));
    }
    requests
}

fn part_of(changes: Vec<Change>) -> CommitRequest {
    CommitRequest { part: Some(Part::Changes(Changes { changes })) }
}
