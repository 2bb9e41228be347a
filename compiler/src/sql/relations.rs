//! Tables and subqueries of a `FROM` clause.

use std::collections::HashSet;

use sqlparser::ast::{FunctionArg, Ident, ObjectName, Query, Spanned, TableAlias, TableFactor};

use super::facts::{Level, QueryShape, Relation, TableRef};
use super::item::{Item, factor_span};
use super::walk::{Access, Source, Walk};
use super::{children, names, pivot};

impl Walk {
    pub(super) fn factor(&mut self, factor: &TableFactor) -> Vec<Item> {
        if let TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } = factor
        {
            let behind = self.layout.range(factor_span(factor)).end;
            self.name_after(&alias.name, behind);
        }
        self.items(factor)
    }

    fn items(&mut self, factor: &TableFactor) -> Vec<Item> {
        let TableFactor::NestedJoin { table_with_joins, alias } = factor else {
            return vec![self.item(factor)];
        };
        let items = self.joined(table_with_joins, None);
        match alias {
            None => items,
            Some(alias) => vec![merged(Some(alias), &items)],
        }
    }

    fn item(&mut self, factor: &TableFactor) -> Item {
        match factor {
            TableFactor::Table { name, alias, args, sample, .. } => {
                self.sample(name, sample.as_ref());
                match args {
                    None => self.plain_table(name, alias.as_ref()),
                    Some(args) => self.table_function(name, &args.args, alias.as_ref()),
                }
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                self.sample(subquery.as_ref(), sample.as_ref());
                self.derived(subquery, *lateral, alias.as_ref())
            }
            TableFactor::Pivot { table, aggregate_functions, value_column, value_source, alias, .. } => {
                let mut item = merged(alias.as_ref(), &self.factor(table));
                let values = value_column.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let behind = self.layout.range(factor_span(table)).end;
                self.pivot(aggregate_functions, &values, value_source, (pivot::input(table), behind));
                self.shape.nested_aggregation |= item.source.aggregated;
                item.source.aggregated = true;
                item
            }
            TableFactor::Unpivot { table, alias, .. } => merged(alias.as_ref(), &self.factor(table)),
            TableFactor::Function { name, args, alias, .. } => {
                self.table_function(name, args, alias.as_ref())
            }
            TableFactor::TableFunction { expr, alias } => {
                self.expr(expr);
                Item::new(alias.as_ref(), Source::default())
            }
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                for expr in array_exprs {
                    self.expr(expr);
                }
                Item::new(alias.as_ref(), Source::default())
            }
            _ => Item::new(None, Source::default()),
        }
    }

    fn plain_table(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Item {
        if names::is_stream(name, alias) {
            let table: Vec<Ident> = alias.iter().map(|it| it.name.clone()).collect();
            return self.named(&ObjectName::from(table), None);
        }
        self.named(name, alias)
    }

    fn derived(&mut self, subquery: &Query, lateral: bool, alias: Option<&TableAlias>) -> Item {
        let around = lateral.then(|| self.lateral_qualifiers.replace(HashSet::new()));
        self.correlated += usize::from(lateral);
        let source = self.query(subquery, false);
        self.correlated -= usize::from(lateral);
        let mut item = Item::new(alias, source);
        if let Some(around) = around {
            item.lateral_qualifiers =
                std::mem::replace(&mut self.lateral_qualifiers, around).unwrap_or_default();
            if let Some(around) = &mut self.lateral_qualifiers {
                around.extend(item.lateral_qualifiers.iter().cloned());
            }
        }
        item
    }

    /// Records a `LATERAL` subquery, with the relations on its left whose columns it uses.
    pub(super) fn lateral(&mut self, factor: &TableFactor, left: &[Item], right: &[Item]) {
        let (TableFactor::Derived { lateral: true, subquery, .. }, [item]) = (factor, right) else { return };
        if !self.wants_shape() {
            return;
        }
        let named = |it: &&Item| {
            it.qualifier.as_ref().is_some_and(|qualifier| item.lateral_qualifiers.contains(qualifier))
        };
        let relations = Source::of(left.iter().filter(named).map(|it| &it.source)).relations;
        if self.record_relations(relations.len()) {
            let at = self.layout.range(subquery.span());
            self.shape.laterals.push(Level { at, relations });
        }
    }

    fn table_function(
        &mut self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Item {
        let exprs = args.iter().filter_map(children::argument);
        match (names::single(name).as_deref(), args) {
            (Some("stream"), [_]) => {
                if let Some(table) = exprs.clone().find_map(names::of_expr) {
                    return self.named(&table, alias);
                }
            }
            _ => self.called(name),
        }
        exprs.for_each(|expr| self.expr(expr));
        Item::new(alias, Source::default())
    }

    /// Returns the table of a name, or `None` if it is only known at run time.
    pub(super) fn table(&mut self, name: &ObjectName) -> Option<TableRef> {
        names::parts(name).for_each(|part| self.name(part));
        // In some dialects, names can be calls.
        let calls = names::parts(name).count() < name.0.len();
        if calls {
            self.dynamic.push(self.layout.range(name.span()));
        }
        (!calls && !self.dynamic(name)).then(|| names::table(name))
    }

    fn named(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Item {
        let qualifier = match alias {
            Some(alias) => Some(alias.name.value.to_lowercase()),
            None => names::last(name),
        };
        if let Some(single) = names::single(name) {
            if let Some((_, source)) = self.ctes.iter().rev().find(|(cte, _)| *cte == single) {
                let source = source.clone();
                return Item::of(qualifier, None, source);
            }
            if let Some(source) = self.view(&single) {
                return Item::of(qualifier, None, source);
            }
        }
        match self.relation(name, alias) {
            Some(index) => {
                Item::of(qualifier, Some(index), Source { relations: vec![index], aggregated: false })
            }
            None => Item::of(qualifier, None, Source::default()),
        }
    }

    fn relation(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Option<usize> {
        let table = self.table(name)?;
        self.shape.relations.push(Relation {
            name: table.name.clone(),
            alias: alias.map(|alias| alias.name.value.clone()),
            at: table.at.clone(),
        });
        self.used(name, &table, Access { writes: false, has_alias: alias.is_some() });
        self.reads.add(table);
        Some(self.shape.relations.len() - 1)
    }

    /// Returns the source of a temporary view, as if its query were written in the place of its name.
    fn view(&mut self, name: &str) -> Option<Source> {
        let size = self.views.get(name)?.size();
        let room = self.record_relations(size);
        let view = self.views.get(name)?;
        if !room {
            return Some(Source::default());
        }
        let first = self.shape.relations.len();
        append(&mut self.shape, &view.shape);
        Some(Source { relations: (first..self.shape.relations.len()).collect(), aggregated: view.aggregated })
    }
}

fn merged(alias: Option<&TableAlias>, items: &[Item]) -> Item {
    let source = Source::of(items.iter().map(|item| &item.source));
    let mut merged = Item::new(alias, source);
    if let (None, [only]) = (alias, items) {
        merged.qualifier.clone_from(&only.qualifier);
    }
    merged
}

/// Adds the content of another shape. Its order, limit, columns and references are left out.
#[expect(clippy::too_many_lines, reason = "one line or two for each field of a shape")]
fn append(shape: &mut QueryShape, other: &QueryShape) {
    let QueryShape {
        relations,
        joins,
        group_by,
        aggregates,
        windows,
        distinct,
        over,
        order_by,
        limit,
        set_operations,
        filters,
        columns: _,
        column_refs: _,
        nested_aggregation,
        subqueries,
        clauses,
        aliases,
        levels,
        pivots,
        laterals,
        piped,
    } = other;
    let first = shape.relations.len();
    shape.relations.extend_from_slice(relations);
    shape.joins.extend(joins.iter().cloned().map(|mut join| {
        let bounds = join.bounds.iter_mut().flat_map(|bound| [&mut bound.lesser, &mut bound.greater]);
        let named = bounds.filter_map(|operand| operand.relation.as_mut());
        for index in join.left.iter_mut().chain(&mut join.right).chain(named) {
            *index += first;
        }
        join
    }));
    let moved = |level: &Level| {
        let relations = level.relations.iter().map(|index| index + first).collect();
        Level { at: level.at.clone(), relations }
    };
    shape.levels.extend(levels.iter().map(moved));
    shape.subqueries.extend(subqueries.iter().map(moved));
    shape.laterals.extend(laterals.iter().map(moved));
    shape.pivots.extend_from_slice(pivots);
    shape.piped |= piped;
    shape.clauses.extend_from_slice(clauses);
    shape.aliases.extend_from_slice(aliases);
    shape.group_by.extend_from_slice(group_by);
    shape.aggregates.extend_from_slice(aggregates);
    shape.windows.extend_from_slice(windows);
    shape.over.extend_from_slice(over);
    shape.set_operations.extend(set_operations.iter().cloned().map(|mut operation| {
        for index in [&mut operation.left, &mut operation.right].into_iter().flatten().flatten() {
            *index += first;
        }
        operation
    }));
    shape.filters.extend_from_slice(filters);
    shape.distinct = shape.distinct.take().or_else(|| distinct.clone());
    shape.order_by = shape.order_by.take().or_else(|| order_by.clone());
    shape.limit = shape.limit.take().or_else(|| limit.clone());
    shape.nested_aggregation |= nested_aggregation;
}
