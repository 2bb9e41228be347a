//! Checks of sinks that identify rows by keys (`MERGE` and JDBC): requirements of the modes, and secrets.

use dcp_model::manifest::{JdbcMode, JdbcSink, MergeSink, Sink, Stream};
use dcp_model::reference::{self, Reference};
use dcp_model::secrets;

use super::path;
use crate::check::Subject;
use crate::diag::Code;

/// The database that the exactly-once modes support.
const EXACTLY_ONCE_URL: &str = "jdbc:postgresql:";

pub(super) fn check(subject: &mut Subject<'_>, stream: &Stream) {
    match &stream.sink {
        Sink::Jdbc(jdbc) => {
            mode(subject, jdbc);
            password(subject, jdbc);
            keys(subject, "jdbc", &jdbc.keys);
        }
        Sink::Merge(merge) => {
            keys(subject, "merge", &merge.keys);
            deletion(subject, merge);
        }
        Sink::Kafka(_) | Sink::Files(_) | Sink::Table(_) | Sink::Console(_) => {}
    }
}

fn mode(subject: &mut Subject<'_>, jdbc: &JdbcSink) {
    let name = jdbc.mode.name();
    if jdbc.mode != JdbcMode::Append && !jdbc.url.starts_with(EXACTLY_ONCE_URL) {
        let at = subject.at(&path(&["sink", "jdbc", "mode"]));
        let message = format!("`mode: {name}` is for PostgreSQL");
        let help = "use `mode: append`, which adds rows at least once, or write to PostgreSQL";
        subject.problem(Code::BAD_SINK, message, at, "the URL is that of another database", help);
    }
    let is_upsert = jdbc.mode == JdbcMode::Upsert;
    if is_upsert && jdbc.keys.is_empty() {
        let at = subject.at(&path(&["sink", "jdbc", "mode"]));
        let help = "add `keys`, the columns of a unique index of the table, or use `mode: appendOnce`";
        subject.problem(
            Code::BAD_SINK,
            "`mode: upsert` needs `keys`",
            at,
            "updates the row with which keys?",
            help,
        );
    }
    for (field, is_set) in [("keys", !jdbc.keys.is_empty()), ("orderBy", jdbc.order_by.is_some())] {
        if is_set && !is_upsert {
            let at = subject.key(&path(&["sink", "jdbc", field]));
            let message = format!("`{field}` has no effect in `mode: {name}`");
            let help = format!("set `mode: upsert`, or remove `{field}`");
            subject.problem(Code::BAD_SINK, message, at, "for `upsert` only", help);
        }
    }
}

/// Rejects any password that is not a reference to a secret.
fn password(subject: &mut Subject<'_>, jdbc: &JdbcSink) {
    let Some(password) = &jdbc.password else { return };
    let is_whole = |text: &str| text.starts_with("${") && text.find('}') == Some(text.len() - 1);
    let is_secret = matches!(reference::references(password).as_deref(), Ok([Reference::Secret { .. }]));
    if !(is_secret && is_whole(password)) {
        let at = subject.at(&path(&["sink", "jdbc", "password"]));
        // Values that look like secrets are reported by the check of secrets.
        if secrets::by_name("password", password).is_none() {
            let help = "keep it in a secret and write the reference: `${secret.<name>/password}`";
            subject.problem(Code::SECRET_LITERAL, "`password` is no reference to a secret", at, "", help);
        }
    }
}

fn keys(subject: &mut Subject<'_>, kind: &str, keys: &[String]) {
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].iter().any(|other| other.eq_ignore_ascii_case(key)) {
            let at = subject.at(&path(&["sink", kind, "keys", &index.to_string()]));
            let message = format!("the key `{key}` is named twice");
            subject.problem(Code::BAD_SINK, message, at, "again here", "remove one of them");
        }
    }
}

/// Checks the column that marks rows for deletion, which is not written to the table.
fn deletion(subject: &mut Subject<'_>, merge: &MergeSink) {
    let Some(delete) = &merge.delete else { return };
    let others = merge.keys.iter().chain(&merge.order_by);
    if others.into_iter().any(|other| other.eq_ignore_ascii_case(delete)) {
        let at = subject.at(&path(&["sink", "merge", "delete"]));
        let message = format!("`{delete}` can't say which rows are deleted");
        let help = "name a boolean column of the query that is neither a key nor `orderBy`";
        subject.problem(Code::BAD_SINK, message, at, "a key, or `orderBy`", help);
    }
}
