//! A stream's query together with its sources: what of it works on streams, and on the time of their events.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use crate::model::{Source, Stream};
use crate::sql::{Join, QueryShape, Text};

/// A stream's query, with the source that each of its relations is.
pub(super) struct Query<'a> {
    pub(super) stream: &'a Stream,
    pub(super) shape: &'a QueryShape,
    /// For each relation of the shape, its source.
    pub(super) sources: Vec<Option<(&'a str, &'a Source)>>,
    /// The columns with a watermark, lower-cased.
    watermarks: HashSet<String>,
    /// What the names that a query gives stand for.
    meanings: HashMap<&'a str, Vec<&'a str>>,
}

/// Where a query in the query stands.
type Place = Option<(u32, u32)>;

/// A place, and what the query does there.
pub(super) type Doing = (Range<u32>, &'static str);

impl<'a> Query<'a> {
    pub(super) fn new(stream: &'a Stream, shape: &'a QueryShape) -> Self {
        let find = |name: &str| {
            let mut all = stream.sources.iter();
            all.find(|(known, _)| known.as_str().eq_ignore_ascii_case(name))
                .map(|(known, source)| (known.as_str(), source))
        };
        let sources = shape.relations.iter().map(|relation| find(&relation.name)).collect();
        let mut meanings: HashMap<&str, Vec<&str>> = HashMap::new();
        for alias in &shape.aliases {
            meanings.entry(&alias.name).or_default().push(&alias.text);
        }
        let mut query = Self { stream, shape, sources, watermarks: HashSet::new(), meanings };
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

    /// Whether all of these are certainly read as they are.
    pub(super) fn none_streaming(&self, relations: &[usize]) -> bool {
        relations.iter().all(|relation| {
            let source = self.sources.get(*relation).copied().flatten();
            source.is_some_and(|(_, source)| !source.is_streaming())
        })
    }

    /// Whether what stands at a place of the query works on a stream, and not on tables alone.
    pub(super) fn streams(&self, at: &Range<u32>) -> bool {
        self.shape
            .relations_at(at)
            .is_none_or(|relations| relations.is_empty() || self.any_streaming(relations))
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

    /// The first place that shows that the query aggregates, with what does.
    pub(super) fn aggregation(&self) -> Option<Doing> {
        let first = |all: &'a [Text]| all.iter().map(|text| text.at.clone()).find(|at| self.streams(at));
        let aggregate = first(&self.shape.aggregates).map(|at| (at, "aggregates here"));
        let group = || first(&self.shape.group_by).map(|at| (at, "groups here"));
        aggregate.or_else(group).or_else(|| self.distinction())
    }

    fn distinction(&self) -> Option<Doing> {
        let at = self.shape.distinct.clone().filter(|at| self.streams(at))?;
        Some((at, "removes duplicates here"))
    }

    /// The first place where groups are made that no time closes. A query in a query needs a time as much as the
    /// one around it does.
    pub(super) fn open_groups(&self) -> Option<Doing> {
        let closed = self.closed_levels();
        let open = |doing: &'static str| move |text: &Text| (text.at.clone(), doing);
        let aggregates = self.shape.aggregates.iter().map(open("aggregates here"));
        let groups = self.shape.group_by.iter().map(open("groups here"));
        let is_open = |at: &Range<u32>| self.streams(at) && !closed.contains(&self.level(at));
        let open = aggregates.chain(groups).find(|(at, _)| is_open(at));
        open.or_else(|| self.distinction().filter(|_| !self.is_distinct_by_time()))
    }

    /// The queries whose groups end some time: a window over, or the value of, a column with a watermark is among
    /// what they group by.
    fn closed_levels(&self) -> BTreeSet<Place> {
        let windows = self.shape.windows.iter().map(|window| (&window.at, window.column.as_str()));
        let groups = self.shape.group_by.iter().map(|text| (&text.at, text.text.as_str()));
        windows.chain(groups).filter(|(_, text)| self.is_time(text)).map(|(at, _)| self.level(at)).collect()
    }

    fn level(&self, at: &Range<u32>) -> Place {
        self.shape.level_at(at).map(|level| (level.at.start, level.at.end))
    }

    pub(super) fn is_distinct_by_time(&self) -> bool {
        let columns = &self.shape.columns;
        self.has_watermark() && columns.iter().any(|column| column.text == "*" || self.is_time(&column.text))
    }

    /// Whether a canonical expression is a column with a watermark or a window over one, under whatever name the
    /// queries inside gave it.
    pub(super) fn is_time(&self, text: &str) -> bool {
        let mut open = vec![text];
        let mut seen = HashSet::new();
        while let Some(text) = open.pop() {
            let text = window_over(text).unwrap_or(text).trim();
            let name = if text.contains('(') { text } else { text.rsplit('.').next().unwrap_or(text) };
            if self.watermarks.contains(name) {
                return true;
            }
            if self.has_watermark() && seen.insert(name) {
                open.extend(self.meanings.get(name).into_iter().flatten());
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
            || !self.stream.deduplicate.is_empty()
    }
}

/// What a canonical expression is a window over, if it is one.
fn window_over(text: &str) -> Option<&str> {
    let calls = ["window(", "session_window(", "window_time("];
    let arguments = calls.iter().find_map(|call| text.strip_prefix(call))?;
    arguments.split([',', ')']).next()
}
