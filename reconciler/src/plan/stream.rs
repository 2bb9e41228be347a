//! Decides whether a changed stream can continue from its checkpoint. The rules are those of Spark's guide, "Recovery
//! semantics after changes in a streaming query", applied to the state of the old and the new query.

mod query;
mod sink;
mod sources;

use dcp_compiler::sql::{self, Detail, QueryShape, Reading, StatementKind};
use dcp_model::manifest::Stream;

use super::class::Class;

/// A difference between two streams.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    /// The path below `job.stream`.
    pub(super) field: Vec<String>,
    pub(super) what: Option<&'static str>,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
    pub(super) class: Class,
    pub(super) why: String,
}

impl Finding {
    pub(super) fn new(field: &[&str], class: Class, why: impl Into<String>) -> Self {
        let field = field.iter().map(|key| (*key).to_owned()).collect();
        Self { field, what: None, old: None, new: None, class, why: why.into() }
    }

    pub(super) fn of(
        mut self,
        what: &'static str,
        old: impl Into<Option<String>>,
        new: impl Into<Option<String>>,
    ) -> Self {
        (self.what, self.old, self.new) = (Some(what), old.into(), new.into());
        self
    }
}

/// A stream with the shape of its query.
#[derive(Debug)]
struct AnalyzedStream<'a> {
    stream: &'a Stream,
    text: &'a str,
    /// None if the query can't be read.
    shape: Option<QueryShape>,
}

impl<'a> AnalyzedStream<'a> {
    fn new(stream: &'a Stream) -> Self {
        let text = stream.query.as_deref().unwrap_or_default();
        Self { stream, text, shape: shape(text) }
    }

    /// Returns the sources that are read as streams, in the order of the query. A checkpoint identifies sources by
    /// order.
    fn streamed(&self) -> Option<Vec<&'a str>> {
        let sources = self.stream.sources.iter().filter(|(_, source)| source.is_streaming());
        let names: Vec<&str> = sources.map(|(name, _)| name.as_str()).collect();
        if names.len() < 2 {
            return Some(names);
        }
        let relations = &self.shape.as_ref()?.relations;
        let source =
            |relation: &sql::Relation| names.iter().find(|it| it.eq_ignore_ascii_case(&relation.name));
        Some(relations.iter().filter_map(source).copied().collect())
    }

    fn is_streamed(&self, relation: usize) -> bool {
        let name = self.shape.as_ref().and_then(|shape| shape.relations.get(relation)).map(|it| &it.name);
        name.is_some_and(|name| {
            let mut sources = self.stream.sources.iter();
            sources.any(|(it, source)| it.as_str().eq_ignore_ascii_case(name) && source.is_streaming())
        })
    }

    /// Returns the joins of two streams.
    fn stream_joins(&self) -> impl Iterator<Item = &sql::Join> {
        let joins = self.shape.iter().flat_map(|shape| &shape.joins);
        joins.filter(|join| {
            let streamed = |side: &[usize]| side.iter().any(|it| self.is_streamed(*it));
            streamed(&join.left) && streamed(&join.right)
        })
    }

    /// Returns whether the query keeps state, or none if that is unknown.
    fn is_stateful(&self) -> Option<bool> {
        if !self.stream.deduplicate.is_empty() {
            return Some(true);
        }
        let shape = self.shape.as_ref()?;
        let aggregates = !shape.group_by.is_empty() || !shape.aggregates.is_empty();
        Some(
            aggregates
                || shape.distinct.is_some()
                || shape.limit.is_some()
                || self.stream_joins().count() > 0,
        )
    }
}

fn shape(text: &str) -> Option<QueryShape> {
    let Reading::Known(facts) = sql::read(text, Detail::Shape) else { return None };
    match <[_; 1]>::try_from(facts.statements) {
        Ok([only]) if only.kind == StatementKind::Query => only.query,
        _ => None,
    }
}

/// The comparison of two versions of a stream.
#[derive(Debug)]
pub(super) struct StreamComparison {
    pub(super) findings: Vec<Finding>,
    /// Set if one of the two keeps state; none if that is unknown.
    pub(super) stateful: Option<bool>,
    /// Fields below `job.stream` whose differences are all in the findings.
    pub(super) settled: Vec<Vec<String>>,
}

pub(super) fn compare(old: &Stream, new: &Stream) -> StreamComparison {
    let (old, new) = (AnalyzedStream::new(old), AnalyzedStream::new(new));
    let stateful = match (old.is_stateful(), new.is_stateful()) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    };
    let mut findings = Vec::new();
    let sources = sources::compare(&old, &new, &mut findings);
    let mut settled: Vec<_> = sources.into_iter().map(|name| vec!["sources".to_owned(), name]).collect();
    query::compare(&old, &new, stateful, &mut findings);
    if sink::compare(&old.stream.sink, &new.stream.sink, &mut findings) {
        settled.push(vec!["sink".to_owned()]);
    }
    StreamComparison { findings, stateful, settled }
}

/// Returns whether a stream reads a source as a stream.
pub(super) fn reads_as_stream(stream: &Stream, source: &str) -> bool {
    stream.sources.iter().any(|(name, it)| name.as_str() == source && it.is_streaming())
}
