//! The walk over the tree: relations and expressions.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use sqlparser::ast::{
    Expr, Function, FunctionArguments, ObjectName, Spanned, TableAlias, TableFactor, Value,
};

use super::canonical::canonical;
use super::children::{self, Child};
use super::facts::{EventWindow, QueryShape, Relation, TableRef, Text, WindowKind};
use super::layout::{Layout, plain};
use super::{functions, names};

/// What a script has defined so far, and what it touches.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) layout: Layout,
    pub(super) reads: Tables,
    pub(super) writes: Tables,
    /// Temporary views of earlier statements, by lower-cased name.
    pub(super) views: HashMap<String, View>,
    /// The shape of the statement at hand.
    pub(super) shape: QueryShape,
    /// CTEs in scope, the innermost last, by lower-cased name.
    pub(super) ctes: Vec<(String, Source)>,
    /// How many relations of views and of joins' sides are noted.
    noted: usize,
}

/// Views of views, and joins of joins, can make little text into very much.
const MOST: usize = 100_000;

/// Tables, each once, at its first place.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) list: Vec<TableRef>,
    seen: HashSet<String>,
}

impl Tables {
    pub(super) fn add(&mut self, table: TableRef) {
        // The case of a path counts, that of a name does not.
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
    fn size(&self) -> usize {
        let QueryShape {
            relations,
            joins,
            filters,
            group_by,
            aggregates,
            ..
        } = &self.shape;
        let sides = joins.iter().map(|it| it.left.len() + it.right.len());
        let texts = relations.len() + filters.len() + group_by.len() + aggregates.len();
        texts + sides.sum::<usize>()
    }
}

/// What rows come from.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    /// Indices of the base relations.
    pub(super) relations: Vec<usize>,
    pub(super) aggregated: bool,
}

impl Source {
    /// All of them in one.
    pub(super) fn of<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Self {
        let mut all = Self::default();
        for source in sources {
            all.relations.extend(&source.relations);
            all.aggregated |= source.aggregated;
        }
        // A CTE may be named often.
        all.relations.sort_unstable();
        all.relations.dedup();
        all
    }
}

/// A source as a `FROM` clause names it.
#[derive(Debug)]
pub(super) struct Item {
    /// What qualifies its columns, lower-cased.
    pub(super) qualifier: Option<String>,
    /// The relation, if it is a base relation and nothing else.
    pub(super) base: Option<usize>,
    pub(super) source: Source,
}

impl Item {
    fn new(alias: Option<&TableAlias>, source: Source) -> Self {
        Self {
            qualifier: alias.map(|alias| alias.name.value.to_lowercase()),
            base: None,
            source,
        }
    }
}

