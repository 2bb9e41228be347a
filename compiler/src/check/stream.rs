//! The rules of Structured Streaming that can be checked before Spark does.

mod columns;
mod joins;
mod options;

use std::ops::Range;

use super::Subject;
use crate::diag::{Code, Diagnostic, nearest};
use crate::model::{
    Columns, FileFormat, Identifier, Job, OutputMode, Run, ScalarOr, Sink, Source, Stream, TableName, Trigger,
};
use crate::source::Span;
use crate::sql::{QueryShape, WindowKind};
use crate::yaml::NodeRef;

pub(super) fn check(subject: &mut Subject<'_>) {
    let Job::Stream(stream) = &subject.manifest.spec.job else { return };
    sources(subject, stream);
    tables(subject, stream);
    options::check(subject, stream);
    watermarks(subject, stream);
    deduplication(subject, stream);
    sink(subject, stream);
    if !is_one_query(subject) {
        return;
    }
    let Some(shape) = subject.sql.and_then(|sql| sql.query()) else { return };
    let query = Query::new(stream, shape);
    relations(subject, &query);
    output_mode(subject, &query);
    unsupported(subject, &query);
    joins::check(subject, &query);
    columns::check(subject, &query);
    state(subject, &query);
    continuous_trigger(subject, &query);
}

const STREAM: [&str; 3] = ["spec", "job", "stream"];

/// A path below the stream.
fn path<'p>(below: &[&'p str]) -> Vec<&'p str> {
    [&STREAM, below].concat()
}

/// A stream's query, with the source that each of its relations is.
struct Query<'a> {
    stream: &'a Stream,
    shape: &'a QueryShape,
    /// For each relation of the shape, its source.
    sources: Vec<Option<(&'a str, &'a Source)>>,
}

impl<'a> Query<'a> {
    fn new(stream: &'a Stream, shape: &'a QueryShape) -> Self {
        let find = |name: &str| {
            let mut all = stream.sources.iter();
            all.find(|(known, _)| known.as_str().eq_ignore_ascii_case(name))
                .map(|(known, source)| (known.as_str(), source))
        };
        let sources = shape.relations.iter().map(|relation| find(&relation.name)).collect();
        Self { stream, shape, sources }
    }

    fn is_streaming(&self, relation: usize) -> bool {
        self.sources.get(relation).copied().flatten().is_some_and(|(_, source)| source.is_streaming())
    }

    fn any_streaming(&self, relations: &[usize]) -> bool {
        relations.iter().any(|relation| self.is_streaming(*relation))
    }

    fn watermark_of(&self, relation: usize) -> Option<&'a str> {
        let (name, _) = self.sources.get(relation).copied().flatten()?;
        self.stream
            .watermark
            .0
            .iter()
            .find(|watermark| watermark.source.as_str() == name)
            .map(|watermark| watermark.column.as_str())
    }

    fn has_watermark(&self) -> bool {
        (0..self.sources.len()).any(|relation| self.watermark_of(relation).is_some())
    }

    /// The first place that shows that the query aggregates, with what does.
    fn aggregation(&self) -> Option<(Range<u32>, &'static str)> {
        let aggregate = self.shape.aggregates.first().map(|text| (text.at.clone(), "aggregates here"));
        let group = || self.shape.group_by.first().map(|text| (text.at.clone(), "groups here"));
        let distinct = || self.shape.distinct.clone().map(|at| (at, "removes duplicates here"));
        aggregate.or_else(group).or_else(distinct)
    }

    /// Whether the groups can be closed by time: by a window over, or the value of, a column with a watermark.
    fn groups_by_event_time(&self) -> bool {
        let watermarked: Vec<&str> =
            (0..self.sources.len()).filter_map(|relation| self.watermark_of(relation)).collect();
        let is_watermarked = |text: &str| {
            let name = text.rsplit('.').next().unwrap_or(text).trim_matches('`');
            watermarked.iter().any(|column| column.eq_ignore_ascii_case(name))
        };
        let grouped = |text: &str| is_watermarked(text) || text.contains("window");
        let by_window = self
            .shape
            .windows
            .iter()
            .any(|window| is_watermarked(&window.column) || window.column.contains("window"));
        let by_group = self.shape.group_by.iter().any(|text| grouped(&text.text));
        let by_distinct = self.shape.distinct.is_some()
            && self.shape.columns.iter().any(|column| is_watermarked(&column.text) || column.text == "*");
        !watermarked.is_empty() && (by_window || by_group || by_distinct)
    }

    fn stream_joins(&self) -> impl Iterator<Item = &'a crate::sql::Join> {
        self.shape
            .joins
            .iter()
            .filter(|join| self.any_streaming(&join.left) && self.any_streaming(&join.right))
    }

    fn is_stateful(&self) -> bool {
        self.aggregation().is_some()
            || self.stream_joins().next().is_some()
            || !self.stream.deduplicate.is_empty()
    }
}

