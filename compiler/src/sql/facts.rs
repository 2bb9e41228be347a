//! The data types of the facts. Canonical text is in lower case and unquoted outside string literals, so that two
//! shapes can be compared.

use std::ops::Range;

/// The facts of a script.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// In source order.
    pub statements: Vec<StatementFacts>,
    /// The tables that the script reads and does not define itself. Each has the place of its first use.
    pub reads: Vec<TableRef>,
    /// The tables and paths that the script writes. Each has the place of its first use.
    pub writes: Vec<TableRef>,
    /// The named parameters, `:name`.
    pub parameters: Vec<Parameter>,
    /// Forms that this parser reads, and Spark up to version 4.1 rejects.
    pub unsupported_forms: Vec<UnsupportedForm>,
    /// The functions that are called by a name without a database, and that the script does not declare itself. Each
    /// has the place of its first call. Empty if the script changes its database with `USE`.
    pub calls: Vec<Call>,
    /// The places of names and texts that are only known at run time. If there are any, `reads` and `writes` may be
    /// incomplete, and no statement has a shape.
    pub dynamic: Vec<Range<u32>>,
}

/// A function and the place of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// In lower case.
    pub name: String,
    pub at: Range<u32>,
}

/// A form of another dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedForm {
    pub form: Form,
    pub at: Range<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `"a"` as a name. It is a string unless `spark.sql.ansi.doubleQuotedIdentifiers` is set.
    DoubleQuotedName,
    /// `'a'` as a name.
    SingleQuotedName,
    /// `[a]`.
    BracketedName,
    Top,
    Fetch,
    Qualify,
    /// `UPDATE … FROM`.
    UpdateFrom,
    /// `DELETE … USING`.
    DeleteUsing,
    /// `LIMIT 1, 2`.
    LimitWithComma,
    /// `FOR UPDATE`.
    Lock,
    /// `SELECT … INTO`.
    SelectInto,
    /// A selected column that is neither grouped nor aggregated.
    Ungrouped,
}

/// A table, or a path if `path_format` is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRef {
    /// Without backticks, in the original case.
    pub name: String,
    pub at: Range<u32>,
    /// `parquet` for ``parquet.`s3://bucket/path` ``; `name` is then the path. Empty for a directory without a
    /// format.
    pub path_format: Option<String>,
}

/// A use of a table in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUse {
    /// The parts of the name, without backticks.
    pub parts: Vec<String>,
    pub at: Range<u32>,
    /// Whether the statement writes, creates, changes or drops it.
    pub writes: bool,
    pub has_alias: bool,
    /// Whether it is the path of files, such as ``parquet.`/path` ``.
    pub is_path: bool,
}

/// A named parameter and all its places, without the colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub at: Vec<Range<u32>>,
}

/// A statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementFacts {
    pub at: Range<u32>,
    pub kind: StatementKind,
    /// The shape of the query, or of the query inside an insert, a view or a table, if it was
    /// [requested](super::Detail::Shape).
    pub query: Option<QueryShape>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    Query,
    Insert,
    CreateTableAs,
    Merge,
    Update,
    Delete,
    CreateView { temporary: bool },
    Set,
    Ddl,
    Other,
}

/// The shape of a query, including CTEs and temporary views of the script.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryShape {
    /// All base relations at any depth, once for each use.
    pub relations: Vec<Relation>,
    pub joins: Vec<Join>,
    /// The grouping expressions of all aggregating levels. Ordinals and aliases are replaced by their expressions.
    pub group_by: Vec<Text>,
    /// Calls of Spark's aggregate functions without `OVER`.
    pub aggregates: Vec<Text>,
    /// Event-time windows.
    pub windows: Vec<EventWindow>,
    /// The place of a `SELECT DISTINCT`, or of a `UNION` that removes duplicates, at any depth.
    pub distinct: Option<Range<u32>>,
    /// Analytic functions with `OVER`.
    pub over: Vec<Text>,
    /// The outermost one, or the first at any depth.
    pub order_by: Option<Range<u32>>,
    /// The outermost one, or the first at any depth.
    pub limit: Option<Range<u32>>,
    pub set_operations: Vec<SetOperation>,
    /// The conjuncts of all `WHERE` and `HAVING` clauses.
    pub filters: Vec<String>,
    /// The output columns of the outermost select, or of the first one in a set operation.
    pub columns: Vec<Column>,
    /// References that are certainly columns of a base relation, in the outermost select only.
    pub column_refs: Vec<ColumnRef>,
    /// Aggregation over the result of an aggregation.
    pub nested_aggregation: bool,
    /// Subqueries in expressions.
    pub subqueries: Vec<Level>,
    /// Other clauses that streams can't have, or not with every trigger.
    pub clauses: Vec<Clause>,
    /// Aliases of plain columns and calls, at any depth.
    pub aliases: Vec<Alias>,
    /// All queries at any depth, by which entries of the other lists are assigned to a query.
    pub levels: Vec<Level>,
    pub pivots: Vec<Pivot>,
    /// All `LATERAL` subqueries, with the outer relations whose columns they use with a qualifier.
    pub laterals: Vec<Level>,
    /// Set if the query has a pipe operator `|>`. `columns` and `column_refs` may then be incomplete.
    pub piped: bool,
}

