//! Joins and their conditions.

use sqlparser::ast::{BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, TableWithJoins};

use super::bounds;
use super::canonical::canonical;
use super::children::{self, Child};
use super::facts::{Join, JoinKind};
use super::item::{Item, factor_span};
use super::walk::{Source, Walk};

impl Walk {
    pub(super) fn joined(&mut self, table: &TableWithJoins, filter: Option<&Expr>) -> Vec<Item> {
        let mut left = self.factor(&table.relation);
        for join in &table.joins {
            self.joined_with(&mut left, join, filter);
        }
        left
    }

    /// Joins one more table to the items on the left.
    pub(super) fn joined_with(
        &mut self,
        left: &mut Vec<Item>,
        join: &sqlparser::ast::Join,
        filter: Option<&Expr>,
    ) {
        let right = self.factor(&join.relation);
        self.lateral(&join.relation, left, &right);
        let on = condition(join);
        if self.wants_shape() {
            let (kind, constraint) = operator(&join.join_operator);
            let mut found = self.join(kind, constraint, left, &right);
            let relation = self.layout.range(factor_span(&join.relation));
            let start = self.layout.join_keyword_before(relation.start);
            let end = on.map_or(0, |on| self.place(on).end);
            let start = start.map_or(relation.start, |word| word.start);
            found.at = start..relation.end.max(end);
            if let Some(JoinConstraint::None) | None = constraint {
                condition_facts(&mut found, filter, left, &right);
            }
            self.shape.joins.push(found);
        }
        if let Some(on) = on {
            self.expr(on);
        }
        left.extend(right);
    }

    /// Records the join in `FROM a, b WHERE …`, with the filter as its condition. In Spark, this is an inner join and
    /// not a `CROSS JOIN`.
    pub(super) fn comma_join(
        &mut self,
        left: &[Item],
        right: &[Item],
        table: &TableWithJoins,
        filter: Option<&Expr>,
    ) {
        if !self.wants_shape() {
            return;
        }
        let mut join = self.join(JoinKind::Inner, None, left, right);
        join.at = self.layout.range(factor_span(&table.relation));
        condition_facts(&mut join, filter, left, right);
        self.shape.joins.push(join);
    }

    fn join(
        &mut self,
        kind: JoinKind,
        constraint: Option<&JoinConstraint>,
        left: &[Item],
        right: &[Item],
    ) -> Join {
        let room = self.is_complete() && {
            let sizes = left.iter().chain(right);
            self.record_relations(sizes.map(|it| it.source.relations.len()).sum())
        };
        let mut join = Join {
            kind,
            left: relations(if room { left } else { &[] }),
            right: relations(if room { right } else { &[] }),
            on: String::new(),
            equi_keys: Vec::new(),
            bounds: Vec::new(),
            at: 0..0,
        };
        match constraint {
            Some(JoinConstraint::On(on)) => {
                join.on = canonical(on);
                condition_facts(&mut join, Some(on), left, right);
            }
            Some(JoinConstraint::Using(columns)) => using(&mut join, columns),
            Some(JoinConstraint::Natural) => "natural".clone_into(&mut join.on),
            Some(JoinConstraint::None) | None => {}
        }
        join
    }
}

fn using(join: &mut Join, columns: &[ObjectName]) {
    let columns: Vec<String> = columns.iter().map(canonical).collect();
    join.on = format!("using ({})", columns.join(", "));
    join.equi_keys = columns.into_iter().map(|it| (it.clone(), it)).collect();
}

fn relations(items: &[Item]) -> Vec<usize> {
    Source::of(items.iter().map(|item| &item.source)).relations
}

/// Returns the condition after `ON`.
pub(super) fn condition(join: &sqlparser::ast::Join) -> Option<&Expr> {
    match operator(&join.join_operator).1? {
        JoinConstraint::On(on) => Some(on),
        JoinConstraint::Using(_) | JoinConstraint::Natural | JoinConstraint::None => None,
    }
}