/// Reports what is no single query, where the SQL could be read.
fn is_one_query(subject: &mut Subject<'_>) -> bool {
    let Some(facts) = subject.sql.and_then(|sql| sql.facts()) else { return false };
    if subject.sql.is_some_and(|sql| sql.query().is_some()) {
        return true;
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

/// A label at the beginning of something long says enough.
fn first_words(at: &Range<u32>) -> Range<u32> {
    at.start..at.end.min(at.start + 12).max(at.start)
}

fn sources(subject: &mut Subject<'_>, stream: &Stream) {
    if !stream.sources.values().any(Source::is_streaming) {
        let at = subject.key(&path(&["sources"]));
        let help = "make it a `sql` job, or read a table's changes by `{name: …, stream: true}`";
        subject.problem(
            Code::NO_STREAM,
            "none of the sources is a stream",
            at,
            "all of these are read as they are",
            help,
        );
    }
    for (name, source) in &stream.sources {
        let Source::Files(files) = source else { continue };
        if files.schema.is_none() && files.is_streamed() && !files.format.is_self_describing() {
            let at = subject.key(&path(&["sources", name.as_str(), "files"]));
            subject.problem(
                Code::MISSING_FIELD,
                "`schema` is missing from `files`",
                at,
                "needs `schema`",
                "Spark does not guess the columns of a stream: add `schema: {column: type}`",
            );
        }
    }
}

fn watermarks(subject: &mut Subject<'_>, stream: &Stream) {
    for (at, watermark) in stream.watermark.0.iter().enumerate() {
        let place = |subject: &Subject<'_>, field: &str| {
            // One watermark may stand alone, or in a list.
            let listed = at.to_string();
            let in_list = subject.root.find(path(&["watermark", &listed, field]));
            in_list.map_or_else(|| subject.at(&path(&["watermark", field])), NodeRef::span)
        };
        let name = watermark.source.as_str();
        let Some(source) = stream.sources.get(&watermark.source) else {
            let span = place(subject, "source");
            unknown_source(subject, stream, name, span);
            continue;
        };
        if !source.is_streaming() {
            let span = place(subject, "source");
            subject.problem(
                Code::WATERMARK_IGNORED,
                format!("`{name}` is read as it is, and knows no late events"),
                span,
                "no stream",
                "remove the watermark, or make the source a stream",
            );
        }
        let Some(columns) = source.columns() else { continue };
        let span = place(subject, "column");
        let data_type = column_type(columns, &watermark.column);
        match data_type {
            None => unknown_column(subject, columns, name, &watermark.column, span),
            Some(data_type) if !data_type.starts_with("timestamp") => {
                let message = format!(
                    "`{}` is of type `{data_type}`, and a watermark needs a `timestamp`",
                    watermark.column
                );
                subject.problem(
                    Code::UNKNOWN_COLUMN,
                    message,
                    span,
                    "not a time",
                    "declare the column as `timestamp`, or take another one",
                );
            }
            Some(_) => {}
        }
        if stream.watermark.0[..at].iter().any(|other| other.source == watermark.source) {
            let span = place(subject, "source");
            subject.problem(
                Code::EXACTLY_ONE,
                format!("`{name}` has two watermarks"),
                span,
                "again here",
                "keep one of them",
            );
        }
    }
}

/// The short form of a table is any scalar to the schema.
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
        if let Err(fault) = TableName::parse(table) {
            let at = subject.at(&place);
            let diagnostic = Diagnostic::new(fault.code, fault.message).at(at, "");
            subject
                .report(fault.help.map_or_else(|| diagnostic.clone(), |help| diagnostic.clone().help(help)));
        }
    }
}

fn column_type<'c>(columns: &'c Columns, name: &str) -> Option<&'c str> {
    columns
        .0
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, data_type)| data_type.as_str().trim())
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

