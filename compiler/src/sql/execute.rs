//! `EXECUTE IMMEDIATE`.

use std::ops::Range;

use sqlparser::ast::{Expr, ExprWithAlias, Spanned};

use super::dialect::Spark;
use super::facts::TableRef;
use super::tokens::span_range;
use super::walk::Walk;
use super::{Detail, names};

impl Walk {
    /// Walks `EXECUTE IMMEDIATE 'SELECT …' USING a`. A text that is not constant is only known at run time.
    pub(super) fn executed(&mut self, parameters: &[Expr], using: &[ExprWithAlias]) {
        for argument in parameters.iter().chain(using.iter().map(|it| &it.expr)) {
            self.expr(argument);
        }
        let Some(first) = parameters.first() else { return };
        let at = span_range(first.span());
        let read = names::literal(first).is_some_and(|text| self.text_executed(&text, &at));
        if !read {
            self.dynamic.push(at);
        }
    }

    /// Records the tables that an executed text reads and writes. All of them have the place of the text.
    fn text_executed(&mut self, text: &str, at: &Range<u32>) -> bool {
        let Ok(parsed) = super::parse(text, &Spark { versions: false }) else { return false };
        let mut inner = Walk::new(parsed.layout, Detail::Lineage);
        inner.views = std::mem::take(&mut self.views);
        inner.executed = true;
        for statement in &parsed.statements {
            inner.statement(statement);
        }
        self.views = inner.views;
        let there = |table: TableRef| TableRef { at: at.clone(), ..table };
        inner.reads.list.into_iter().for_each(|table| self.reads.add(there(table)));
        inner.writes.list.into_iter().for_each(|table| self.writes.add(there(table)));
        let declared = inner.layout.functions;
        let calls = inner.calls.into_keys().filter(|name| !declared.contains(name));
        for name in calls {
            self.calls.entry(name).or_insert_with(|| at.clone());
        }
        self.layout.functions.extend(declared);
        if !inner.dynamic.is_empty() {
            self.dynamic.push(at.clone());
        }
        self.record_relations(inner.recorded)
    }
}
