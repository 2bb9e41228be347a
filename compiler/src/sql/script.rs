//! Statements, with the tables that they read and write.

use std::collections::HashMap;
use std::ops::Range;

use sqlparser::ast::{
    Assignment, CreateTable, CreateTableLikeKind, CreateView, Delete, Expr, FromTable, Insert, Merge,
    MergeAction, MergeInsertKind, MergeUpdateKind, ObjectName, Query, SetExpr, Spanned, Statement,
    TableFactor, TableObject, TableWithJoins, Truncate, Update, UpdateTableFromKind,
};
use sqlparser::tokenizer::Span;

use super::facts::{Call, Facts, Form, QueryShape, StatementFacts, StatementKind, TableRef, UnsupportedForm};
use super::layout::Layout;
use super::walk::{Access, View, Walk};
use super::{Detail, Parsed, names};

/// Returns the facts of a script, or `None` if they exceed the limit.
pub(super) fn facts(parsed: Parsed, detail: Detail) -> Option<Facts> {
    let Parsed { statements, layout, block } = parsed;
    let mut walk = Walk::new(layout, detail);
    let mut found = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        walk.shape = QueryShape::default();
        let kind = walk.statement(statement);
        let shape = std::mem::take(&mut walk.shape);
        let query = (walk.wants_shape() && has_query(statement)).then_some(shape);
        // A block is one statement.
        if block.is_some_and(|first| index >= first) {
            continue;
        }
        let spoken = &walk.layout.statements;
        let at = match spoken.get(index) {
            Some(at) if block.is_some() || spoken.len() == statements.len() => at.clone(),
            _ => walk.layout.range(statement.span()),
        };
        found.push(StatementFacts { at, kind, query });
    }
    if let Some(first) = block {
        let start = walk.layout.statements.get(first).map_or(0, |at| at.start);
        let at = start..walk.layout.whole().end.max(start);
        found.push(StatementFacts { at, kind: StatementKind::Other, query: None });
    }
    if !walk.is_complete() {
        return None;
    }
    if !walk.dynamic.is_empty() {
        // The unknown parts may be an aggregate or a stream.
        for statement in &mut found {
            statement.query = None;
        }
    }
    Some(Facts {
        statements: found,
        calls: calls(walk.calls, &walk.layout),
        unsupported_forms: unsupported_forms(walk.unsupported_forms, &walk.layout),
        reads: walk.reads.list,
        writes: walk.writes.list,
        parameters: walk.layout.parameters,
        dynamic: walk.dynamic,
    })
}

/// Returns the functions that a script does not declare itself, in source order. If it changes its database, there
/// are none.
fn calls(calls: HashMap<String, Range<u32>>, layout: &Layout) -> Vec<Call> {
    let others = calls.into_iter().filter(|(name, _)| !layout.has_use && !layout.functions.contains(name));
    let mut calls: Vec<Call> = others.map(|(name, at)| Call { name, at }).collect();
    calls.sort_by(|a, b| (a.at.start, &a.name).cmp(&(b.at.start, &b.name)));
    calls
}

fn unsupported_forms(mut unsupported_forms: Vec<UnsupportedForm>, layout: &Layout) -> Vec<UnsupportedForm> {
    // A variable looks like a column, and it is unknown whether a function of the script is an aggregate.
    if layout.has_variables || !layout.functions.is_empty() {
        unsupported_forms.retain(|it| it.form != Form::Ungrouped);
    }
    // The expression of an alias may be walked twice.
    unsupported_forms.sort_by_key(|it| (it.at.start, it.at.end));
    unsupported_forms.dedup();
    unsupported_forms
}

fn has_query(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => match query.body.as_ref() {
            SetExpr::Insert(inner)
            | SetExpr::Update(inner)
            | SetExpr::Delete(inner)
            | SetExpr::Merge(inner) => has_query(inner),
            _ => true,
        },
        Statement::Insert(insert) => insert.source.is_some(),
        Statement::CreateTable(create) => create.query.is_some(),
        Statement::CreateView(_) | Statement::Directory { .. } => true,
        Statement::Cache { query, .. } => query.is_some(),
        _ => false,
    }
}

