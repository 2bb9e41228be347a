//! References to columns that are certainly columns of a base relation.

use std::collections::HashSet;

use sqlparser::ast::{Expr, FunctionArguments, GroupByExpr, Ident, LambdaFunction, Select, SelectItem};

use super::children::{self, Child};
use super::facts::{ColumnRef, Relation};
use super::item::Item;
use super::tokens::span_range;
use super::walk::Walk;
use super::{functions, join, names, select};

impl Walk {
    pub(super) fn column_refs(&mut self, select: &Select, items: &[Item]) {
        let mut finder = Finder::new(select, items, &self.shape.relations);
        for expr in expressions(select) {
            finder.expr(expr);
        }
        self.shape.column_refs = finder.found;
    }
}

/// Returns all expressions of a select itself, except its order, whose names may be those of its output.
fn expressions(select: &Select) -> impl Iterator<Item = &Expr> {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => exprs.as_slice(),
        GroupByExpr::All(_) => &[],
    };
    let joins = select.from.iter().flat_map(|table| &table.joins);
    select
        .projection
        .iter()
        .filter_map(select::item_expr)
        .chain(joins.filter_map(join::condition))
        .chain(&select.selection)
        .chain(grouped)
        .chain(&select.having)
}

struct Finder<'a> {
    items: &'a [Item],
    relations: &'a [Relation],
    /// Names that may refer to something other than a column, in lower case.
    other: HashSet<String>,
    /// The arguments of the enclosing lambdas.
    lambda: Vec<String>,
    /// Set if a name without a qualifier can only be a column of the base relations.
    plain: bool,
    found: Vec<ColumnRef>,
}

impl<'a> Finder<'a> {
    fn new(select: &Select, items: &'a [Item], relations: &'a [Relation]) -> Self {
        let mut other = HashSet::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => {
                    other.insert(alias.value.to_lowercase());
                }
                SelectItem::ExprWithAliases { aliases, .. } => {
                    other.extend(aliases.iter().map(|alias| alias.value.to_lowercase()));
                }
                _ => {}
            }
        }
        for view in &select.lateral_views {
            other.extend(view.lateral_col_alias.iter().map(|it| it.value.to_lowercase()));
            other.extend(names::last(&view.lateral_view_name));
        }
        let unnamed = |view: &sqlparser::ast::LateralView| view.lateral_col_alias.is_empty();
        Self {
            items,
            relations,
            other,
            lambda: Vec::new(),
            plain: !items.is_empty()
                && items.iter().all(|item| item.base.is_some())
                && !select.lateral_views.iter().any(unnamed),
            found: Vec::new(),
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Identifier(ident) => self.unqualified(ident),
            Expr::CompoundIdentifier(parts) => self.compound(parts),
            Expr::Lambda(lambda) => return self.lambda(lambda),
            Expr::Function(function) => {
                let unit =
                    names::single(&function.name).is_some_and(|name| functions::takes_unit_first(&name));
                if let (true, FunctionArguments::List(list)) = (unit, &function.args) {
                    let rest = list.args.iter().skip(1).filter_map(children::argument);
                    return rest.for_each(|expr| self.expr(expr));
                }
            }
            _ => {}
        }
        children::of(expr, &mut |child| {
            // Names in a subquery refer to its own relations first.
            if let Child::Expr(expr) = child {
                self.expr(expr);
            }
        });
    }

    fn lambda(&mut self, lambda: &LambdaFunction) {
        let outer = self.lambda.len();
        let names = lambda.params.iter().map(|it| it.name.value.to_lowercase());
        self.lambda.extend(names);
        self.expr(&lambda.body);
        self.lambda.truncate(outer);
    }

    fn compound(&mut self, parts: &[Ident]) {
        let [first, second, rest @ ..] = parts else {
            return;
        };
        let lower = first.value.to_lowercase();
        if self.lambda.contains(&lower) {
            return;
        }
        let item = self.items.iter().find(|it| it.qualifier.as_ref() == Some(&lower));
        match item {
            Some(item) => {
                if let Some(base) = item.base
                    && !names::is_dynamic(second)
                {
                    self.push(Some(first), second, Some(base));
                }
            }
            // It may be the database or the catalog of a table: `db.t.c`.
            None if !rest.is_empty() && self.begins_a_name(&lower) => {}
            // Otherwise, it is a field of a struct column.
            None => self.unqualified(first),
        }
    }

    fn begins_a_name(&self, lower: &str) -> bool {
        self.relations.iter().any(|relation| {
            relation.name.split_once('.').is_some_and(|(first, _)| first.eq_ignore_ascii_case(lower))
        })
    }

    fn unqualified(&mut self, ident: &Ident) {
        let lower = ident.value.to_lowercase();
        let bare = ident.quote_style.is_none() && functions::needs_no_parentheses(&lower);
        if names::is_dynamic(ident)
            || !self.plain
            || bare
            || self.other.contains(&lower)
            || self.lambda.contains(&lower)
        {
            return;
        }
        let relation = match self.items {
            [only] => only.base,
            _ => None,
        };
        self.push(None, ident, relation);
    }

    fn push(&mut self, qualifier: Option<&Ident>, ident: &Ident, relation: Option<usize>) {
        self.found.push(ColumnRef {
            qualifier: qualifier.map(|ident| ident.value.clone()),
            name: ident.value.clone(),
            relation,
            at: span_range(ident.span),
        });
    }
}
