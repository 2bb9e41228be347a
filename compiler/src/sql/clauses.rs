//! Clauses and calls that streams can't have, or not with every trigger, and the aliases of times.

use std::ops::Range;

use sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, Select, SelectItem, Spanned, TableSample, TableSampleKind,
    TableSampleUnit,
};
use sqlparser::tokenizer::Span;

use super::canonical::canonical;
use super::facts::{Alias, Clause, ClauseKind};
use super::names;
use super::tokens::span_range;
use super::walk::Walk;

/// Functions that create several rows from one, sorted.
const GENERATORS: &[&str] = &[
    "explode",
    "explode_outer",
    "inline",
    "inline_outer",
    "json_tuple",
    "posexplode",
    "posexplode_outer",
    "stack",
];

/// Functions that return the time of the batch.
const CURRENT_TIME_FUNCTIONS: &[&str] = &[
    "curdate",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtimestamp",
    "now",
    "unix_timestamp",
];

impl Walk {
    /// Records `TABLESAMPLE (…)` after a table.
    pub(super) fn sample(&mut self, of: &impl Spanned, sample: Option<&TableSampleKind>) {
        let Some(TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) =
            sample
        else {
            return;
        };
        let at = self.layout.call(of.span());
        self.sampled(sample, at);
    }

    pub(super) fn sampled(&mut self, sample: &TableSample, at: Range<u32>) {
        let rows = sample.quantity.as_ref().is_some_and(|it| it.unit == Some(TableSampleUnit::Rows));
        let kind = if rows { ClauseKind::SampleRows } else { ClauseKind::Sample };
        self.shape.clauses.push(Clause { kind, at });
    }

    /// Records a call that matters by its name, and is not an aggregate.
    pub(super) fn significant_call(&mut self, function: &Function, name: &str) {
        let bare = match &function.args {
            FunctionArguments::List(list) => list.args.is_empty(),
            FunctionArguments::None => true,
            FunctionArguments::Subquery(_) => false,
        };
        let kind = if GENERATORS.binary_search(&name).is_ok() {
            ClauseKind::Generator
        } else if bare && CURRENT_TIME_FUNCTIONS.contains(&name) {
            ClauseKind::CurrentTime
        } else {
            return;
        };
        let at = match function.args {
            FunctionArguments::None => {
                span_range(names::parts(&function.name).next().map_or(Span::empty(), |it| it.span))
            }
            _ => self.layout.call(function.name.span()),
        };
        self.shape.clauses.push(Clause { kind, at });
    }

    /// Records a function that can be called without parentheses.
    pub(super) fn bare_function(&mut self, ident: &Ident) {
        let is_clock = || {
            matches!(
                ident.value.to_lowercase().as_str(),
                "current_date" | "current_timestamp" | "localtimestamp"
            )
        };
        if ident.quote_style.is_none() && ident.value.len() >= "current_date".len() && is_clock() {
            self.shape.clauses.push(Clause { kind: ClauseKind::CurrentTime, at: span_range(ident.span) });
        }
    }

    pub(super) fn distribution(&mut self, select: &Select) {
        if let Some(first) = select.distribute_by.first().or(select.cluster_by.first()) {
            let at = self.place(first);
            self.shape.clauses.push(Clause { kind: ClauseKind::DistributeBy, at });
        }
    }

    /// Records the aliases of columns and calls, by which outer queries refer to times.
    pub(super) fn aliases(&mut self, items: &[SelectItem]) {
        for item in items {
            match item {
                SelectItem::ExprWithAlias { expr, alias } => self.alias(expr, Some(alias)),
                SelectItem::UnnamedExpr(expr) => self.alias(expr, None),
                _ => {}
            }
        }
    }

    pub(super) fn alias(&mut self, expr: &Expr, alias: Option<&Ident>) {
        let name = match (alias, expr) {
            (Some(alias), _) => alias.value.to_lowercase(),
            // A window without an alias has the name of its function.
            (None, Expr::Function(function)) => match names::single(&function.name) {
                Some(name) if matches!(name.as_str(), "window" | "session_window") => name,
                _ => return,
            },
            (None, _) => return,
        };
        if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_)) {
            self.shape.aliases.push(Alias { name, text: canonical(expr) });
        }
    }
}