impl Walk {
    pub(super) fn statement(&mut self, statement: &Statement) -> StatementKind {
        match statement {
            Statement::Query(query) => {
                self.query(query, true);
                query_kind(query)
            }
            Statement::Insert(insert) => self.insert(insert),
            Statement::Directory { path, file_format, source, .. } => {
                let format = file_format.map(|it| it.to_string().to_lowercase());
                self.write_path(path.clone(), format.unwrap_or_default());
                self.query(source, true);
                StatementKind::Insert
            }
            Statement::CreateTable(create) => self.create_table(create),
            Statement::CreateView(view) => self.create_view(view),
            Statement::Cache { table_name, query, .. } => {
                self.cache(table_name, query.as_deref());
                StatementKind::Other
            }
            Statement::Merge(merge) => self.merge(merge),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Truncate(truncate) => self.truncate(truncate),
            Statement::LoadData { table_name, .. } => {
                self.write(table_name);
                StatementKind::Insert
            }
            Statement::Explain { statement, .. } => {
                self.explained(statement);
                StatementKind::Other
            }
            Statement::Set(_) | Statement::Reset(_) => StatementKind::Set,
            Statement::Execute { parameters, using, .. } => {
                self.executed(parameters, using);
                StatementKind::Other
            }
            other if is_ddl(other) => StatementKind::Ddl,
            _ => StatementKind::Other,
        }
    }

    fn create_table(&mut self, create: &CreateTable) -> StatementKind {
        let Some(query) = &create.query else {
            self.like(create.like.as_ref());
            return StatementKind::Ddl;
        };
        self.write(&create.name);
        self.query(query, true);
        StatementKind::CreateTableAs
    }

    fn create_view(&mut self, view: &CreateView) -> StatementKind {
        let source = self.query(&view.query, true);
        if view.temporary {
            self.define(&view.name, source.aggregated);
        }
        StatementKind::CreateView { temporary: view.temporary }
    }

    fn cache(&mut self, table: &ObjectName, query: Option<&Query>) {
        match query {
            Some(query) => {
                let source = self.query(query, true);
                self.define(table, source.aggregated);
            }
            None => self.read(table),
        }
    }

    fn truncate(&mut self, truncate: &Truncate) -> StatementKind {
        for target in &truncate.table_names {
            self.write(&target.name);
        }
        StatementKind::Ddl
    }

    /// Walks an explained statement, which reads and doesn't write.
    fn explained(&mut self, statement: &Statement) {
        let writes = std::mem::take(&mut self.writes);
        self.statement(statement);
        self.writes = writes;
    }

    fn insert(&mut self, insert: &Insert) -> StatementKind {
        match &insert.table {
            TableObject::TableName(name) => self.write(name),
            TableObject::TableFunction(function) => {
                let at = self.layout.call(function.name.span());
                self.dynamic.push(at);
            }
            TableObject::TableQuery(query) => {
                self.query(query, false);
            }
        }
        if let Some(source) = &insert.source {
            self.query(source, true);
        }
        StatementKind::Insert
    }

    fn merge(&mut self, merge: &Merge) -> StatementKind {
        self.target(&merge.table);
        self.factor(&merge.source);
        self.expr(&merge.on);
        for clause in &merge.clauses {
            if let Some(predicate) = &clause.predicate {
                self.expr(predicate);
            }
            self.action(&clause.action);
        }
        StatementKind::Merge
    }

    fn action(&mut self, action: &MergeAction) {
        match action {
            MergeAction::Insert(insert) => {
                if let MergeInsertKind::Values(values) = &insert.kind {
                    for expr in values.rows.iter().flat_map(|row| &row.content) {
                        self.expr(expr);
                    }
                }
            }
            MergeAction::Update(update) => {
                if let MergeUpdateKind::Set(assignments) = &update.kind {
                    self.assignments(assignments);
                }
            }
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => {}
        }
    }

