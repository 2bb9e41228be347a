//! `PIVOT`, in a `FROM` clause or after a pipe.

use std::fmt::Display;

use sqlparser::ast::{Expr, ExprWithAlias, SelectItem, SetExpr, TableFactor};

use super::canonical::canonical;
use super::children::{self, Child};
use super::facts::{Pivot, Text};
use super::names;
use super::walk::Walk;

impl Walk {
    /// Records a pivot by the columns in `values`, at the first `PIVOT` after an offset.
    pub(super) fn pivot(
        &mut self,
        aggregates: &[ExprWithAlias],
        values: &str,
        list: &impl Display,
        (input, behind): (Vec<String>, u32),
    ) {
        let at = self.layout.pivot_from(behind);
        let noted = self.shape.aggregates.len();
        for aggregate in aggregates {
            self.expr(&aggregate.expr);
        }
        if !self.wants_shape() {
            return;
        }
        // The parser has no places for these calls.
        for aggregate in self.shape.aggregates.iter_mut().skip(noted) {
            aggregate.at = at.clone();
        }
        let mut used: Vec<String> = values
            .split([',', '(', ')', ' '])
            .filter_map(|part| part.rsplit('.').next())
            .map(|name| name.trim_matches('`').to_lowercase())
            .collect();
        let mut calls = Vec::new();
        let mut texts = Vec::new();
        for aggregate in aggregates {
            columns_of(&aggregate.expr, &mut used);
            calls.push(call(&aggregate.expr));
            texts.push(canonical(&aggregate.expr));
        }
        // Spark's state depends on all of these parts.
        let input_text = input.join(", ");
        let text = format!(
            "pivot ({} for {} in ({})) of {input_text}",
            texts.join(", "),
            canonical(&values),
            canonical(list)
        );
        self.shape.group_by.push(Text { text, at: at.clone() });
        self.shape.pivots.push(Pivot { at, calls, input, used });
    }
}

/// Returns the columns of the pivot's input in lower case, or `*` if they are not listed.
pub(super) fn input(table: &TableFactor) -> Vec<String> {
    let all = || vec!["*".to_owned()];
    let TableFactor::Derived { subquery, .. } = table else { return all() };
    let SetExpr::Select(select) = subquery.body.as_ref() else { return all() };
    if !subquery.pipe_operators.is_empty() || select.projection.is_empty() {
        return all();
    }
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.to_lowercase(),
        SelectItem::UnnamedExpr(expr @ Expr::Function(function)) => {
            names::single(&function.name).unwrap_or_else(|| canonical(expr))
        }
        SelectItem::UnnamedExpr(expr) => {
            names::natural_name(expr).map_or_else(|| canonical(expr), |name| name.to_lowercase())
        }
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
            "*".to_owned()
        }
    };
    select.projection.iter().map(name).collect()
}

/// Returns the function of an aggregate and its column.
fn call(expr: &Expr) -> (String, Option<String>) {
    let Expr::Function(function) = expr else { return (String::new(), None) };
    let mut column = None;
    children::of_function(function, &mut |child| {
        if let (Child::Expr(expr), None) = (child, &column) {
            column = names::natural_name(expr).map(|name| name.to_lowercase());
        }
    });
    (names::single(&function.name).unwrap_or_default(), column)
}

fn columns_of(expr: &Expr, found: &mut Vec<String>) {
    if let Some(name) = names::natural_name(expr) {
        found.push(name.to_lowercase());
    }
    children::of(expr, &mut |child| {
        if let Child::Expr(expr) = child {
            columns_of(expr, found);
        }
    });
}
