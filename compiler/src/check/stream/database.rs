//! Sinks by JDBC: what a mode needs, and where secrets may stand.

use super::path;
use crate::check::Subject;
use crate::diag::Code;
use crate::model::{JdbcMode, JdbcSink, Sink, Stream};
use crate::reference::{self, Reference};
use crate::secrets;

/// Databases whose transactions the exact modes are made for.
const EXACT: &str = "jdbc:postgresql:";

pub(super) fn check(subject: &mut Subject<'_>, stream: &Stream) {
    let Sink::Jdbc(jdbc) = &stream.sink else { return };
    mode(subject, jdbc);
    password(subject, jdbc);
    keys(subject, jdbc);
}

fn mode(subject: &mut Subject<'_>, jdbc: &JdbcSink) {
    let name = jdbc.mode.name();
    if jdbc.mode != JdbcMode::Append && !jdbc.url.starts_with(EXACT) {
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

/// A password that is no reference to a secret is refused, whatever it looks like.
fn password(subject: &mut Subject<'_>, jdbc: &JdbcSink) {
    let Some(password) = &jdbc.password else { return };
    let is_whole = |text: &str| text.starts_with("${") && text.find('}') == Some(text.len() - 1);
    let is_secret = matches!(reference::references(password).as_deref(), Ok([Reference::Secret { .. }]));
    if !(is_secret && is_whole(password)) {
        let at = subject.at(&path(&["sink", "jdbc", "password"]));
        // What looks like a secret by itself is reported where secrets are looked for.
        if secrets::by_name("password", password).is_none() {
            let help = "keep it in a secret and write the reference: `${secret.<name>/password}`";
            subject.problem(Code::SECRET_LITERAL, "`password` is no reference to a secret", at, "", help);
        }
    }
}

fn keys(subject: &mut Subject<'_>, jdbc: &JdbcSink) {
    for (index, key) in jdbc.keys.iter().enumerate() {
        if jdbc.keys[..index].iter().any(|other| other.eq_ignore_ascii_case(key)) {
            let at = subject.at(&path(&["sink", "jdbc", "keys", &index.to_string()]));
            let message = format!("the key `{key}` is named twice");
            subject.problem(Code::BAD_SINK, message, at, "again here", "remove one of them");
        }
    }
}
