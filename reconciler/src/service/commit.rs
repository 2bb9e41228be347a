//! Reads a commit part by part, within limits.

use dcp_proto::control::v1::commit_request::Part;
use dcp_proto::control::v1::{self as proto, Changes, CommitHeader, CommitRequest};
use jiff::Timestamp;
use tonic::{Status, Streaming};

use super::Limits;
use super::request::{invalid, scope};
use crate::state::{Change, Commit, Scope};
use crate::wire::{self, error};

/// Reads the commit of a client. The caller fills in the author and the time.
pub(super) async fn read(
    mut stream: Streaming<CommitRequest>,
    limits: &Limits,
) -> Result<(Scope, Commit), Status> {
    let Some(Part::Header(header)) = stream.message().await?.and_then(|first| first.part) else {
        return Err(invalid("a commit begins with its header"));
    };
    let CommitHeader { scope: name, id, base, commit, changes: announced } = header;
    let scope = scope(&name)?;
    if announced > limits.changes {
        let limit = limits.changes;
        return Err(error::too_large(format!(
            "the commit has {announced} changes, and {limit} may be in one"
        )));
    }
    let mut changes = Vec::new();
    let mut bytes_left = limits.commit;
    while let Some(part) = stream.message().await? {
        let Some(Part::Changes(Changes { changes: more })) = part.part else {
            return Err(invalid("after a commit's header there are changes only"));
        };
        if (changes.len() + more.len()) as u64 > announced {
            return Err(invalid(format!("more changes came than the {announced} that were announced")));
        }
        for change in more {
            bytes_left = bytes_left_after(&change, bytes_left, limits)?;
            changes.push(read_change(change)?);
        }
    }
    if changes.len() as u64 != announced {
        let came = changes.len();
        return Err(invalid(format!(
            "{announced} changes were announced, and {came} came: the stream was cut off"
        )));
    }
    let base = wire::read_base(base);
    Ok((scope, Commit { id, base, by: String::new(), at: Timestamp::UNIX_EPOCH, commit, changes }))
}

fn read_change(change: proto::Change) -> Result<Change, Status> {
    wire::read_change(change).map_err(invalid)
}

/// Returns the remaining bytes for bodies.
fn bytes_left_after(change: &proto::Change, bytes_left: usize, limits: &Limits) -> Result<usize, Status> {
    let bytes = change.body.as_ref().map_or(0, |body| body.text.len());
    if bytes > limits.body {
        let limit = limits.body;
        return Err(error::too_large(format!("a body has {bytes} bytes, and {limit} may be in one")));
    }
    let full = || error::too_large(format!("the commit's bodies have more than {} bytes", limits.commit));
    bytes_left.checked_sub(bytes).ok_or_else(full)
}