fn unknown_column(subject: &mut Subject<'_>, columns: &Columns, source: &str, name: &str, at: Span) {
    let known = || columns.0.iter().map(|(name, _)| name.as_str());
    let diagnostic = Diagnostic::new(Code::UNKNOWN_COLUMN, format!("`{source}` has no column `{name}`"));
    subject.report(match nearest(name, known()) {
        Some(meant) => diagnostic.at(at, format!("did you mean `{meant}`?")),
        None => diagnostic
            .at(at, "named here")
            .help(format!("it has {}", crate::diag::list(known().take(20), "and"))),
    });
}

fn deduplication(subject: &mut Subject<'_>, stream: &Stream) {
    for (at, deduplicate) in stream.deduplicate.iter().enumerate() {
        let index = at.to_string();
        let name = deduplicate.source.as_str();
        let Some(source) = stream.sources.get(&deduplicate.source) else {
            let span = subject.at(&path(&["deduplicate", &index, "source"]));
            unknown_source(subject, stream, name, span);
            continue;
        };
        for (column_at, column) in deduplicate.columns.iter().enumerate() {
            let Some(columns) = source.columns() else { continue };
            if column_type(columns, column).is_none() {
                let span = subject.at(&path(&["deduplicate", &index, "columns", &column_at.to_string()]));
                unknown_column(subject, columns, name, column, span);
            }
        }
        if source.is_streaming()
            && !stream.watermark.0.iter().any(|watermark| watermark.source == deduplicate.source)
        {
            let span = subject.at(&path(&["deduplicate", &index, "source"]));
            let message = format!("every event of `{name}` is remembered forever");
            subject.problem(
                Code::UNBOUNDED_STATE,
                message,
                span,
                "has no watermark",
                format!("add a `watermark` for `{name}`"),
            );
        }
    }
}

