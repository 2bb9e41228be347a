//! What a schema can't know: whether the parts of a manifest agree with each other, and with Spark.
//!
//! A check looks at the model and says what is wrong at which path; where the path stands in the source is looked
//! up only then.

pub(crate) mod assets;
mod conf;
mod engine;
mod functions;
mod job;
mod lineage;
mod mistaken;
mod pods;
mod program;
mod references;
mod resources;
mod run;
pub(crate) mod secrets;
mod settings;
mod sql;
mod stream;

use std::ops::Range;

use dcp_model::manifest::Manifest;

use crate::diag::{Code, Diagnostic};
use crate::engine::EngineTable;
use crate::source::{FileId, Span};
use crate::sql::{Facts, QueryShape, Reading, StatementKind};
use crate::yaml::NodeRef;

/// A manifest that is being checked, and what has been found so far.
pub(crate) struct Subject<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) root: NodeRef<'a>,
    pub(crate) sql: Option<&'a SqlSource<'a>>,
    pub(crate) engines: &'a EngineTable,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The SQL of a manifest: what it says, and where it stands.
pub(crate) struct SqlSource<'a> {
    pub(crate) reading: Reading,
    pub(crate) place: SqlPlace<'a>,
}

pub(crate) enum SqlPlace<'a> {
    /// In a scalar of the manifest, or of an overlay; with the text of that file.
    Inline { node: NodeRef<'a>, source: &'a str },
    /// In a file of its own.
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

    /// The shape of the SQL's query, where it is one query and nothing else.
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
        mistaken::check(self);
        sql::check(self);
        functions::check(self);
        lineage::check(self);
        stream::check(self);
        run::check(self);
        resources::check(self);
        pods::check(self);
        conf::check(self);
    }

    /// The place of the value at a path, or of what is nearest to it.
    fn at(&self, path: &[&str]) -> Span {
        self.root.nearest(path.iter().copied()).span()
    }

    /// Whether the manifest itself says something there, so that it is no default.
    fn has(&self, path: &[&str]) -> bool {
        self.root.find(path.iter().copied()).is_some()
    }

    /// The place of the key at the end of a path, or of what is nearest to it.
    fn key(&self, path: &[&str]) -> Span {
        let member =
            path.split_last().and_then(|(last, above)| self.root.find(above.iter().copied())?.member(last));
        member.map_or_else(|| self.at(path), |member| member.key_span)
    }

    /// The place of a range of the SQL.
    fn sql_at(&self, range: &Range<u32>) -> Span {
        self.sql.map_or_else(|| self.at(&["spec", "job"]), |sql| sql.span(range))
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports one problem at one place.
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