/// A `PIVOT`. It groups by all columns of its input that neither its aggregates nor its `FOR` use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pivot {
    /// The place of the word `PIVOT`.
    pub at: Range<u32>,
    /// The aggregates: the name of the function, and its column if its argument is one. In lower case.
    pub calls: Vec<(String, Option<String>)>,
    /// The columns of its input, in lower case; `*` stands for all columns of a relation.
    pub input: Vec<String>,
    /// The columns that it uses, in lower case.
    pub used: Vec<String>,
}

/// A query, and the relations that it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    pub at: Range<u32>,
    /// Indices into [`QueryShape::relations`].
    pub relations: Vec<usize>,
}

impl QueryShape {
    /// Returns the innermost query that contains a place, if it is known.
    pub fn level_at(&self, place: &Range<u32>) -> Option<&Level> {
        let around = self.levels.iter().filter(|level| level.at.contains(&place.start));
        around.min_by_key(|level| level.at.end - level.at.start)
    }

    /// Returns the relations that this query reads.
    pub fn relations_at(&self, place: &Range<u32>) -> Option<&[usize]> {
        self.level_at(place).map(|level| level.relations.as_slice())
    }
}

/// A set operation. Its sides are like those of a [`Join`], or `None` if they have too many relations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetOperation {
    /// `union`, `union all`, `intersect`, `except`, …
    pub text: &'static str,
    pub left: Option<Vec<usize>>,
    pub right: Option<Vec<usize>>,
    pub at: Range<u32>,
}

/// A part of a query that matters by its presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    pub kind: ClauseKind,
    pub at: Range<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClauseKind {
    Offset,
    /// `TABLESAMPLE` of a share of the rows. Its place begins with the sampled table.
    Sample,
    /// `TABLESAMPLE (n ROWS)`, which is a limit.
    SampleRows,
    /// A function that creates several rows from one.
    Generator,
    /// A function that returns the current time.
    CurrentTime,
    With,
    /// `DISTRIBUTE BY` or `CLUSTER BY`.
    DistributeBy,
}

/// An alias and the canonical text of its expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The name, as in [`TableRef::name`].
    pub name: String,
    pub alias: Option<String>,
    pub at: Range<u32>,
}

/// A join of two sides, each a list of indices into [`QueryShape::relations`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    pub kind: JoinKind,
    pub left: Vec<usize>,
    pub right: Vec<usize>,
    /// The canonical condition; empty for a comma or a cross join, `using (a, b)`, or `natural`.
    pub on: String,
    /// The left and the right expression of every equality between the two sides.
    pub equi_keys: Vec<(String, String)>,
    /// The bounds of the condition, if it has the form that Spark follows.
    pub bounds: Vec<Bound>,
    pub at: Range<u32>,
}

/// `lesser <= greater`, up to a constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub lesser: Operand,
    pub greater: Operand,
}

/// A column in the condition of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// The name without its qualifier, in lower case.
    pub column: String,
    /// The side of the column, if its qualifier determines it.
    pub side: Option<Side>,
    /// The base relation of the column, if its qualifier determines it.
    pub relation: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    Semi,
    Anti,
    Cross,
}

/// Canonical text and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub at: Range<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventWindow {
    pub kind: WindowKind,
    /// The canonical text of the time column.
    pub column: String,
    pub text: String,
    pub at: Range<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    Tumbling,
    Sliding,
    Session,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The alias, or the name of a plain column.
    pub name: Option<String>,
    /// The canonical text without the alias; `*` for a wildcard.
    pub text: String,
    pub at: Range<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRef {
    pub qualifier: Option<String>,
    pub name: String,
    /// The index in [`QueryShape::relations`], if only one relation is possible.
    pub relation: Option<usize>,
    pub at: Range<u32>,
}
