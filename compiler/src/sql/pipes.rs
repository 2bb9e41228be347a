//! Pipe operators: `FROM t |> WHERE a > 1 |> AGGREGATE count(*) GROUP BY b`.

use std::ops::Range;

use sqlparser::ast::{
    Expr, ExprWithAliasAndOrderBy, Ident, PipeOperator, Query, SetOperator, SetQuantifier, Spanned,
};

use super::facts::{Column, Level};
use super::item::Item;
use super::names::natural_name;
use super::select::{dedup, side, star};
use super::walk::{Source, Walk};

/// The output of a pipe operator, which is the input of the next one.
struct Rows {
    /// The items that qualify the columns.
    items: Vec<Item>,
    source: Source,
}

impl Walk {
    /// Walks the pipe operators of a query whose body reads `source`. Each operator is a level of its own.
    pub(super) fn piped(
        &mut self,
        query: &Query,
        items: Vec<Item>,
        source: Source,
        outermost: bool,
    ) -> Source {
        let operators = &query.pipe_operators;
        if operators.is_empty() {
            return source;
        }
        self.shape.piped = true;
        let start = self.layout.range(query.span()).start;
        let mut places = self.layout.pipes_of(start, operators.len()).into_iter();
        let mut rows = Rows { items, source };
        for operator in operators {
            let at = places.next().unwrap_or(start..start);
            self.pipe(operator, &mut rows, &at, outermost);
            if self.wants_shape() && self.record_relations(rows.source.relations.len()) {
                self.shape.levels.push(Level { at, relations: rows.source.relations.clone() });
            }
        }
        rows.source
    }

    fn pipe(&mut self, operator: &PipeOperator, rows: &mut Rows, at: &Range<u32>, outermost: bool) {
        match operator {
            PipeOperator::Where { expr } => self.filter(expr),
            PipeOperator::OrderBy { exprs } => self.order_by(exprs, outermost),
            PipeOperator::Limit { expr, offset } => {
                if self.wants_shape() {
                    self.limited(Some(expr), offset.as_ref(), outermost);
                }
            }
            PipeOperator::TableSample { sample } => self.sampled(sample, at.clone()),
            PipeOperator::Aggregate { full_table_exprs, group_by_expr } => {
                self.aggregated(full_table_exprs, group_by_expr, rows, outermost);
            }
            PipeOperator::Union { set_quantifier, queries } => {
                self.set_operation(SetOperator::Union, *set_quantifier, queries, rows, at);
            }
            PipeOperator::Intersect { set_quantifier, queries } => {
                self.set_operation(SetOperator::Intersect, *set_quantifier, queries, rows, at);
            }
            PipeOperator::Except { set_quantifier, queries } => {
                self.set_operation(SetOperator::Except, *set_quantifier, queries, rows, at);
            }
            PipeOperator::Join(_)
            | PipeOperator::Pivot { .. }
            | PipeOperator::Unpivot { .. }
            | PipeOperator::Call { .. } => {
                self.reshaped(operator, rows, at);
                self.unknown_columns(at, outermost);
            }
            _ => {
                if self.layout.is_distinct_pipe(at.start) {
                    self.shape.distinct.get_or_insert_with(|| at.clone());
                }
                self.projected(operator, rows, outermost);
            }
        }
    }

    /// Walks operators whose columns are not known.
    fn reshaped(&mut self, operator: &PipeOperator, rows: &mut Rows, at: &Range<u32>) {
        match operator {
            PipeOperator::Join(join) => {
                if rows.items.is_empty() {
                    rows.items = vec![Item::new(None, std::mem::take(&mut rows.source))];
                }
                self.joined_with(&mut rows.items, join, None);
                rows.source = Source::of(rows.items.iter().map(|item| &item.source));
            }
            PipeOperator::Pivot { aggregate_functions, value_column, value_source, .. } => {
                let values = value_column.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
                let all = vec!["*".to_owned()];
                self.pivot(aggregate_functions, &values, value_source, (all, at.start));
                self.shape.nested_aggregation |= rows.source.aggregated;
                rows.source.aggregated = true;
                rows.items.clear();
            }
            PipeOperator::Call { function, .. } => {
                self.expr(&Expr::Function(function.clone()));
                rows.items.clear();
            }
            _ => rows.items.clear(),
        }
    }

