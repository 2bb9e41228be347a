//! Walks the tree: relations and expressions.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::ops::Range;

use sqlparser::ast::{AccessExpr, Expr, Function, FunctionArguments, Ident, ObjectName, Spanned, Value};
use sqlparser::tokenizer::Span;

use super::canonical::canonical;
use super::children::{self, Child};
use super::facts::{
    EventWindow, Form, Level, QueryShape, TableRef, TableUse, Text, UnsupportedForm, WindowKind,
};
use super::layout::Layout;
use super::tokens::span_range;
use super::{Detail, functions, names};

/// The definitions of a script so far, and the facts.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) layout: Layout,
    detail: Detail,
    pub(super) reads: Tables,
    pub(super) writes: Tables,
    /// Temporary views of earlier statements, by lower-cased name.
    pub(super) views: HashMap<String, View>,
    /// The shape of the current statement.
    pub(super) shape: QueryShape,
    /// CTEs in scope, the innermost last, by lower-cased name.
    pub(super) ctes: Vec<(String, Source)>,
    /// The functions called by a name of one part, and their first places.
    pub(super) calls: HashMap<String, Range<u32>>,
    /// The number of enclosing subqueries of expressions. Their columns may belong to an outer query.
    pub(super) correlated: usize,
    /// See [`Facts::dynamic`](super::Facts::dynamic).
    pub(super) dynamic: Vec<Range<u32>>,
    /// The number of recorded relations of views and of sides of joins.
    pub(super) recorded: usize,
    pub(super) unsupported_forms: Vec<UnsupportedForm>,
    /// Set if the statements are the text of an `EXECUTE IMMEDIATE`.
    pub(super) executed: bool,
    /// The qualifiers of columns in the enclosing `LATERAL` subquery, if there is one. In lower case.
    pub(super) lateral_qualifiers: Option<HashSet<String>>,
    /// All uses of tables, if they are requested.
    pub(super) uses: Option<Vec<TableUse>>,
}

/// How a statement uses a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    pub(super) writes: bool,
    pub(super) has_alias: bool,
}

/// Maximum number of recorded relations. Views of views, and joins of joins, could otherwise grow exponentially.
const MAX_RELATIONS: usize = 100_000;

/// Tables without duplicates, each with the place of its first use.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) list: Vec<TableRef>,
    seen: HashSet<String>,
}

impl Tables {
    pub(super) fn add(&mut self, table: TableRef) {
        // Paths are case-sensitive, names are not.
        let key = match &table.path_format {
            Some(format) => format!("{format}:{}", table.name),
            None => table.name.to_lowercase(),
        };
        if self.seen.insert(key) {
            self.list.push(table);
        }
    }
}

#[derive(Debug)]
pub(super) struct View {
    pub(super) shape: QueryShape,
    pub(super) aggregated: bool,
}

impl View {
    pub(super) fn size(&self) -> usize {
        let QueryShape { relations, joins, filters, group_by, aggregates, .. } = &self.shape;
        let sides = joins.iter().map(|it| it.left.len() + it.right.len());
        let texts = relations.len() + filters.len() + group_by.len() + aggregates.len();
        texts + sides.sum::<usize>()
    }
}

/// The origin of rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    /// Indices of the base relations.
    pub(super) relations: Vec<usize>,
    pub(super) aggregated: bool,
}

impl Source {
    /// Combines all sources.
    pub(super) fn of<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Self {
        let mut all = Self::default();
        for source in sources {
            all.relations.extend(&source.relations);
            all.aggregated |= source.aggregated;
        }
        // A CTE may be used several times.
        all.relations.sort_unstable();
        all.relations.dedup();
        all
    }
}

impl Walk {
    pub(super) fn new(layout: Layout, detail: Detail) -> Self {
        Self {
            layout,
            detail,
            reads: Tables::default(),
            writes: Tables::default(),
            views: HashMap::new(),
            shape: QueryShape::default(),
            ctes: Vec::new(),
            calls: HashMap::new(),
            correlated: 0,
            dynamic: Vec::new(),
            recorded: 0,
            lateral_qualifiers: None,
            unsupported_forms: Vec::new(),
            executed: false,
            uses: None,
        }
    }

    /// Records a use, if uses are requested.
    pub(super) fn used(&mut self, name: &ObjectName, table: &TableRef, access: Access) {
        let Access { writes, has_alias } = access;
        let Some(uses) = &mut self.uses else { return };
        let parts = names::parts(name).map(|part| part.value.clone()).collect();
        let is_path = table.path_format.is_some();
        uses.push(TableUse { parts, at: table.at.clone(), writes, has_alias, is_path });
    }

    /// Returns whether the shape of queries is requested, and not only the lineage.
    pub(super) fn wants_shape(&self) -> bool {
        self.detail == Detail::Shape
    }

    /// Returns the canonical text of a part of a query's shape. Printing it is more expensive than the rest of the
    /// walk, so it is left out if shapes are not requested.
    pub(super) fn canonical(&self, node: &impl Display) -> String {
        if self.wants_shape() { canonical(node) } else { String::new() }
    }

    /// Counts more recorded relations, and returns whether the limit still permits them.
    pub(super) fn record_relations(&mut self, more: usize) -> bool {
        self.recorded = self.recorded.saturating_add(more);
        self.recorded <= MAX_RELATIONS
    }