fn operator(operator: &JoinOperator) -> (JoinKind, Option<&JoinConstraint>) {
    match operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::StraightJoin(on) => {
            (JoinKind::Inner, Some(on))
        }
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (JoinKind::Left, Some(on)),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (JoinKind::Right, Some(on)),
        JoinOperator::FullOuter(on) => (JoinKind::Full, Some(on)),
        JoinOperator::CrossJoin(on) => (JoinKind::Cross, Some(on)),
        JoinOperator::Semi(on) | JoinOperator::LeftSemi(on) | JoinOperator::RightSemi(on) => {
            (JoinKind::Semi, Some(on))
        }
        JoinOperator::Anti(on) | JoinOperator::LeftAnti(on) | JoinOperator::RightAnti(on) => {
            (JoinKind::Anti, Some(on))
        }
        JoinOperator::AsOf { constraint, .. } => (JoinKind::Left, Some(constraint)),
        JoinOperator::OuterApply | JoinOperator::LeftArrayJoin => (JoinKind::Left, None),
        JoinOperator::CrossApply | JoinOperator::ArrayJoin | JoinOperator::InnerArrayJoin => {
            (JoinKind::Cross, None)
        }
    }
}

/// Returns the conjuncts of a condition.
pub(super) fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut open = vec![condition];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => open.extend([right.as_ref(), left]),
            Expr::Nested(inner) if is_conjunction(inner) => open.push(inner),
            _ => found.push(expr),
        }
    }
    found
}

fn is_conjunction(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_conjunction(inner),
        Expr::BinaryOp { op, .. } => *op == BinaryOperator::And,
        _ => false,
    }
}

fn condition_facts(join: &mut Join, condition: Option<&Expr>, left: &[Item], right: &[Item]) {
    for conjunct in condition.map(conjuncts).unwrap_or_default() {
        let mut conjunct = conjunct;
        while let Expr::Nested(inner) = conjunct {
            conjunct = inner;
        }
        if let Expr::BinaryOp { left: a, op: BinaryOperator::Eq | BinaryOperator::Spaceship, right: b } =
            conjunct
        {
            let of_a = SideUses::of(a, left, right);
            let of_b = SideUses::of(b, left, right);
            if let Some(swap) = of_a.equated_with(&of_b) {
                let (a, b) = if swap { (b, a) } else { (a, b) };
                join.equi_keys.push((canonical(a), canonical(b)));
            }
        }
        join.bounds.extend(bounds::of(conjunct, left, right));
    }
}

/// The sides whose columns an expression uses.
#[derive(Default)]
struct SideUses {
    left: bool,
    right: bool,
    /// Number of columns without a qualifier, which may belong to either side.
    unqualified: usize,
}

impl SideUses {
    fn of(expr: &Expr, left: &[Item], right: &[Item]) -> Self {
        let mut uses = Self::default();
        uses.add(expr, left, right);
        uses
    }

    fn add(&mut self, expr: &Expr, left: &[Item], right: &[Item]) {
        match expr {
            Expr::Identifier(_) => self.unqualified += 1,
            Expr::CompoundIdentifier(parts) => {
                if qualifies(left, parts) {
                    self.left = true;
                } else if qualifies(right, parts) {
                    self.right = true;
                } else {
                    self.unqualified += 1;
                }
            }
            _ => {}
        }
        children::of(expr, &mut |child| {
            if let Child::Expr(expr) = child {
                self.add(expr, left, right);
            }
        });
    }

    /// Returns whether an equality between the two expressions relates both sides, and if so, whether the right side
    /// is first.
    fn equated_with(&self, other: &Self) -> Option<bool> {
        let mixed = |it: &Self| it.left && it.right;
        let constant = |it: &Self| !it.left && !it.right && it.unqualified == 0;
        let same = self.left && other.left || self.right && other.right;
        let none = mixed(self) || mixed(other) || constant(self) || constant(other) || same;
        (!none).then_some(self.right || other.left)
    }
}

/// Returns whether a compound reference starts with the name of one of the items.
fn qualifies(items: &[Item], parts: &[Ident]) -> bool {
    let Some((_, qualifiers)) = parts.split_last() else {
        return false;
    };
    qualifiers.iter().any(|qualifier| {
        items
            .iter()
            .any(|item| item.qualifier.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(&qualifier.value)))
    })
}
