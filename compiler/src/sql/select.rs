//! Queries and selects, which are the levels of a shape.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, LimitClause, NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind, Query,
    Select, SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TopQuantity, Value,
};

use super::canonical::canonical;
use super::facts::{Clause, ClauseKind, Column, Form, Level, Relation, SetOperation, TableRef, Text};
use super::item::Item;
use super::tokens::span_range;
use super::walk::{Source, Walk};
use super::{children, join, names};

impl Walk {
    /// Walks a query. The columns of the outermost query are recorded.
    pub(super) fn query(&mut self, query: &Query, outermost: bool) -> Source {
        let outer = self.ctes.len();
        if let Some(with) = &query.with {
            self.shape
                .clauses
                .push(Clause { kind: ClauseKind::With, at: span_range(with.with_token.0.span) });
            for cte in &with.cte_tables {
                let name = cte.alias.name.value.to_lowercase();
                self.name(&cte.alias.name);
                let own = self.ctes.len();
                if with.recursive {
                    self.ctes.push((name.clone(), Source::default()));
                }
                let source = self.query(&cte.query, false);
                self.ctes.truncate(own);
                self.ctes.push((name, source));
            }
        }
        let source = match query.body.as_ref() {
            SetExpr::Select(select) if !query.pipe_operators.is_empty() => {
                let (items, source) = self.select(select, outermost);
                self.piped(query, items, source, outermost)
            }
            body => {
                let source = self.body(body, outermost);
                self.piped(query, Vec::new(), source, outermost)
            }
        };
        if let Some(order) = &query.order_by {
            self.order(order, outermost);
        }
        self.unsupported_in_query(query);
        if self.wants_shape() {
            self.limit(query, outermost);
        }
        self.ctes.truncate(outer);
        if self.wants_shape() {
            let at = self.layout.range(query.span());
            self.shape.levels.push(Level { at, relations: source.relations.clone() });
        }
        source
    }

    fn unsupported_in_query(&mut self, query: &Query) {
        if let Some(fetch) = &query.fetch {
            let at = fetch.quantity.as_ref().map_or_else(|| query.span(), Spanned::span);
            self.report_unsupported(Form::Fetch, at);
        }
        if let Some(LimitClause::OffsetCommaLimit { offset, .. }) = &query.limit_clause {
            self.report_unsupported(Form::LimitWithComma, offset.span());
        }
        if !query.locks.is_empty() {
            self.report_unsupported(Form::Lock, first_word(&query.body));
        }
    }