    /// Returns whether no fact was omitted because of the limit.
    pub(super) fn is_complete(&self) -> bool {
        self.recorded <= MAX_RELATIONS
    }

    pub(super) fn expr(&mut self, expr: &Expr) {
        if let Expr::Function(function) = expr {
            self.called(&function.name);
        }
        match expr {
            Expr::Function(function) if self.wants_shape() => self.function(function),
            Expr::Identifier(ident) => {
                self.name(ident);
                if self.wants_shape() {
                    self.bare_function(ident);
                }
            }
            Expr::Array(array) if !array.named => {
                self.report_unsupported(
                    Form::BracketedName,
                    array.elem.first().map_or_else(Span::empty, Spanned::span),
                );
            }
            Expr::CompoundFieldAccess { access_chain, .. } => {
                for access in access_chain {
                    if let AccessExpr::Dot(Expr::Identifier(field)) = access {
                        self.name(field);
                    }
                }
            }
            Expr::CompoundIdentifier(parts) => {
                for part in parts {
                    self.name(part);
                }
                if let (Some(lateral_qualifiers), Some(first)) = (&mut self.lateral_qualifiers, parts.first())
                {
                    lateral_qualifiers.insert(first.value.to_lowercase());
                }
            }
            _ => {}
        }
        children::of(expr, &mut |child| self.child(child));
    }

    /// Records the name of a function.
    pub(super) fn called(&mut self, name: &ObjectName) {
        if self.dynamic(name) {
            return;
        }
        let Some(single) = names::single(name).filter(|single| !self.calls.contains_key(single)) else {
            return;
        };
        let at = names::parts(name).next().map_or(0..0, |ident| span_range(ident.span));
        self.calls.insert(single, at);
    }

    /// Records a name that is only known at run time. Returns whether it is one.
    pub(super) fn dynamic(&mut self, name: &ObjectName) -> bool {
        let dynamic = names::parts(name).any(names::is_dynamic);
        if dynamic {
            self.dynamic.push(self.layout.range(name.span()));
        }
        dynamic
    }

    /// Records a name that is written as a string.
    pub(super) fn name(&mut self, ident: &Ident) {
        self.name_after(ident, 0);
    }

    /// Records a name that is written as a string. If the parser has no place for it, it is the first string after an
    /// offset.
    pub(super) fn name_after(&mut self, ident: &Ident, offset: u32) {
        let form = match ident.quote_style {
            Some('"') => Form::DoubleQuotedName,
            Some('\'') => Form::SingleQuotedName,
            _ => return,
        };
        match span_range(ident.span) {
            at if at.is_empty() => self.unsupported_forms.push(UnsupportedForm { form, at: offset..offset }),
            _ => self.report_unsupported(form, ident.span),
        }
    }

    pub(super) fn report_unsupported(&mut self, form: Form, at: Span) {
        self.unsupported_forms.push(UnsupportedForm { form, at: self.layout.range(at) });
    }

    pub(super) fn child(&mut self, child: Child<'_>) {
        match child {
            Child::Expr(expr) => self.expr(expr),
            Child::Query(query) => {
                self.correlated += 1;
                let Source { relations, .. } = self.query(query, false);
                self.correlated -= 1;
                if self.wants_shape() {
                    let at = self.layout.range(query.span());
                    self.shape.subqueries.push(Level { at, relations });
                }
            }
        }
    }

    fn function(&mut self, function: &Function) {
        let Some(name) = names::single(&function.name) else {
            return;
        };
        if function.over.is_some() {
            let text = self.call(function);
            self.shape.over.push(text);
        } else if functions::is_aggregate(&name) {
            let text = self.call(function);
            self.shape.aggregates.push(text);
        } else if matches!(name.as_str(), "window" | "session_window") {
            self.window(function, &name);
        } else {
            self.significant_call(function, &name);
        }
    }

    fn window(&mut self, function: &Function, name: &str) {
        let FunctionArguments::List(list) = &function.args else {
            return;
        };
        let mut args = list.args.iter().filter_map(children::argument);
        let (Some(column), Some(length)) = (args.next(), args.next()) else {
            return;
        };
        let kind = match args.next() {
            _ if name == "session_window" => WindowKind::Session,
            Some(slide) if !same_literal(length, slide) => WindowKind::Sliding,
            _ => WindowKind::Tumbling,
        };
        let Text { text, at } = self.call(function);
        self.shape.windows.push(EventWindow { kind, column: self.canonical(column), text, at });
    }

    fn call(&self, function: &Function) -> Text {
        Text { text: self.canonical(function), at: self.layout.call(function.name.span()) }
    }

    pub(super) fn place(&self, expr: &Expr) -> Range<u32> {
        match expr {
            Expr::Function(function) => self.layout.call(function.name.span()),
            Expr::Identifier(ident) => span_range(ident.span),
            _ => self.layout.range(expr.span()),
        }
    }

    pub(super) fn text(&self, expr: &Expr) -> Text {
        Text { text: self.canonical(expr), at: self.place(expr) }
    }
}

fn same_literal(a: &Expr, b: &Expr) -> bool {
    let literal = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text.to_lowercase()),
            _ => None,
        },
        _ => None,
    };
    literal(a).is_some_and(|a| Some(a) == literal(b))
}
