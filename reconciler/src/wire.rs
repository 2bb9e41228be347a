//! Converts between types of the registry and messages of `dcp.control.v1`, for client and server.

pub(crate) mod assets;
pub(crate) mod error;
pub(crate) mod job_status;
pub(crate) mod jobs;

use std::collections::BTreeMap;

use dcp_model::primitive::{Address, Fingerprint};
use dcp_proto::control::v1 as proto;
use jiff::Timestamp;

use crate::state::Action;
use crate::state::{Applied, Base, Body, Change, Entry, Head, Revision};

/// The result of reading a message; the error says what is wrong with it.
pub(crate) type Result<T> = std::result::Result<T, String>;

const ACTIONS: [(Action, proto::Action); 6] = [
    (Action::None, proto::Action::None),
    (Action::Create, proto::Action::Create),
    (Action::Update, proto::Action::Update),
    (Action::Redeploy, proto::Action::Redeploy),
    (Action::Reset, proto::Action::Reset),
    (Action::Delete, proto::Action::Delete),
];

pub(crate) fn action(action: Action) -> proto::Action {
    let row = ACTIONS.iter().find(|(ours, _)| *ours == action);
    row.map_or(proto::Action::Unspecified, |(_, theirs)| *theirs)
}

pub(crate) fn read_action(number: i32) -> Result<Action> {
    let row = ACTIONS.iter().find(|(_, theirs)| *theirs as i32 == number);
    row.map(|(ours, _)| *ours).ok_or_else(|| format!("action {number} is not known to this dcp"))
}

pub(crate) fn read_fingerprint(text: &str) -> Result<Fingerprint> {
    Fingerprint::parse(text).ok_or_else(|| "a fingerprint is not a SHA-256 in hexadecimal".to_owned())
}

pub(crate) fn base(base: &Base) -> proto::Base {
    let Base { lineage, serial } = base;
    proto::Base { lineage: lineage.clone(), serial: *serial }
}

pub(crate) fn read_base(base: Option<proto::Base>) -> Base {
    let proto::Base { lineage, serial } = base.unwrap_or_default();
    Base { lineage, serial }
}

fn time(at: Timestamp) -> prost_types::Timestamp {
    let nanosecond = at.as_nanosecond();
    let seconds = nanosecond.div_euclid(1_000_000_000);
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).expect("a Timestamp's seconds are an i64"),
        nanos: i32::try_from(nanosecond.rem_euclid(1_000_000_000)).expect("below 10^9"),
    }
}

fn read_time(at: prost_types::Timestamp) -> Result<Timestamp> {
    Timestamp::new(at.seconds, at.nanos).map_err(|error| error.to_string())
}

pub(crate) fn applied(applied: &Applied) -> proto::Applied {
    let Applied { serial, id, by, at, commit, counts } = applied;
    let count =
        |(kind, number): (&Action, &u64)| proto::Count { action: action(*kind).into(), number: *number };
    proto::Applied {
        serial: *serial,
        id: id.clone(),
        by: by.clone(),
        at: Some(time(*at)),
        commit: commit.clone(),
        counts: counts.iter().map(count).collect(),
    }
}

pub(crate) fn read_applied(applied: proto::Applied) -> Result<Applied> {
    let proto::Applied { serial, id, by, at, commit, counts } = applied;
    let at = read_time(at.ok_or("a commit has no time")?)?;
    let count = |count: proto::Count| Ok((read_action(count.action)?, count.number));
    let counts = counts.into_iter().map(count).collect::<Result<BTreeMap<_, _>>>()?;
    Ok(Applied { serial, id, by, at, commit, counts })
}

pub(crate) fn head(head: &Head) -> proto::Head {
    proto::Head { base: Some(base(&head.base)), applied: head.applied.as_ref().map(applied) }
}

pub(crate) fn read_head(head: Option<proto::Head>) -> Result<Head> {
    let proto::Head { base, applied } = head.ok_or("there is no head in the answer")?;
    Ok(Head { base: read_base(base), applied: applied.map(read_applied).transpose()? })
}

pub(crate) fn entry((address, entry): (Address, Entry)) -> proto::Entry {
    let Entry { fingerprint, revision, serial } = entry;
    proto::Entry {
        address: address.to_string(),
        fingerprint: fingerprint.as_str().to_owned(),
        revision,
        serial,
    }
}

pub(crate) fn read_entry(entry: &proto::Entry) -> Result<(Address, Entry)> {
    let proto::Entry { address, fingerprint, revision, serial } = entry;
    let fingerprint = read_fingerprint(fingerprint)?;
    Ok((address.parse()?, Entry { fingerprint, revision: *revision, serial: *serial }))
}

pub(crate) fn revision(revision: Revision) -> proto::Revision {
    let Revision { revision, serial, action: kind, fingerprint } = revision;
    let fingerprint = fingerprint.map(|it| it.as_str().to_owned());
    proto::Revision { revision, serial, action: action(kind).into(), fingerprint }
}

pub(crate) fn read_revision(revision: proto::Revision) -> Result<Revision> {
    let proto::Revision { revision, serial, action, fingerprint } = revision;
    let fingerprint = fingerprint.as_deref().map(read_fingerprint).transpose()?;
    Ok(Revision { revision, serial, action: read_action(action)?, fingerprint })
}

pub(crate) fn change(change: &Change) -> proto::Change {
    let Change { address, action: kind, body } = change;
    let body = body.as_ref().map(|body| proto::Body {
        fingerprint: body.fingerprint.as_str().to_owned(),
        text: body.text.clone(),
    });
    proto::Change { address: address.to_string(), action: action(*kind).into(), body }
}

pub(crate) fn read_change(change: proto::Change) -> Result<Change> {
    let proto::Change { address, action, body } = change;
    let read =
        |body: proto::Body| Ok(Body { fingerprint: read_fingerprint(&body.fingerprint)?, text: body.text });
    let body = body.map(read).transpose().map_err(|error: String| error)?;
    Ok(Change { address: address.parse()?, action: read_action(action)?, body })
}
