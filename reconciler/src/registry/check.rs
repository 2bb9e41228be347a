//! Checks and revision numbers that all registries share.

use std::collections::HashSet;

use dcp_model::manifest::{Domain, Name};
use dcp_model::primitive::{Address, Fingerprint};

use super::{Error, Result};
use crate::state::{Action, Applied, Base, Body, Change, Commit, Head, Scope};

/// The last revision of an address, and whether anything is applied there now.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastRevision {
    pub(super) revision: u64,
    pub(super) present: bool,
}

/// Checks a commit without the state that it is applied to.
pub(super) fn commit(to: &Scope, commit: &Commit) -> Result<()> {
    let Commit { id: own, base: against, by, at: _, commit: source, changes } = commit;
    to.as_str().parse::<Scope>()?;
    id(own)?;
    base(against)?;
    text("the name of who commits", by)?;
    source.iter().try_for_each(|source| text("the commit of the repository", source))?;
    let mut seen = HashSet::with_capacity(changes.len());
    for each in changes {
        change(each)?;
        if !seen.insert(&each.address) {
            return Err(invalid(format!("`{}` is in the commit twice", each.address)));
        }
    }
    Ok(())
}

/// Returns the revision that a change makes.
pub(super) fn next_revision(change: &Change, last: Option<LastRevision>) -> Result<u64> {
    let address = &change.address;
    match (change.action == Action::Create, last.is_some_and(|last| last.present)) {
        (true, true) => Err(invalid(format!("`{address}` can't be created: it is there already"))),
        (false, false) => Err(invalid(format!("`{address}` can't be changed or deleted: it is not there"))),
        _ => Ok(last.map_or(0, |last| last.revision) + 1),
    }
}

/// Returns the head that an earlier commit with the same id produced, if it is the same commit.
pub(super) fn repeated(commit: &Commit, lineage: &str, earlier: Applied) -> Result<Head> {
    let same_line = commit.base.lineage.as_ref().is_none_or(|own| own == lineage);
    if same_line && earlier.serial.checked_sub(1) == Some(commit.base.serial) {
        let base = Base { lineage: Some(lineage.to_owned()), serial: earlier.serial };
        return Ok(Head { base, applied: Some(earlier) });
    }
    let (id, serial) = (&commit.id, earlier.serial);
    Err(invalid(format!(
        "the id `{id}` is that of another commit, serial {serial}: every commit needs its own"
    )))
}

/// Checks that there was a state at a serial.
pub(crate) fn serial(scope: &Scope, wanted: u64, head: &Base) -> Result<()> {
    if wanted <= head.serial {
        return Ok(());
    }
    let last = head.serial;
    Err(Error::NotFound(format!("`{scope}` has no serial {wanted}: its last is {last}")))
}

pub(crate) fn no_body(fingerprint: &Fingerprint) -> Error {
    Error::NotFound(format!("there is no body with the fingerprint {}", fingerprint.as_str()))
}

pub(super) fn invalid(message: String) -> Error {
    Error::Invalid(message)
}

fn id(id: &str) -> Result<()> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=64).contains(&id.len()) && id.bytes().all(letter) {
        return Ok(());
    }
    let rule = "use letters, digits, `-` and `_`, at most 64";
    Err(invalid(format!("`{}` can't be the id of a commit: {rule}", shown(id))))
}

fn base(base: &Base) -> Result<()> {
    let Base { lineage, serial } = base;
    lineage.iter().try_for_each(|lineage| id(lineage))?;
    if lineage.is_none() != (*serial == 0) {
        return Err(invalid(format!(
            "serial {serial} can't be a base: serial 0 has no lineage, and every other one has"
        )));
    }
    Ok(())
}

/// Checks a text that people will see.
fn text(what: &str, text: &str) -> Result<()> {
    if (1..=200).contains(&text.len()) && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(invalid(format!("{what} must be of 1 to 200 bytes, and without control characters")))
}

fn change(change: &Change) -> Result<()> {
    let Change { address, action, body } = change;
    let Address { domain, name, kind: _ } = address;
    if Domain::parse(domain).is_err() || Name::parse(name).is_err() {
        return Err(invalid(format!(
            "`{}` is no address: its domain and name must be names",
            shown(&address.to_string())
        )));
    }
    match (action, body) {
        (Action::None, _) => Err(invalid(format!("`{address}` is in the commit, and does not change"))),
        (Action::Delete, Some(_)) => Err(invalid(format!("`{address}` is deleted, and has a body"))),
        (Action::Delete, None) => Ok(()),
        (_, None) => Err(invalid(format!("`{address}` is not deleted, and has no body"))),
        (_, Some(body)) => self::body(address, body),
    }
}

fn body(address: &Address, body: &Body) -> Result<()> {
    // Canonical text escapes NUL, and PostgreSQL can't store it.
    if body.text.contains('\0') {
        return Err(invalid(format!("the body of `{address}` has a NUL character")));
    }
    if Fingerprint::of(&body.text) == body.fingerprint {
        return Ok(());
    }
    Err(invalid(format!(
        "the body of `{address}` is not what its fingerprint {} is of",
        body.fingerprint.short()
    )))
}

/// Shortens and escapes untrusted text for a message.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
