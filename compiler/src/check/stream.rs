//! Rules of Structured Streaming that can be checked at compile time.

mod columns;
mod database;
mod joins;
mod modes;
mod options;
mod pivots;
mod query;
mod sink;
mod sources;
mod times;
mod trigger;
mod unsupported;
mod windows;

use std::ops::Range;

use dcp_model::manifest::{Identifier, Job, ScalarOr, Sink, Source, Stream, TableName};
use query::Query;

use super::Subject;
use crate::diag::{Code, Diagnostic, nearest};
use crate::source::Span;

pub(super) fn check(subject: &mut Subject<'_>) {
    let Job::Stream(stream) = &subject.manifest.spec.job else { return };
    sources::check(subject, stream);
    tables(subject, stream);
    options::check(subject, stream);
    times::watermarks(subject, stream);
    times::deduplication(subject, stream);
    sink::check(subject, stream);
    database::check(subject, stream);
    if !is_one_query(subject) {
        return;
    }
    let Some(shape) = subject.sql.and_then(|sql| sql.query()) else { return };
    let query = Query::new(stream, shape);
    relations(subject, &query);
    modes::check(subject, &query);
    unsupported::check(subject, &query);
    joins::check(subject, &query);
    windows::check(subject, &query);
    columns::check(subject, &query);
    sink::types(subject, &query);
    state(subject, &query);
    trigger::check(subject, &query);
}

const STREAM: [&str; 3] = ["spec", "job", "stream"];

/// Returns a path below the stream.
fn path<'p>(below: &[&'p str]) -> Vec<&'p str> {
    [&STREAM, below].concat()
}

/// Reports SQL that is not a single query, if it could be read.
fn is_one_query(subject: &mut Subject<'_>) -> bool {
    let Some(facts) = subject.sql.and_then(|sql| sql.facts()) else { return false };
    if subject.sql.is_some_and(|sql| sql.query().is_some()) {
        return true;
    }
    if !facts.dynamic.is_empty() {
        return false;
    }
    let (at, label) = match facts.statements.as_slice() {
        [_, second, ..] => (second.at.clone(), "a second statement"),
        [only] => (only.at.clone(), "no query"),
        [] => (0..0, "no query"),
    };
    let span = subject.sql_at(&first_words(&at));
    let help = "write one `SELECT`: the sink is declared under `sink`, and named subqueries go into `WITH`";
    subject.problem(Code::NOT_A_QUERY, "a stream is one query", span, label, help);
    false
}

/// Returns the start of a range, which is sufficient as the place of a long statement.
fn first_words(at: &Range<u32>) -> Range<u32> {
    at.start..at.end.min(at.start + 12).max(at.start)
}

/// Checks the short forms of tables, because the schema accepts any scalar.
fn tables(subject: &mut Subject<'_>, stream: &Stream) {
    let mut named: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, source) in &stream.sources {
        if let Source::Table(ScalarOr::Scalar(table)) = source {
            named.push((table.as_str(), path(&["sources", name.as_str(), "table"])));
        }
    }
    if let Sink::Table(ScalarOr::Scalar(table)) = &stream.sink {
        named.push((table.as_str(), path(&["sink", "table"])));
    }
    for (table, place) in named {
        if let Err(error) = TableName::parse(table) {
            let at = subject.at(&place);
            let diagnostic = Diagnostic::new(error.code, error.message).at(at, "");
            subject
                .report(error.help.map_or_else(|| diagnostic.clone(), |help| diagnostic.clone().help(help)));
        }
    }
}

fn unknown_source(subject: &mut Subject<'_>, stream: &Stream, name: &str, at: Span) {
    let diagnostic = Diagnostic::new(Code::UNKNOWN_SOURCE, format!("`{name}` is no source of this stream"));
    let known = || stream.sources.keys().map(Identifier::as_str);
    subject.report(match nearest(name, known()) {
        Some(meant) => diagnostic.at(at, format!("did you mean `{meant}`?")),
        None => diagnostic.at(at, "named here").help(format!(
            "declare it under `sources`, such as `{}: {{table: {name}}}`; there are {}",
            simple_name(name),
            crate::diag::list(known(), "and")
        )),
    });
}

fn simple_name(table: &str) -> &str {
    table.rsplit('.').next().unwrap_or(table)
}

fn relations(subject: &mut Subject<'_>, query: &Query<'_>) {
    for (relation, source) in query.shape.relations.iter().zip(&query.sources) {
        if source.is_none() {
            let at = subject.sql_at(&relation.at);
            unknown_source(subject, query.stream, &relation.name, at);
        }
    }
    for name in query.stream.sources.keys() {
        let read = query.sources.iter().flatten().any(|(known, _)| *known == name.as_str());
        // A misspelt relation probably refers to a source that seems to be unread.
        let misspelt = || {
            let unknown =
                query.shape.relations.iter().zip(&query.sources).filter(|(_, source)| source.is_none());
            unknown
                .map(|(relation, _)| relation.name.as_str())
                .any(|unknown| nearest(unknown, [name.as_str()]).is_some())
        };
        if !read && !misspelt() {
            let at = subject.key(&path(&["sources", name.as_str()]));
            subject.problem(
                Code::UNUSED_SOURCE,
                format!("the query does not read `{name}`"),
                at,
                "",
                "read it, or remove it",
            );
        }
    }
}

fn state(subject: &mut Subject<'_>, query: &Query<'_>) {
    if query.is_stateful() && query.stream.state.partitions.is_none() {
        let at = subject.key(&STREAM);
        let help = "add `state: {partitions: …}`, about two for each core of the executors";
        subject.problem(
            Code::STATE_PARTITIONS,
            "the state gets Spark's 200 partitions, and keeps them for as long as the checkpoint lives",
            at,
            "keeps state",
            help,
        );
    }
}
