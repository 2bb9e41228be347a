//! Checks of watermarks and deduplication.

use dcp_model::manifest::{Source, Stream, Watermark};

use super::columns::{self, SourceColumns};
use super::{path, unknown_source};
use crate::check::Subject;
use crate::diag::Code;
use crate::source::Span;
use crate::yaml::NodeRef;

pub(super) fn watermarks(subject: &mut Subject<'_>, stream: &Stream) {
    for (at, watermark) in stream.watermark.0.iter().enumerate() {
        let name = watermark.source.as_str();
        let Some(source) = stream.sources.get(&watermark.source) else {
            let span = watermark_field(subject, at, "source");
            unknown_source(subject, stream, name, span);
            continue;
        };
        if !source.is_streaming() {
            let span = watermark_field(subject, at, "source");
            subject.problem(
                Code::WATERMARK_IGNORED,
                format!("`{name}` is read as it is, and knows no late events"),
                span,
                "no stream",
                "remove the watermark, or make the source a stream",
            );
        }
        let Some(columns) = columns::of_source(source) else { continue };
        event_time(subject, at, watermark, &columns, source);
        if stream.watermark.0[..at].iter().any(|other| other.source == watermark.source) {
            let span = watermark_field(subject, at, "source");
            let message = format!("`{name}` has two watermarks");
            subject.problem(Code::EXACTLY_ONE, message, span, "again here", "keep one of them");
        }
    }
}

/// Checks that the column of a watermark exists and is a time.
fn event_time(
    subject: &mut Subject<'_>,
    at: usize,
    watermark: &Watermark,
    columns: &SourceColumns<'_>,
    source: &Source,
) {
    let column = &watermark.column;
    let span = watermark_field(subject, at, "column");
    match columns.data_type(column) {
        None => columns.unknown(subject, watermark.source.as_str(), column, span),
        Some(data_type) if !data_type.starts_with("timestamp") => {
            let message = format!("`{column}` is of type `{data_type}`, and a watermark needs a `timestamp`");
            let help = match source.columns() {
                Some(_) => "declare the column as `timestamp`, or take another one",
                None => "take `timestamp`",
            };
            subject.problem(Code::UNKNOWN_COLUMN, message, span, "not a time", help);
        }
        Some(_) => {}
    }
}

/// Returns the place of a field of a watermark, which may be a single map or an item of a list.
fn watermark_field(subject: &Subject<'_>, index: usize, field: &str) -> Span {
    let index = index.to_string();
    let in_list = subject.root.find(path(&["watermark", &index, field]));
    in_list.map_or_else(|| subject.at(&path(&["watermark", field])), NodeRef::span)
}

pub(super) fn deduplication(subject: &mut Subject<'_>, stream: &Stream) {
    for (at, deduplicate) in stream.deduplicate.iter().enumerate() {
        let index = at.to_string();
        let name = deduplicate.source.as_str();
        let Some(source) = stream.sources.get(&deduplicate.source) else {
            let span = subject.at(&path(&["deduplicate", &index, "source"]));
            unknown_source(subject, stream, name, span);
            continue;
        };
        for (column_at, column) in deduplicate.columns.iter().enumerate() {
            let Some(columns) = columns::of_source(source) else { continue };
            if columns.data_type(column).is_none() {
                let span = subject.at(&path(&["deduplicate", &index, "columns", &column_at.to_string()]));
                columns.unknown(subject, name, column, span);
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
