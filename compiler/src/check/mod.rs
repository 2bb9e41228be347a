//! Checks that a schema can't express: the parts of a manifest are consistent with each other, and with Spark.
//!
//! A check inspects the manifest and reports errors by path. Places in the source are computed only for diagnostics.

pub(crate) mod assets;
pub(crate) mod conf;
mod engine;
mod foreign_references;
mod functions;
mod job;
mod lineage;
mod logging;
mod pods;
mod pool;
mod program;
mod references;
mod resources;
mod run;
pub(crate) mod secrets;
pub(crate) mod settings;
mod sql;
mod stream;

use std::ops::Range;

use dcp_model::manifest::Manifest;

use crate::diag::{Code, Diagnostic};
use crate::engine::EngineTable;
use crate::source::{FileId, Span};
use crate::sql::{Facts, QueryShape, Reading, StatementKind};
use crate::yaml::NodeRef;

/// A manifest under check, and the diagnostics so far.
pub(crate) struct Subject<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) root: NodeRef<'a>,
    pub(crate) sql: Option<&'a SqlSource<'a>>,
    pub(crate) engines: &'a EngineTable,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The SQL of a manifest, and its place.
pub(crate) struct SqlSource<'a> {
    pub(crate) reading: Reading,
    pub(crate) place: SqlPlace<'a>,
}

pub(crate) enum SqlPlace<'a> {
    /// A scalar of the manifest or of an overlay, with the text of that file.
    Inline { node: NodeRef<'a>, source: &'a str },
    /// A separate file.
    File(FileId),
}

impl SqlSource<'_> {
    pub(crate) fn span(&self, range: &Range<u32>) -> Span {
        match &self.place {
            SqlPlace::Inline { node, source } => node.within(source, range.clone()),
            SqlPlace::File(file) => Span::new(*file, range.start, range.end),
        }
    }

    pub(crate) fn facts(&self) -> Option<&Facts> {
        match &self.reading {
            Reading::Known(facts) => Some(facts),
            Reading::Malformed { .. } | Reading::Unknown { .. } => None,
        }
    }

    /// Returns the shape of the SQL's query, if the SQL is a single query.
    pub(crate) fn query(&self) -> Option<&QueryShape> {
        match self.facts()?.statements.as_slice() {
            [only] if only.kind == StatementKind::Query => only.query.as_ref(),
            _ => None,
        }
    }
}

impl Subject<'_> {
    pub(crate) fn run(&mut self) {
        engine::check(self);
        job::check(self);
        program::check(self);
        references::check(self);
        foreign_references::check(self);
        sql::check(self);
        functions::check(self);
        lineage::check(self);
        stream::check(self);
        run::check(self);
        resources::check(self);
        pods::check(self);
        pool::check(self);
        conf::check(self);
        logging::check(self);
    }

    /// Returns the place of the value at a path, or of its nearest ancestor.
    fn at(&self, path: &[&str]) -> Span {
        self.root.nearest(path.iter().copied()).span()
    }

    /// Returns whether the manifest contains a value at a path, so that it is not a default.
    fn has(&self, path: &[&str]) -> bool {
        self.root.find(path.iter().copied()).is_some()
    }

    /// Returns the place of the key at the end of a path, or of its nearest ancestor.
    fn key(&self, path: &[&str]) -> Span {
        let member =
            path.split_last().and_then(|(last, above)| self.root.find(above.iter().copied())?.member(last));
        member.map_or_else(|| self.at(path), |member| member.key_span)
    }

    /// Returns the place of a range of the SQL.
    fn sql_at(&self, range: &Range<u32>) -> Span {
        self.sql.map_or_else(|| self.at(&["spec", "job"]), |sql| sql.span(range))
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports a problem at one place.
    fn problem(
        &mut self,
        code: Code,
        message: impl Into<String>,
        at: Span,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Diagnostic::new(code, message).at(at, label).help(help));
    }
}