    /// Walks operators that return other columns of the same rows.
    fn projected(&mut self, operator: &PipeOperator, rows: &mut Rows, outermost: bool) {
        match operator {
            PipeOperator::Select { exprs } | PipeOperator::Extend { exprs } => {
                for expr in exprs.iter().filter_map(super::select::item_expr) {
                    self.expr(expr);
                }
                if self.wants_shape() {
                    self.aliases(exprs);
                }
                if outermost && self.wants_shape() {
                    if matches!(operator, PipeOperator::Select { .. }) {
                        self.shape.columns.clear();
                    }
                    let columns = self.columns(exprs);
                    self.shape.columns.extend(columns);
                }
                rows.items.clear();
            }
            PipeOperator::Set { assignments } => {
                for assignment in assignments {
                    self.expr(&assignment.value);
                }
            }
            PipeOperator::As { alias } => {
                let mut item = Item::new(None, rows.source.clone());
                item.qualifier = Some(alias.value.to_lowercase());
                rows.items = vec![item];
            }
            PipeOperator::Drop { columns } if outermost => {
                let dropped = |column: &Column| columns.iter().any(|it| is_named(column, it));
                self.shape.columns.retain(|column| !dropped(column));
            }
            PipeOperator::Rename { mappings } if outermost => {
                for column in &mut self.shape.columns {
                    if let Some(mapping) = mappings.iter().find(|it| is_named(column, &it.ident)) {
                        column.name = Some(mapping.alias.value.clone());
                    }
                }
            }
            _ => {}
        }
    }

    fn unknown_columns(&mut self, at: &Range<u32>, outermost: bool) {
        if outermost && self.wants_shape() {
            self.shape.columns = vec![star(at.clone())];
        }
    }

    fn aggregated(
        &mut self,
        aggregates: &[ExprWithAliasAndOrderBy],
        groups: &[ExprWithAliasAndOrderBy],
        rows: &mut Rows,
        outermost: bool,
    ) {
        let (calls, windows) = (self.shape.aggregates.len(), self.shape.windows.len());
        for it in aggregates.iter().chain(groups) {
            self.expr(&it.expr.expr);
            if self.wants_shape() {
                self.alias(&it.expr.expr, it.expr.alias.as_ref());
            }
        }
        if self.wants_shape() {
            dedup(&mut self.shape.aggregates, calls, |it| &it.text);
            dedup(&mut self.shape.windows, windows, |it| &it.text);
            for it in groups {
                let text = self.text(&it.expr.expr);
                self.shape.group_by.push(text);
            }
            if outermost {
                // The groups come first.
                let columns = groups.iter().chain(aggregates).map(|it| self.named_column(it)).collect();
                self.shape.columns = columns;
            }
        }
        self.shape.nested_aggregation |= rows.source.aggregated;
        rows.source.aggregated = true;
        rows.items.clear();
    }

    fn named_column(&self, it: &ExprWithAliasAndOrderBy) -> Column {
        let name = it.expr.alias.as_ref().map(|alias| alias.value.clone());
        self.plain_column(&it.expr.expr, name.or_else(|| natural_name(&it.expr.expr)))
    }

    fn set_operation(
        &mut self,
        operator: SetOperator,
        quantifier: SetQuantifier,
        queries: &[Query],
        rows: &mut Rows,
        at: &Range<u32>,
    ) {
        for query in queries {
            let mut operation = self.operation(operator, quantifier, at.clone());
            let right = self.query(query, false);
            operation.left = side(&rows.source);
            operation.right = side(&right);
            self.shape.set_operations.push(operation);
            rows.source = Source::of([&rows.source, &right]);
        }
        // After a set operation, the side of a column is not known.
        self.shape.column_refs.clear();
        rows.items.clear();
    }
}

fn is_named(column: &Column, name: &Ident) -> bool {
    column.name.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(&name.value))
}