    fn unsupported_in_select(&mut self, select: &Select) {
        let select_at = select.select_token.0.span;
        if select.top.as_ref().is_some_and(|top| matches!(top.quantity, Some(TopQuantity::Constant(_)))) {
            self.report_unsupported(Form::Top, select_at);
        }
        if let Some(qualify) = &select.qualify {
            self.report_unsupported(Form::Qualify, qualify.span());
        }
        if select.into.is_some() {
            self.report_unsupported(Form::SelectInto, select_at);
        }
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && alias.quote_style.is_some()
            {
                let behind = self.place(expr).end;
                self.name_after(alias, behind);
            }
        }
    }

    fn body(&mut self, body: &SetExpr, outermost: bool) -> Source {
        match body {
            SetExpr::Select(select) => self.select(select, outermost).1,
            SetExpr::Query(query) => self.query(query, outermost),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let left = self.body(left, outermost);
                let operation = self.describe_set_operation(*op, *set_quantifier, right);
                let noted = self.shape.set_operations.len();
                self.shape.set_operations.push(operation);
                // After a set operation, the side of a column is not known.
                self.shape.column_refs.clear();
                let right = self.body(right, false);
                if let Some(operation) = self.shape.set_operations.get_mut(noted) {
                    operation.left = side(&left);
                    operation.right = side(&right);
                }
                Source::of([&left, &right])
            }
            SetExpr::Values(values) => {
                for row in &values.rows {
                    for expr in &row.content {
                        self.expr(expr);
                    }
                }
                Source::default()
            }
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => {
                self.statement(statement);
                Source::default()
            }
            SetExpr::Table(table) => {
                let parts = [&table.schema_name, &table.table_name];
                let parts: Vec<&str> = parts.iter().filter_map(|it| it.as_deref()).collect();
                self.table_without_place(parts.join("."))
            }
        }
    }

    /// Records `TABLE name`, for which the parser has no place.
    fn table_without_place(&mut self, name: String) -> Source {
        self.shape.relations.push(Relation { name: name.clone(), alias: None, at: 0..0 });
        self.reads.add(TableRef { name, at: 0..0, path_format: None });
        Source { relations: vec![self.shape.relations.len() - 1], aggregated: false }
    }

    fn describe_set_operation(
        &mut self,
        op: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
    ) -> SetOperation {
        let right = span_range(first_word(right)).start;
        let at = self.layout.join_keyword_before(right).unwrap_or(right..right);
        self.operation(op, quantifier, at)
    }

    pub(super) fn operation(
        &mut self,
        op: SetOperator,
        quantifier: SetQuantifier,
        at: Range<u32>,
    ) -> SetOperation {
        let all = matches!(quantifier, SetQuantifier::All | SetQuantifier::AllByName);
        let text = match (op, all) {
            (SetOperator::Union, true) => "union all",
            (SetOperator::Union, false) => "union",
            (SetOperator::Intersect, true) => "intersect all",
            (SetOperator::Intersect, false) => "intersect",
            (SetOperator::Except | SetOperator::Minus, true) => "except all",
            (SetOperator::Except | SetOperator::Minus, false) => "except",
        };
        if text == "union" {
            self.shape.distinct.get_or_insert_with(|| at.clone());
        }
        SetOperation { text, left: None, right: None, at }
    }

    fn order(&mut self, order: &OrderBy, outermost: bool) {
        match &order.kind {
            OrderByKind::Expressions(by) => self.order_by(by, outermost),
            OrderByKind::All(_) => {
                let at = self.layout.range(order.span());
                set(&mut self.shape.order_by, at, outermost);
            }
        }
    }

    pub(super) fn order_by(&mut self, by: &[OrderByExpr], outermost: bool) {
        for it in by {
            self.expr(&it.expr);
        }
        if let (true, Some(first), Some(last)) = (self.wants_shape(), by.first(), by.last()) {
            let at = self.place(&first.expr).start..self.place(&last.expr).end;
            set(&mut self.shape.order_by, at, outermost);
        }
    }

    fn limit(&mut self, query: &Query, outermost: bool) {
        let (limit, offset) = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                (limit.as_ref(), offset.as_ref().map(|it| &it.value))
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            None => (query.fetch.as_ref().and_then(|it| it.quantity.as_ref()), None),
        };
        self.limited(limit, offset, outermost);
    }

    pub(super) fn limited(&mut self, limit: Option<&Expr>, offset: Option<&Expr>, outermost: bool) {
        if let Some(expr) = limit {
            let at = self.place(expr);
            set(&mut self.shape.limit, at, outermost);
        }
        if let Some(expr) = offset {
            let at = self.place(expr);
            self.shape.clauses.push(Clause { kind: ClauseKind::Offset, at });
        }
    }

    /// Returns the items of the select, and all of their sources combined.
    fn select(&mut self, select: &Select, outermost: bool) -> (Vec<Item>, Source) {
        self.unsupported_in_select(select);
        let items = self.from(select);
        let mut source = Source::of(items.iter().map(|item| &item.source));

        let before = self.shape.aggregates.len();
        let windows = self.shape.windows.len();
        self.distinct(select);
        self.expressions(select);
        self.filters(select);
        self.ungrouped(select);
        let grouped = self.group_by(select);
        dedup(&mut self.shape.aggregates, before, |it| &it.text);
        dedup(&mut self.shape.windows, windows, |it| &it.text);

        let aggregated = grouped || self.shape.aggregates.len() > before;
        self.shape.nested_aggregation |= aggregated && source.aggregated;
        source.aggregated |= aggregated;
        if outermost && self.wants_shape() {
            self.shape.columns = match select.flavor {
                SelectFlavor::FromFirstNoSelect => vec![star(self.layout.range(select.span()))],
                _ => self.columns(&select.projection),
            };
            self.column_refs(select, &items);
        }
        (items, source)
    }

    fn from(&mut self, select: &Select) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        for table in &select.from {
            let right = self.joined(table, select.selection.as_ref());
            self.lateral(&table.relation, &items, &right);
            if !items.is_empty() {
                self.comma_join(&items, &right, table, select.selection.as_ref());
            }
            items.extend(right);
        }
        items
    }

    fn distinct(&mut self, select: &Select) {
        if let Some(Distinct::Distinct | Distinct::On(_)) = &select.distinct {
            let at = span_range(select.select_token.0.span);
            self.shape.distinct.get_or_insert(at);
        }
    }

    fn expressions(&mut self, select: &Select) {
        for item in &select.projection {
            if let Some(expr) = item_expr(item) {
                self.expr(expr);
            }
        }
        let lateral = select.lateral_views.iter().map(|view| &view.lateral_view);
        let sorted = select.sort_by.iter().map(|it| &it.expr);
        let distribution = select.cluster_by.iter().chain(&select.distribute_by);
        self.distribution(select);
        if self.wants_shape() {
            self.aliases(&select.projection);
        }
        for expr in lateral.chain(sorted).chain(distribution).chain(&select.qualify) {
            self.expr(expr);
        }
        for definition in &select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &definition.1 {
                children::of_window(spec, &mut |child| self.child(child));
            }
        }
        let sort = select.sort_by.first().map(|it| &it.expr);
        if let Some(first) = sort.or(select.cluster_by.first()) {
            let at = self.place(first);
            self.shape.order_by.get_or_insert(at);
        }
    }

    fn filters(&mut self, select: &Select) {
        for filter in [&select.selection, &select.having].into_iter().flatten() {
            self.filter(filter);
        }
    }

    pub(super) fn filter(&mut self, filter: &Expr) {
        self.expr(filter);
        if self.wants_shape() {
            let conjuncts = join::conjuncts(filter);
            self.shape.filters.extend(conjuncts.into_iter().map(canonical));
        }
    }

    fn group_by(&mut self, select: &Select) -> bool {
        let (exprs, modifiers) = match &select.group_by {
            GroupByExpr::All(modifiers) => {
                // The parser has no place for it.
                let at = span_range(select.select_token.0.span);
                let text = "all".to_owned();
                self.shape.group_by.push(Text { text, at });
                (None, modifiers)
            }
            GroupByExpr::Expressions(exprs, modifiers) => (Some(exprs), modifiers),
        };
        if !self.wants_shape() {
            // The expression of an alias has already been walked; walking it again has no effect.
            for expr in exprs.into_iter().flatten() {
                self.expr(expr);
            }
            return false;
        }
        let aliases = match exprs {
            Some(exprs) if !exprs.is_empty() => aliases(&select.projection),
            _ => HashMap::new(),
        };
        for expr in exprs.into_iter().flatten() {
            let selected = resolved_grouping(expr, &select.projection, &aliases);
            if selected.is_none() {
                self.expr(expr);
            }
            let text = self.canonical(selected.unwrap_or(expr));
            let at = self.place(expr);
            self.shape.group_by.push(Text { text, at });
        }
        for modifier in modifiers {
            let at = span_range(select.select_token.0.span);
            let text = self.canonical(modifier);
            self.shape.group_by.push(Text { text, at });
        }
        exprs.is_none_or(|exprs| !exprs.is_empty()) || !modifiers.is_empty()
    }

    pub(super) fn columns(&self, items: &[SelectItem]) -> Vec<Column> {
        items.iter().map(|it| self.column(it)).collect()
    }

    fn column(&self, item: &SelectItem) -> Column {
        match item {
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                star(self.layout.range(item.span()))
            }
            SelectItem::UnnamedExpr(expr) => self.plain_column(expr, names::natural_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => self.plain_column(expr, names::name_of(alias)),
            SelectItem::ExprWithAliases { expr, .. } => self.plain_column(expr, None),
        }
    }

    pub(super) fn plain_column(&self, expr: &Expr, name: Option<String>) -> Column {
        let Text { text, at } = self.text(expr);
        Column { name, text, at }
    }
}

