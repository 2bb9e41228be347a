//! A stream's query with its sources: the parts that run on streams, and the columns with event times.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use dcp_model::manifest::{Source, Stream};

use crate::sql::{Join, Pivot, QueryShape, Text};

/// A stream's query, with the sources of its relations.
pub(super) struct Query<'a> {
    pub(super) stream: &'a Stream,
    pub(super) shape: &'a QueryShape,
    /// The source of each relation of the shape.
    pub(super) sources: Vec<Option<(&'a str, &'a Source)>>,
    /// The columns with a watermark, in lower case.
    watermarks: HashSet<String>,
    /// The expressions of the query's aliases.
    alias_expressions: HashMap<&'a str, Vec<&'a str>>,
}

/// The range of a nested query.
type QueryRange = Option<(u32, u32)>;

/// A range of the query, and a description of its operation.
pub(super) type Operation = (Range<u32>, &'static str);

impl<'a> Query<'a> {
    pub(super) fn new(stream: &'a Stream, shape: &'a QueryShape) -> Self {
        let find = |name: &str| {
            let mut all = stream.sources.iter();
            all.find(|(known, _)| known.as_str().eq_ignore_ascii_case(name))
                .map(|(known, source)| (known.as_str(), source))
        };
        let sources = shape.relations.iter().map(|relation| find(&relation.name)).collect();
        let mut alias_expressions: HashMap<&str, Vec<&str>> = HashMap::new();
        for alias in &shape.aliases {
            alias_expressions.entry(&alias.name).or_default().push(&alias.text);
        }
        let mut query = Self { stream, shape, sources, watermarks: HashSet::new(), alias_expressions };
        let watermarks = (0..query.sources.len()).filter_map(|relation| query.watermark_of(relation));
        query.watermarks = watermarks.map(str::to_lowercase).collect();
        query
    }

    pub(super) fn is_streaming(&self, relation: usize) -> bool {
        self.sources.get(relation).copied().flatten().is_some_and(|(_, source)| source.is_streaming())
    }

    pub(super) fn any_streaming(&self, relations: &[usize]) -> bool {
        relations.iter().any(|relation| self.is_streaming(*relation))
    }

    /// Returns whether all of these relations are certainly static.
    pub(super) fn none_streaming(&self, relations: &[usize]) -> bool {
        relations.iter().all(|relation| {
            let source = self.sources.get(*relation).copied().flatten();
            source.is_some_and(|(_, source)| !source.is_streaming())
        })
    }

    /// Returns whether a part of the query runs on a stream, and not on tables only.
    pub(super) fn runs_on_stream(&self, at: &Range<u32>) -> bool {
        let relations = self.shape.relations_at(at);
        if self.shape.laterals.iter().any(|lateral| lateral.at.contains(&at.start)) {
            return relations.is_some_and(|relations| self.any_streaming(relations));
        }
        relations.is_none_or(|relations| relations.is_empty() || self.any_streaming(relations))
    }

    /// Returns the first aggregate in a `LATERAL` subquery that depends on a stream. Spark turns it into a join of
    /// the stream with an aggregate over the same stream.
    pub(super) fn lateral_aggregate(&self) -> Option<Range<u32>> {
        let laterals = || self.shape.laterals.iter().filter(|it| self.any_streaming(&it.relations));
        let mut places = self.shape.aggregates.iter().map(|aggregate| &aggregate.at);
        places.find(|at| laterals().any(|lateral| lateral.at.contains(&at.start))).cloned()
    }

    pub(super) fn watermark_of(&self, relation: usize) -> Option<&'a str> {
        let (name, _) = self.sources.get(relation).copied().flatten()?;
        self.stream
            .watermark
            .0
            .iter()
            .find(|watermark| watermark.source.as_str() == name)
            .map(|watermark| watermark.column.as_str())
    }

    pub(super) fn has_watermark(&self) -> bool {
        !self.watermarks.is_empty()
    }

    /// Returns the first place that makes the query an aggregation, with a description.
    pub(super) fn aggregation(&self) -> Option<Operation> {
        let first =
            |all: &'a [Text]| all.iter().map(|text| text.at.clone()).find(|at| self.runs_on_stream(at));
        let aggregate = first(&self.shape.aggregates).map(|at| (at, "aggregates here"));
        let group = || first(&self.shape.group_by).map(|at| (at, "groups here"));
        aggregate.or_else(group).or_else(|| self.duplicate_removal())
    }

    fn duplicate_removal(&self) -> Option<Operation> {
        let at = self.shape.distinct.clone().filter(|at| self.runs_on_stream(at))?;
        Some((at, "removes duplicates here"))
    }

    /// Returns the first place that creates groups that no watermark closes. Nested queries need a watermark just
    /// like outer ones.
    pub(super) fn unbounded_groups(&self) -> Option<Operation> {
        let closed = self.bounded_levels();
        let open = |operation: &'static str| move |text: &Text| (text.at.clone(), operation);
        let aggregates = self.shape.aggregates.iter().map(open("aggregates here"));
        let groups = self.shape.group_by.iter().map(open("groups here"));
        let is_open = |at: &Range<u32>| self.runs_on_stream(at) && !closed.contains(&self.level(at));
        let open = aggregates.chain(groups).find(|(at, _)| is_open(at));
        open.or_else(|| self.duplicate_removal().filter(|_| !self.is_distinct_by_time()))
    }

    /// Returns the queries whose groups are closed by a watermark: they group by a column with a watermark, or by a
    /// window over one.
    fn bounded_levels(&self) -> BTreeSet<QueryRange> {
        let shape = self.shape;
        let groups = shape
            .group_by
            .iter()
            .filter(|group| self.is_event_time(&group.text) || self.includes_time(group));
        let pivots = shape.pivots.iter().filter(|pivot| self.groups_by_time(pivot));
        let places = groups.map(|group| &group.at).chain(pivots.map(|pivot| &pivot.at));
        places.map(|at| self.level(at)).collect()
    }

    /// Returns whether a `GROUP BY` of several sets, or of all columns, includes a time.
    fn includes_time(&self, group: &Text) -> bool {
        let level = self.level(&group.at);
        let of_level = |at: &Range<u32>| self.level(at) == level;
        let several =
            ["cube", "rollup", "grouping sets", "with "].iter().any(|it| group.text.starts_with(it));
        if several {
            let mut windows = self.shape.windows.iter().filter(|window| of_level(&window.at));
            return windows.any(|window| self.is_event_time(&window.column));
        }
        let mut columns = self.shape.columns.iter().filter(|column| of_level(&column.at)).peekable();
        if group.text != "all" {
            return false;
        }
        // The columns are known for the outermost query only.
        match columns.peek() {
            Some(_) => columns.any(|column| self.is_event_time(&column.text)),
            None => self.shape.windows.iter().any(|it| of_level(&it.at) && self.is_event_time(&it.column)),
        }
    }

    /// Returns whether a pivot groups by a time.
    fn groups_by_time(&self, pivot: &Pivot) -> bool {
        let used = |name: &str| pivot.used.iter().any(|it| it == name);
        pivot.input.iter().any(|name| match name.as_str() {
            "*" => self.watermarks.iter().any(|column| !used(column)),
            name => !used(name) && self.is_event_time(name),
        })
    }

    fn level(&self, at: &Range<u32>) -> QueryRange {
        self.shape.level_at(at).map(|level| (level.at.start, level.at.end))
    }

    pub(super) fn is_distinct_by_time(&self) -> bool {
        let columns = &self.shape.columns;
        self.has_watermark()
            && columns.iter().any(|column| column.text == "*" || self.is_event_time(&column.text))
    }

    /// Returns whether a canonical expression is a column with a watermark, or a window over one. Aliases of nested
    /// queries are resolved.
    pub(super) fn is_event_time(&self, text: &str) -> bool {
        let mut open = vec![text];
        let mut seen = HashSet::new();
        while let Some(text) = open.pop() {
            let mut text = without_brackets(text);
            while let Some(inside) = window_over(text) {
                text = without_brackets(inside);
            }
            let name = if text.contains('(') { text } else { text.rsplit('.').next().unwrap_or(text) };
            if self.watermarks.contains(name) {
                return true;
            }
            if self.has_watermark() && seen.insert(name) {
                open.extend(self.alias_expressions.get(name).into_iter().flatten());
            }
        }
        false
    }

    pub(super) fn stream_joins(&self) -> impl Iterator<Item = &'a Join> {
        self.shape
            .joins
            .iter()
            .filter(|join| self.any_streaming(&join.left) && self.any_streaming(&join.right))
    }

    pub(super) fn is_stateful(&self) -> bool {
        self.aggregation().is_some()
            || self.stream_joins().next().is_some()
            || self.lateral_aggregate().is_some()
            || !self.stream.deduplicate.is_empty()
    }
}

/// Returns the argument of a window function, if a canonical expression is a call of one and not a part of its
/// result.
fn window_over(text: &str) -> Option<&str> {
    let calls = ["window(", "session_window(", "window_time("];
    let arguments = calls.iter().find_map(|call| text.strip_prefix(call))?.strip_suffix(')')?;
    let mut depth = 0_i32;
    let mut end = None;
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                end.get_or_insert(at);
            }
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    arguments.get(..end.unwrap_or(arguments.len()))
}

/// Returns a canonical expression without its outer brackets.
fn without_brackets(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(inside) = text.strip_prefix('(').and_then(|it| it.strip_suffix(')')) {
        if inside.contains(['(', ')']) {
            break;
        }
        text = inside.trim();
    }
    text
}
