//! Bounds that a join's condition sets between columns of its sides, in the form that Spark follows: comparisons of
//! sums of columns and constants. Other forms, such as functions that add days, are not bounds to Spark.

use sqlparser::ast::{BinaryOperator, Expr, Function, Ident, Interval, UnaryOperator, Value};

use super::children::{self, Child};
use super::facts::{Bound, Operand, Side};
use super::item::Item;
use super::names;

/// Types, and functions that cast to them, that Spark ignores.
const NUMBERS: &[&str] = &[
    "bigint",
    "byte",
    "decimal",
    "double",
    "float",
    "int",
    "long",
    "short",
    "smallint",
    "timestamp",
    "tinyint",
];

/// Returns the bounds of a conjunct.
pub(super) fn of(conjunct: &Expr, left: &[Item], right: &[Item]) -> Vec<Bound> {
    let bound = |lesser: &Expr, greater: &Expr| Sum::new(left, right).bound(lesser, greater);
    match conjunct {
        Expr::BinaryOp { left: a, op: BinaryOperator::Lt | BinaryOperator::LtEq, right: b } => {
            bound(a, b).into_iter().collect()
        }
        Expr::BinaryOp { left: a, op: BinaryOperator::Gt | BinaryOperator::GtEq, right: b } => {
            bound(b, a).into_iter().collect()
        }
        Expr::Between { expr, negated: false, low, high } => {
            bound(low, expr).into_iter().chain(bound(expr, high)).collect()
        }
        _ => Vec::new(),
    }
}

/// The columns of the difference of two sums: those that are added and those that are subtracted.
struct Sum<'a> {
    left: &'a [Item],
    right: &'a [Item],
    plus: Vec<Operand>,
    minus: Vec<Operand>,
}

impl<'a> Sum<'a> {
    fn new(left: &'a [Item], right: &'a [Item]) -> Self {
        Self { left, right, plus: Vec::new(), minus: Vec::new() }
    }

    fn bound(mut self, lesser: &Expr, greater: &Expr) -> Option<Bound> {
        self.add(lesser, false)?;
        self.add(greater, true)?;
        match (self.plus.as_slice(), self.minus.as_slice()) {
            ([_], [_]) => Some(Bound { lesser: self.plus.pop()?, greater: self.minus.pop()? }),
            _ => None,
        }
    }

    /// Adds a sum. Returns `None` if Spark can't split the expression into columns and constants.
    fn add(&mut self, expr: &Expr, negate: bool) -> Option<()> {
        match expr {
            Expr::Nested(inner) => self.add(inner, negate),
            Expr::BinaryOp { left, op: BinaryOperator::Plus, right } => {
                self.add(left, negate)?;
                self.add(right, negate)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Minus, right } => {
                // The difference of two times is a different operation than that of numbers.
                if is_column(left) && is_column(right) {
                    return None;
                }
                self.add(left, negate)?;
                self.add(right, !negate)
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => self.add(expr, !negate),
            Expr::Cast { expr, data_type, .. } => {
                let name = data_type.to_string().to_lowercase();
                is_number(&name).then_some(())?;
                self.add(expr, negate)
            }
            Expr::Function(function) => {
                names::single(&function.name).filter(|name| is_number(name))?;
                self.add(last_argument(function)?, negate)
            }
            Expr::Interval(interval) => is_constant(interval).then_some(()),
            Expr::Value(_) | Expr::TypedString(_) => Some(()),
            Expr::Identifier(ident) => {
                self.column(std::slice::from_ref(ident), negate);
                Some(())
            }
            Expr::CompoundIdentifier(parts) => {
                self.column(parts, negate);
                Some(())
            }
            _ => None,
        }
    }

    fn column(&mut self, parts: &[Ident], negate: bool) {
        let Some((column, qualifiers)) = parts.split_last() else { return };
        let qualifier = qualifiers.last().map(|ident| ident.value.to_lowercase());
        let find =
            |items: &'a [Item]| items.iter().find(|item| qualifier.is_some() && item.qualifier == qualifier);
        let (side, item) = match (find(self.left), find(self.right)) {
            (Some(item), _) => (Some(Side::Left), Some(item)),
            (None, Some(item)) => (Some(Side::Right), Some(item)),
            (None, None) => (None, None),
        };
        let relation = item.and_then(|item| item.base);
        let operand = Operand { column: column.value.to_lowercase(), side, relation };
        if negate { self.minus.push(operand) } else { self.plus.push(operand) }
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_column(inner),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        _ => false,
    }
}

fn last_argument(function: &Function) -> Option<&Expr> {
    let mut argument = None;
    children::of_function(function, &mut |child| {
        if let Child::Expr(expr) = child {
            argument = Some(expr);
        }
    });
    argument
}

fn is_number(name: &str) -> bool {
    let name = name.split('(').next().unwrap_or(name);
    NUMBERS.contains(&name)
}

/// Returns whether an interval has a fixed length. Months and years don't, so they are not bounds.
fn is_constant(interval: &Interval) -> bool {
    let text = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.to_lowercase(),
            _ => String::new(),
        },
        Expr::UnaryOp { .. } => String::new(),
        _ => return false,
    };
    let unit =
        interval.leading_field.as_ref().map(|field| field.to_string().to_lowercase()).unwrap_or_default();
    !["month", "year"].iter().any(|long| text.contains(long) || unit.contains(long))
}
