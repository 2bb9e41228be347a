//! Parses text to trees.

use granit_parser::{Event, Parser, ScalarStyle, Span as EventSpan};

use super::build::{BuildResult, Builder, Properties, Shape, Style};
use super::indentation::Indentation;
use super::scan_errors::scan_error;
use super::{MAX_DEPTH, Parsed, fast_path};
use crate::source::{FileId, Span};

/// Parses all documents of a file. Empty documents are left out.
pub fn parse(file: FileId, text: &str) -> Parsed<'_> {
    fast_path::parse(file, text).unwrap_or_else(|| parse_full(file, text))
}

/// Parses all documents with `granit-parser` only, which supports all of YAML. Tests compare [`parse`] with it.
pub fn parse_full(file: FileId, text: &str) -> Parsed<'_> {
    let options = granit_parser::options! {
        emit_comments: false,
        block_nesting_limit: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::new(text);
    let mut indentation = Indentation::new(text);
    for event in Parser::new_from_str_with_options(text, options) {
        let outcome = match event {
            Ok((event, span)) => {
                let span = place(file, text, span);
                indentation.check(&event, span).and_then(|()| build(&mut builder, event, span))
            }
            Err(error) => Err(Box::new(scan_error(file, text, &error))),
        };
        if let Err(diagnostic) = outcome {
            return builder.broken(*diagnostic);
        }
    }
    builder.finish()
}

fn place(file: FileId, text: &str, span: EventSpan) -> Span {
    let at = |marker: granit_parser::Marker| super::index(marker.byte_offset().unwrap_or(text.len()));
    Span::new(file, at(span.start), at(span.end))
}

fn build<'s>(builder: &mut Builder<'s>, event: Event<'s>, span: Span) -> BuildResult {
    match event {
        Event::Scalar(text, style, anchor, tag) => {
            let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Text };
            builder.scalar(text, style, Properties { anchor, tag: tag.as_deref() }, span)
        }
        Event::SequenceStart(_, anchor, tag) => {
            builder.open(Shape::Seq, Properties { anchor, tag: tag.as_deref() }, span)
        }
        Event::MappingStart(_, anchor, tag) => {
            builder.open(Shape::Map(None), Properties { anchor, tag: tag.as_deref() }, span)
        }
        Event::SequenceEnd | Event::MappingEnd => builder.close(),
        Event::Alias(anchor) => builder.alias(anchor, span),
        Event::DocumentStart(..) => {
            builder.begin_document(span.start);
            Ok(())
        }
        Event::DocumentEnd => builder.end_document(span.end),
        _ => Ok(()),
    }
}