    fn update(&mut self, update: &Update) -> StatementKind {
        self.target(&update.table.relation);
        self.assignments(&update.assignments);
        if update.from.is_some() {
            self.report_unsupported(Form::UpdateFrom, update.table.relation.span());
        }
        match &update.from {
            Some(UpdateTableFromKind::BeforeSet(tables) | UpdateTableFromKind::AfterSet(tables)) => {
                self.tables(tables);
            }
            None => {}
        }
        self.condition(update.selection.as_ref());
        StatementKind::Update
    }

    fn delete(&mut self, delete: &Delete) -> StatementKind {
        let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
        for table in tables {
            self.target(&table.relation);
        }
        if delete.using.is_some() {
            let at = tables.first().map_or_else(Span::empty, |table| table.relation.span());
            self.report_unsupported(Form::DeleteUsing, at);
        }
        self.tables(delete.using.as_deref().unwrap_or_default());
        self.condition(delete.selection.as_ref());
        StatementKind::Delete
    }

    fn tables(&mut self, tables: &[TableWithJoins]) {
        for table in tables {
            self.joined(table, None);
        }
    }

    fn assignments(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            self.expr(&assignment.value);
        }
    }

    fn condition(&mut self, condition: Option<&Expr>) {
        if let Some(condition) = condition {
            self.expr(condition);
        }
    }

    fn target(&mut self, target: &TableFactor) {
        if let TableFactor::Table { name, alias, .. } = target {
            self.write_aliased(name, alias.is_some());
        }
    }

    fn like(&mut self, like: Option<&CreateTableLikeKind>) {
        if let Some(CreateTableLikeKind::Plain(like) | CreateTableLikeKind::Parenthesized(like)) = like {
            self.read(&like.name);
        }
    }

    fn read(&mut self, name: &ObjectName) {
        let defined = names::single(name).is_some_and(|name| self.views.contains_key(&name));
        if !defined && let Some(table) = self.table(name) {
            self.used(name, &table, Access { writes: false, has_alias: false });
            self.reads.add(table);
        }
    }

    fn write(&mut self, name: &ObjectName) {
        self.write_aliased(name, false);
    }

    fn write_aliased(&mut self, name: &ObjectName, has_alias: bool) {
        if let Some(table) = self.table(name) {
            self.used(name, &table, Access { writes: true, has_alias });
            self.writes.add(table);
        }
    }

    /// Records the table or view that a statement defines without rows of its own, if uses are requested.
    pub(super) fn define_target(&mut self, name: &ObjectName) {
        if let Some(table) = self.table(name) {
            self.used(name, &table, Access { writes: true, has_alias: false });
        }
    }

    /// Records an output path. The parser has no place for it.
    fn write_path(&mut self, name: String, format: String) {
        let table = TableRef { name, at: 0..0, path_format: Some(format) };
        self.writes.add(table);
    }

    fn define(&mut self, name: &ObjectName, aggregated: bool) {
        if let Some(name) = names::single(name) {
            // Places in an executed text are not places in this one.
            let shape = if self.executed { QueryShape::default() } else { self.shape.clone() };
            self.views.insert(name, View { shape, aggregated });
        }
    }
}

/// Returns what a statement defines and the lineage leaves out: a view that is not temporary, or a table without a query.
pub(super) fn defined(statement: &Statement) -> Option<&ObjectName> {
    match statement {
        Statement::CreateView(view) if !view.temporary => Some(&view.name),
        Statement::CreateTable(create) if create.query.is_none() => Some(&create.name),
        _ => None,
    }
}

fn query_kind(query: &Query) -> StatementKind {
    match query.body.as_ref() {
        SetExpr::Insert(_) => StatementKind::Insert,
        SetExpr::Update(_) => StatementKind::Update,
        SetExpr::Delete(_) => StatementKind::Delete,
        SetExpr::Merge(_) => StatementKind::Merge,
        _ => StatementKind::Query,
    }
}

fn is_ddl(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::AlterTable(_)
            | Statement::AlterView { .. }
            | Statement::AlterSchema(_)
            | Statement::Drop { .. }
            | Statement::DropFunction(_)
            | Statement::CreateSchema { .. }
            | Statement::CreateDatabase { .. }
            | Statement::CreateFunction(_)
            | Statement::Comment { .. }
            | Statement::Msck(_)
            | Statement::RenameTable(_)
    )
}
