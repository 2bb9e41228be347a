//! Finds selected columns that are neither grouped nor aggregated, where this is certain for all possible tables.

use std::collections::HashSet;

use sqlparser::ast::{Expr, GroupByExpr, Ident, Select, SelectItem, Spanned};

use super::children::{self, Child};
use super::facts::Form;
use super::walk::Walk;
use super::{functions, names, select};

/// The names of valid columns, in lower case.
struct GroupedColumns {
    names: HashSet<String>,
}

impl Walk {
    pub(super) fn ungrouped(&mut self, select: &Select) {
        // In a subquery of an expression, a column may belong to the outer query.
        if self.correlated > 0 || !is_aggregated(select) {
            return;
        }
        let Some(known) = GroupedColumns::of(select) else { return };
        for expr in select.projection.iter().filter_map(select::item_expr) {
            let mut columns = Some(Vec::new());
            columns_of(expr, &mut columns);
            let ungrouped = columns.into_iter().flatten().filter(|parts| !known.has(parts));
            for parts in ungrouped {
                let span = parts.iter().map(|part| part.span).reduce(|all, part| all.union(&part));
                self.report_unsupported(Form::Ungrouped, span.unwrap_or_else(|| expr.span()));
            }
        }
    }
}

/// Returns whether a select certainly has one row for each group.
fn is_aggregated(select: &Select) -> bool {
    match &select.group_by {
        GroupByExpr::All(_) => false,
        GroupByExpr::Expressions(_, modifiers) if !modifiers.is_empty() => false,
        GroupByExpr::Expressions(exprs, _) if exprs.is_empty() => {
            select.projection.iter().filter_map(select::item_expr).any(is_aggregate)
        }
        GroupByExpr::Expressions(..) => true,
    }
}

/// Returns whether an expression is a call of an aggregate.
fn is_aggregate(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name = names::single(&function.name);
    function.over.is_none() && name.is_some_and(|name| functions::is_aggregate(&name))
}

impl GroupedColumns {
    /// Returns `None` if a group is not a plain column.
    fn of(select: &Select) -> Option<Self> {
        let mut known = Self { names: HashSet::new() };
        let mut aliases: Vec<(String, &Expr)> = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { expr, alias } => {
                    aliases.push((alias.value.to_lowercase(), expr));
                }
                SelectItem::ExprWithAliases { .. } => return None,
                _ => {}
            }
        }
        if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
            for expr in exprs {
                known.add(expr)?;
                if let Expr::Value(value) = expr {
                    let ordinal: usize = value.value.to_string().parse().ok()?;
                    let item = select.projection.get(ordinal.checked_sub(1)?)?;
                    known.add(select::item_expr(item)?)?;
                }
            }
        }
        // A grouped alias stands for its expression, which may use earlier aliases.
        for (alias, expr) in aliases.iter().rev() {
            if known.names.contains(alias) {
                known.add(expr)?;
            }
        }
        known.names.extend(aliases.into_iter().map(|(alias, _)| alias));
        Some(known)
    }

    /// Adds all columns of an expression. Returns `None` if it has several values, or is not known yet.
    fn add(&mut self, expr: &Expr) -> Option<()> {
        match expr {
            Expr::Identifier(ident) => self.part(ident)?,
            // The qualifier of a column is not a column.
            Expr::CompoundIdentifier(parts) => parts.last().map_or(Some(()), |last| self.part(last))?,
            // A group without an alias is a column with the name of the function, as in `window.start`.
            Expr::Function(function) => self.names.extend(names::single(&function.name)),
            Expr::GroupingSets(_)
            | Expr::Cube(_)
            | Expr::Rollup(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..) => return None,
            Expr::Tuple(parts) if parts.is_empty() => return None,
            _ => {}
        }
        let mut all = Some(());
        children::of(expr, &mut |child| {
            let added = match child {
                Child::Expr(expr) => self.add(expr),
                Child::Query(_) => None,
            };
            all = all.and(added);
        });
        all
    }

    fn part(&mut self, part: &Ident) -> Option<()> {
        self.names.insert(part.value.to_lowercase());
        (!names::is_dynamic(part)).then_some(())
    }

    /// Returns whether a column may be grouped: a part of its name is a group, or its name is not plain.
    fn has(&self, parts: &[Ident]) -> bool {
        let is_plain = |part: &Ident| {
            let plain = part.value.chars().all(|ch| ch == '_' || ch.is_alphanumeric());
            plain && matches!(part.quote_style, None | Some('`'))
        };
        parts.iter().any(|part| {
            let lower = part.value.to_lowercase();
            !is_plain(part) || self.names.contains(&lower) || functions::needs_no_parentheses(&lower)
        })
    }
}

/// Collects the columns of an expression of operators. The result is `None` if the expression contains anything else.
fn columns_of<'a>(expr: &'a Expr, found: &mut Option<Vec<&'a [Ident]>>) {
    match expr {
        Expr::Identifier(ident) => found.iter_mut().for_each(|it| it.push(std::slice::from_ref(ident))),
        Expr::CompoundIdentifier(parts) => found.iter_mut().for_each(|it| it.push(parts)),
        Expr::Value(_)
        | Expr::TypedString(_)
        | Expr::Nested(_)
        | Expr::BinaryOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::Cast { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::Between { .. } => {
            children::of(expr, &mut |child| match child {
                Child::Expr(expr) => columns_of(expr, found),
                Child::Query(_) => *found = None,
            });
        }
        _ => *found = None,
    }
}