impl Walk {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            reads: Tables::default(),
            writes: Tables::default(),
            views: HashMap::new(),
            shape: QueryShape::default(),
            ctes: Vec::new(),
            noted: 0,
        }
    }

    /// Whether there is room to note so much more.
    pub(super) fn room_for(&mut self, more: usize) -> bool {
        self.noted = self.noted.saturating_add(more);
        self.noted <= MOST
    }

    /// Whether everything is noted that there was.
    pub(super) fn is_complete(&self) -> bool {
        self.noted <= MOST
    }

    pub(super) fn factor(&mut self, factor: &TableFactor) -> Vec<Item> {
        match factor {
            TableFactor::Table {
                name, alias, args, ..
            } => match args {
                None => vec![self.named(name, alias.as_ref())],
                Some(args) => {
                    for expr in args.args.iter().filter_map(children::argument) {
                        self.expr(expr);
                    }
                    vec![Item::new(alias.as_ref(), Source::default())]
                }
            },
            TableFactor::Derived { subquery, alias, .. } => {
                let source = self.query(subquery, false);
                vec![Item::new(alias.as_ref(), source)]
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                let items = self.joined(table_with_joins, None);
                match alias {
                    None => items,
                    Some(alias) => vec![merged(Some(alias), &items)],
                }
            }
            TableFactor::Pivot {
                table,
                aggregate_functions,
                alias,
                ..
            } => {
                let mut item = merged(alias.as_ref(), &self.factor(table));
                for aggregate in aggregate_functions {
                    self.expr(&aggregate.expr);
                }
                self.shape.nested_aggregation |= item.source.aggregated;
                item.source.aggregated = true;
                vec![item]
            }
            TableFactor::Unpivot { table, alias, .. } => {
                vec![merged(alias.as_ref(), &self.factor(table))]
            }
            TableFactor::Function { args, alias, .. } => {
                for expr in args.iter().filter_map(children::argument) {
                    self.expr(expr);
                }
                vec![Item::new(alias.as_ref(), Source::default())]
            }
            TableFactor::TableFunction { expr, alias } => {
                self.expr(expr);
                vec![Item::new(alias.as_ref(), Source::default())]
            }
            TableFactor::UNNEST {
                array_exprs, alias, ..
            } => {
                for expr in array_exprs {
                    self.expr(expr);
                }
                vec![Item::new(alias.as_ref(), Source::default())]
            }
            _ => vec![Item::new(None, Source::default())],
        }
    }

    fn named(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Item {
        let qualifier = match alias {
            Some(alias) => Some(alias.name.value.to_lowercase()),
            None => names::last(name),
        };
        if let Some(single) = names::single(name) {
            if let Some((_, source)) = self.ctes.iter().rev().find(|(cte, _)| *cte == single) {
                let source = source.clone();
                return Item {
                    qualifier,
                    base: None,
                    source,
                };
            }
            if let Some(source) = self.view(&single) {
                return Item {
                    qualifier,
                    base: None,
                    source,
                };
            }
        }
        let index = self.relation(name, alias);
        Item {
            qualifier,
            base: Some(index),
            source: Source {
                relations: vec![index],
                aggregated: false,
            },
        }
    }

    fn relation(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> usize {
        let table = names::table(name);
        self.shape.relations.push(Relation {
            name: table.name.clone(),
            alias: alias.map(|alias| alias.name.value.clone()),
            at: table.at.clone(),
        });
        self.reads.add(table);
        self.shape.relations.len() - 1
    }

    /// A temporary view counts as if its query stood where it is named.
    fn view(&mut self, name: &str) -> Option<Source> {
        let size = self.views.get(name)?.size();
        let room = self.room_for(size);
        let view = self.views.get(name)?;
        if !room {
            return Some(Source::default());
        }
        let first = self.shape.relations.len();
        append(&mut self.shape, &view.shape);
        Some(Source {
            relations: (first..self.shape.relations.len()).collect(),
            aggregated: view.aggregated,
        })
    }

    pub(super) fn expr(&mut self, expr: &Expr) {
        if let Expr::Function(function) = expr {
            self.function(function);
        }
        children::of(expr, &mut |child| self.child(child));
    }

    pub(super) fn child(&mut self, child: Child<'_>) {
        match child {
            Child::Expr(expr) => self.expr(expr),
            Child::Query(query) => {
                self.shape.subquery = true;
                self.query(query, false);
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
        self.shape.windows.push(EventWindow {
            kind,
            column: canonical(column),
            text,
            at,
        });
    }

    fn call(&self, function: &Function) -> Text {
        Text {
            text: canonical(function),
            at: self.layout.call(function.name.span()),
        }
    }

    pub(super) fn place(&self, expr: &Expr) -> Range<u32> {
        match expr {
            Expr::Function(function) => self.layout.call(function.name.span()),
            Expr::Identifier(ident) => plain(ident.span),
            _ => self.layout.range(expr.span()),
        }
    }

    pub(super) fn text(&self, expr: &Expr) -> Text {
        Text {
            text: canonical(expr),
            at: self.place(expr),
        }
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

/// Adds what is inside another shape. Its order, limit, columns and references stay its own.
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
        subquery,
    } = other;
    let first = shape.relations.len();
    shape.relations.extend_from_slice(relations);
    shape.joins.extend(joins.iter().cloned().map(|mut join| {
        for index in join.left.iter_mut().chain(&mut join.right) {
            *index += first;
        }
        join
    }));
    shape.group_by.extend_from_slice(group_by);
    shape.aggregates.extend_from_slice(aggregates);
    shape.windows.extend_from_slice(windows);
    shape.over.extend_from_slice(over);
    shape.set_operations.extend_from_slice(set_operations);
    shape.filters.extend_from_slice(filters);
    shape.distinct = shape.distinct.take().or_else(|| distinct.clone());
    shape.order_by = shape.order_by.take().or_else(|| order_by.clone());
    shape.limit = shape.limit.take().or_else(|| limit.clone());
    shape.nested_aggregation |= nested_aggregation;
    shape.subquery |= subquery;
}
