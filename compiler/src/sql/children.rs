//! The direct children of an expression.

use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    OrderByExpr, Query, Subscript, WindowSpec, WindowType,
};

/// A direct child of an expression.
#[derive(Clone, Copy)]
pub(super) enum Child<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
}

/// Calls `visit` with every direct child of `expr`, in source order.
pub(super) fn of<'a>(expr: &'a Expr, visit: &mut impl FnMut(Child<'a>)) {
    if one(expr, visit) || several(expr, visit) {
        return;
    }
    match expr {
        Expr::Function(function) => of_function(function, visit),
        Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => visit(Child::Query(subquery)),
        Expr::InSubquery { expr, subquery, .. } => {
            visit(Child::Expr(expr));
            visit(Child::Query(subquery));
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            visit(Child::Expr(root));
            for access in access_chain {
                of_access(access, visit);
            }
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            boxed(operand.as_ref(), visit);
            for when in conditions {
                visit(Child::Expr(&when.condition));
                visit(Child::Expr(&when.result));
            }
            boxed(else_result.as_ref(), visit);
        }
        // Literals, names, and expressions that Spark doesn't have.
        _ => {}
    }
}

/// Visits expressions with a single child.
fn one<'a>(expr: &'a Expr, visit: &mut impl FnMut(Child<'a>)) -> bool {
    let part = match expr {
        Expr::IsFalse(part)
        | Expr::IsNotFalse(part)
        | Expr::IsTrue(part)
        | Expr::IsNotTrue(part)
        | Expr::IsNull(part)
        | Expr::IsNotNull(part)
        | Expr::IsUnknown(part)
        | Expr::IsNotUnknown(part)
        | Expr::Nested(part)
        | Expr::OuterJoin(part)
        | Expr::Prior(part)
        | Expr::JsonAccess { value: part, .. }
        | Expr::IsJson { expr: part, .. }
        | Expr::IsNormalized { expr: part, .. }
        | Expr::UnaryOp { expr: part, .. }
        | Expr::Convert { expr: part, .. }
        | Expr::Cast { expr: part, .. }
        | Expr::Extract { expr: part, .. }
        | Expr::Ceil { expr: part, .. }
        | Expr::Floor { expr: part, .. }
        | Expr::Collate { expr: part, .. }
        | Expr::Prefixed { value: part, .. }
        | Expr::Named { expr: part, .. } => part,
        Expr::Interval(interval) => &interval.value,
        Expr::Lambda(lambda) => &lambda.body,
        _ => return false,
    };
    visit(Child::Expr(part));
    true
}

/// Visits expressions with several children of the same kind.
#[expect(clippy::too_many_lines, reason = "one flat match: an arm for each kind of expression")]
fn several<'a>(expr: &'a Expr, visit: &mut impl FnMut(Child<'a>)) -> bool {
    match expr {
        Expr::BinaryOp { left, right, .. }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right)
        | Expr::AnyOp { left, right, .. }
        | Expr::AllOp { left, right, .. }
        | Expr::Like { expr: left, pattern: right, .. }
        | Expr::ILike { expr: left, pattern: right, .. }
        | Expr::SimilarTo { expr: left, pattern: right, .. }
        | Expr::RLike { expr: left, pattern: right, .. }
        | Expr::AtTimeZone { timestamp: left, time_zone: right }
        | Expr::Position { expr: left, r#in: right }
        | Expr::InUnnest { expr: left, array_expr: right, .. } => all([left.as_ref(), right], visit),
        Expr::Between { expr, low, high, .. } => all([expr.as_ref(), low, high], visit),
        Expr::InList { expr, list, .. } => {
            visit(Child::Expr(expr));
            all(list, visit);
        }
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            visit(Child::Expr(expr));
            boxed(substring_from.as_ref(), visit);
            boxed(substring_for.as_ref(), visit);
        }
        Expr::Trim { expr, trim_what, trim_characters, .. } => {
            boxed(trim_what.as_ref(), visit);
            visit(Child::Expr(expr));
            all(trim_characters.iter().flatten(), visit);
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            all([expr.as_ref(), overlay_what, overlay_from], visit);
            boxed(overlay_for.as_ref(), visit);
        }
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
            all(sets.iter().flatten(), visit);
        }
        Expr::Tuple(parts) | Expr::Struct { values: parts, .. } => all(parts, visit),
        Expr::Array(array) => all(&array.elem, visit),
        Expr::Map(map) => {
            for entry in &map.entries {
                all([entry.key.as_ref(), &entry.value], visit);
            }
        }
        Expr::Dictionary(fields) => all(fields.iter().map(|it| it.value.as_ref()), visit),
        _ => return false,
    }
    true
}

/// Visits the arguments of a call, its filter and its window.
pub(super) fn of_function<'a>(function: &'a Function, visit: &mut impl FnMut(Child<'a>)) {
    arguments(&function.parameters, visit);
    arguments(&function.args, visit);
    ordered(&function.within_group, visit);
    boxed(function.filter.as_ref(), visit);
    if let Some(WindowType::WindowSpec(spec)) = &function.over {
        of_window(spec, visit);
    }
}

pub(super) fn of_window<'a>(spec: &'a WindowSpec, visit: &mut impl FnMut(Child<'a>)) {
    all(&spec.partition_by, visit);
    ordered(&spec.order_by, visit);
}

/// Returns the expression of an argument, if it is one.
pub(super) fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg) => {
            match arg {
                FunctionArgExpr::Expr(expr) => Some(expr),
                _ => None,
            }
        }
    }
}

fn arguments<'a>(arguments: &'a FunctionArguments, visit: &mut impl FnMut(Child<'a>)) {
    match arguments {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(query) => visit(Child::Query(query)),
        FunctionArguments::List(list) => {
            all(list.args.iter().filter_map(argument), visit);
            for clause in &list.clauses {
                match clause {
                    FunctionArgumentClause::OrderBy(by) => ordered(by, visit),
                    FunctionArgumentClause::Where(expr) | FunctionArgumentClause::Limit(expr) => {
                        visit(Child::Expr(expr));
                    }
                    _ => {}
                }
            }
        }
    }
}

fn of_access<'a>(access: &'a AccessExpr, visit: &mut impl FnMut(Child<'a>)) {
    match access {
        // A dot is followed by a field, or by a call on the value before it. A field is not an expression.
        AccessExpr::Dot(expr @ Expr::Function(_)) => visit(Child::Expr(expr)),
        AccessExpr::Subscript(Subscript::Index { index }) => visit(Child::Expr(index)),
        AccessExpr::Dot(_) | AccessExpr::Subscript(Subscript::Slice { .. }) => {}
    }
}

fn ordered<'a>(by: &'a [OrderByExpr], visit: &mut impl FnMut(Child<'a>)) {
    all(by.iter().map(|it| &it.expr), visit);
}

fn all<'a>(parts: impl IntoIterator<Item = &'a Expr>, visit: &mut impl FnMut(Child<'a>)) {
    parts.into_iter().for_each(|part| visit(Child::Expr(part)));
}

#[expect(clippy::borrowed_box, reason = "that is what the parser's optional parts are")]
fn boxed<'a>(part: Option<&'a Box<Expr>>, visit: &mut impl FnMut(Child<'a>)) {
    if let Some(part) = part {
        visit(Child::Expr(part));
    }
}