pub(super) fn star(at: Range<u32>) -> Column {
    Column { name: None, text: "*".to_owned(), at }
}

/// Returns the relations of a side. Long chains of unions would record them again at every link, so their number is
/// limited.
pub(super) fn side(source: &Source) -> Option<Vec<usize>> {
    (source.relations.len() <= 64).then(|| source.relations.clone())
}

pub(super) fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr)
        | SelectItem::ExprWithAlias { expr, .. }
        | SelectItem::ExprWithAliases { expr, .. } => Some(expr),
        SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => None,
    }
}

/// Returns the aliases of a select, in lower case.
fn aliases(projection: &[SelectItem]) -> HashMap<String, &Expr> {
    let mut aliases = HashMap::new();
    for item in projection {
        if let SelectItem::ExprWithAlias { expr, alias } = item {
            aliases.entry(alias.value.to_lowercase()).or_insert(expr);
        }
    }
    aliases
}

/// Returns the expression for a grouping by an ordinal or an alias.
fn resolved_grouping<'a>(
    expr: &Expr,
    projection: &'a [SelectItem],
    aliases: &HashMap<String, &'a Expr>,
) -> Option<&'a Expr> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => {
                let ordinal: usize = number.parse().ok()?;
                item_expr(projection.get(ordinal.checked_sub(1)?)?)
            }
            _ => None,
        },
        Expr::Identifier(ident) => aliases.get(&ident.value.to_lowercase()).copied(),
        _ => None,
    }
}

fn first_word(body: &SetExpr) -> sqlparser::tokenizer::Span {
    match body {
        SetExpr::Select(select) => select.select_token.0.span,
        SetExpr::Query(query) => match &query.with {
            Some(with) => with.with_token.0.span,
            None => first_word(&query.body),
        },
        SetExpr::SetOperation { left, .. } => first_word(left),
        other => other.span(),
    }
}

fn set(slot: &mut Option<Range<u32>>, at: Range<u32>, outermost: bool) {
    if outermost || slot.is_none() {
        *slot = Some(at);
    }
}

/// Removes repeated items after `from`, because Spark computes equal calls of one level once.
pub(super) fn dedup<T>(list: &mut Vec<T>, from: usize, text: impl Fn(&T) -> &String) {
    if list.len() < from + 2 {
        return;
    }
    let mut seen = HashSet::new();
    let mut index = 0;
    list.retain(|item| {
        index += 1;
        index <= from || seen.insert(text(item).clone())
    });
}