fn sink(subject: &mut Subject<'_>, stream: &Stream) {
    let mode = stream.output_mode;
    if let Sink::Files(files) = &stream.sink {
        if mode != OutputMode::Append {
            let at = subject.at(&path(&["outputMode"]));
            let message = format!("a file sink takes no `{}` output", mode.name());
            let sink = subject.key(&path(&["sink", "files"]));
            let diagnostic = Diagnostic::new(Code::UPDATE_TO_FILES, message)
                .at(at, "rewrites rows")
                .at(sink, "and files are only ever added")
                .help(
                    "use `outputMode: append`, with a watermark if the query aggregates; or write to a table",
                );
            subject.report(diagnostic);
        }
        if files.format == FileFormat::Text
            && subject.sql.and_then(|sql| sql.query()).is_some_and(|shape| shape.columns.len() > 1)
        {
            let at = subject.at(&path(&["sink", "files", "format"]));
            subject.problem(
                Code::SINK_COLUMNS,
                "text files take one column",
                at,
                "and the query gives several",
                "select one column of text, or choose another format",
            );
        }
    }
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
        // A relation that is misspelt is likely to be the one that seems not to be read.
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

fn output_mode(subject: &mut Subject<'_>, query: &Query<'_>) {
    let mode = query.stream.output_mode;
    let mode_at = subject.at(&path(&["outputMode"]));
    let explicit = subject.root.find(path(&["outputMode"])).is_some();
    match (mode, query.aggregation()) {
        (OutputMode::Append, Some((at, what))) if !query.groups_by_event_time() => {
            let at = subject.sql_at(&at);
            let (message, help) = if query.has_watermark() {
                (
                    "`append` output needs groups that end: by a window over the column with the watermark",
                    "group by `window(<column>, '5 minutes')`, or use `outputMode: update`",
                )
            } else {
                (
                    "`append` output needs a watermark when the query aggregates",
                    "add `watermark: {source: …, column: …, delay: …}`, or use `outputMode: update`",
                )
            };
            let diagnostic = Diagnostic::new(Code::APPEND_WITHOUT_WATERMARK, message).at(at, what);
            let why = "so Spark would refuse this at start-up";
            let diagnostic = if explicit {
                diagnostic.at(mode_at, why)
            } else {
                diagnostic
                    .at(subject.key(&STREAM), "`append` is the default: Spark would refuse this at start-up")
            };
            subject.report(diagnostic.help(help));
        }
        (OutputMode::Complete, None) => {
            subject.problem(
                Code::COMPLETE_WITHOUT_AGGREGATE,
                "`complete` output needs an aggregate",
                mode_at,
                "nothing is aggregated",
                "use `outputMode: append`: all rows ever seen can't be kept",
            );
        }
        (OutputMode::Complete, Some(_)) if query.has_watermark() => {
            let at = subject.key(&path(&["watermark"]));
            subject.problem(
                Code::WATERMARK_IGNORED,
                "`complete` output keeps all groups forever, and ignores the watermark",
                at,
                "without effect",
                "remove it, or use `outputMode: update`",
            );
        }
        (OutputMode::Update, Some((at, what))) if !query.groups_by_event_time() => {
            let at = subject.sql_at(&at);
            let help = if query.has_watermark() {
                "group by a window over the column with the watermark"
            } else {
                "add a `watermark`, and group by a window over its column"
            };
            subject.problem(
                Code::UNBOUNDED_STATE,
                "the groups of this query are kept forever",
                at,
                what,
                help,
            );
        }
        _ => {}
    }
}

fn unsupported(subject: &mut Subject<'_>, query: &Query<'_>) {
    let shape = query.shape;
    let mode = query.stream.output_mode;
    let aggregated = query.aggregation().is_some();
    let mut refuse = |at: &Range<u32>, message: &str, help: &str| {
        let at = subject.sql_at(at);
        subject.problem(Code::NOT_STREAMABLE, message, at, "not on a stream", help);
    };
    for over in &shape.over {
        refuse(
            &over.at,
            "analytic functions need all rows, and a stream never has them",
            "group by `window(<time>, …)` instead of `OVER`",
        );
    }
    if let Some(at) = &shape.order_by
        && !(mode == OutputMode::Complete && aggregated)
    {
        refuse(
            at,
            "a stream can't be sorted, except an aggregate with `complete` output",
            "leave out `ORDER BY`: who reads the result sorts it",
        );
    }
    if let Some(at) = &shape.limit
        && mode == OutputMode::Update
    {
        refuse(at, "`LIMIT` does not go with `update` output", "leave it out");
    }
    for operation in shape
        .set_operations
        .iter()
        .filter(|operation| operation.text.starts_with("intersect") || operation.text.starts_with("except"))
    {
        refuse(&operation.at, "streams can be united, and nothing else", "join the two sides instead");
    }
    if shape.nested_aggregation
        && mode != OutputMode::Append
        && let Some((at, _)) = query.aggregation()
    {
        refuse(
            &at,
            "an aggregate over an aggregate needs `append` output",
            "use `outputMode: append`, with a watermark",
        );
    }
    if shape.windows.iter().any(|window| window.kind == WindowKind::Session)
        && mode == OutputMode::Update
        && let Some(window) = shape.windows.first()
    {
        refuse(
            &window.at,
            "session windows don't go with `update` output",
            "use `outputMode: append`, with a watermark",
        );
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

fn continuous_trigger(subject: &mut Subject<'_>, query: &Query<'_>) {
    let Run::Continuous(continuous) = &subject.manifest.spec.run else { return };
    let Trigger::Continuous(_) = continuous.trigger else { return };
    let trigger = subject.key(&["spec", "run", "continuous", "trigger", "continuous"]);
    let report = |at: Span, why: &str| {
        Diagnostic::new(Code::CONTINUOUS_TRIGGER, "the continuous trigger takes map-like queries only")
            .at(trigger, "asked for here")
            .at(at, why.to_owned())
            .help("use `trigger: {every: …}`")
    };
    let mut found = Vec::new();
    if let Some((at, what)) = query.aggregation() {
        found.push(report(subject.sql_at(&at), what));
    } else if let Some(join) = query.shape.joins.first() {
        found.push(report(subject.sql_at(&join.at), "joins here"));
    } else if !query.stream.deduplicate.is_empty() {
        found.push(report(subject.key(&path(&["deduplicate"])), "remembers events here"));
    }
    for (name, source) in &query.stream.sources {
        if source.is_streaming() && !matches!(source, Source::Kafka(_) | Source::Rate(_)) {
            found.push(report(
                subject.key(&path(&["sources", name.as_str()])),
                "reads something else than Kafka or `rate`",
            ));
        }
    }
    if !matches!(query.stream.sink, Sink::Kafka(_) | Sink::Console(_)) {
        found.push(report(
            subject.key(&path(&["sink", query.stream.sink.kind()])),
            "writes something else than Kafka or the console",
        ));
    }
    subject.diagnostics.extend(found);
}
