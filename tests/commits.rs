//! Helpers that create commits.

use std::sync::atomic::{AtomicU64, Ordering};

use dcp_model::primitive::{Address, Fingerprint, Kind};
use dcp_reconciler::state::Action;
use dcp_reconciler::state::{Base, Body, Change, Commit, Scope};
use jiff::Timestamp;

/// The author and time of all commits. Servers determine both by themselves, so tests configure them to use the same
/// values.
pub const AUTHOR: &str = "tester";
pub const COMMIT_TIME: Timestamp = Timestamp::constant(1_760_000_000, 123_000_000);

pub fn scope() -> Scope {
    Scope::new("shop", Some("prod"))
}

pub fn address(name: &str) -> Address {
    Address { domain: "sales".to_owned(), name: name.to_owned(), kind: Kind::CoreEtlJob }
}

pub fn body(text: &str) -> Body {
    Body { fingerprint: Fingerprint::of(text), text: text.to_owned() }
}

pub fn create(name: &str, text: &str) -> Change {
    Change { address: address(name), action: Action::Create, body: Some(body(text)) }
}

pub fn update(name: &str, text: &str) -> Change {
    Change { action: Action::Update, ..create(name, text) }
}

pub fn delete(name: &str) -> Change {
    Change { address: address(name), action: Action::Delete, body: None }
}

/// Returns a commit with a unique id.
pub fn commit(base: &Base, changes: Vec<Change>) -> Commit {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let source = Some("0123abc".to_owned());
    Commit { id, base: base.clone(), by: AUTHOR.to_owned(), at: COMMIT_TIME, commit: source, changes }
}
