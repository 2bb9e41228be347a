//! The facts themselves. Canonical text is lower-cased and unquoted outside string literals, so that two shapes can
//! be compared.

use std::ops::Range;

/// What a script says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// In order.
    pub statements: Vec<StatementFacts>,
    /// The tables read that the script does not define itself, each once, at its first place.
    pub reads: Vec<TableRef>,
    /// The tables and paths written, each once, at its first place.
    pub writes: Vec<TableRef>,
    /// The named parameters, `:name`.
    pub parameters: Vec<Parameter>,
    /// What can be read and Spark up to 4.1 refuses.
    pub refused: Vec<Refused>,
    /// The functions called by a name without a database, that the script does not declare itself, each once, at its
    /// first place. None where the script changes its database by `USE`.
    pub calls: Vec<Call>,
    /// The places of names and texts that are only known when the script runs. Where there are any, `reads` and
    /// `writes` may be incomplete, and no statement has its shape.
    pub late: Vec<Range<u32>>,
}

/// A function and where it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Lower-cased.
    pub name: String,
    pub at: Range<u32>,
}

/// A form of other dialects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub form: Form,
    pub at: Range<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `"a"` as a name, which is a string unless `spark.sql.ansi.doubleQuotedIdentifiers` is set.
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

/// A table, or with `path_format` a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRef {
    /// Without backticks, in the case it was written.
    pub name: String,
    pub at: Range<u32>,
    /// `parquet` for ``parquet.`s3://bucket/path` ``; `name` is the path then. Empty for a directory without a
    /// format.
    pub path_format: Option<String>,
}

/// A named parameter and all its places, without the colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub at: Vec<Range<u32>>,
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementFacts {
    pub at: Range<u32>,
    pub kind: StatementKind,
    /// Of the query itself, or of the one inside an insert, a view or a table made from a query; where it is
    /// [wanted](super::Detail::Shape).
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

/// The shape of a query, CTEs and temporary views of the script included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryShape {
    /// Every base relation at any depth, once for each time it is named.
    pub relations: Vec<Relation>,
    pub joins: Vec<Join>,
    /// The grouping expressions of every aggregating level. An ordinal or an alias stands for its expression.
    pub group_by: Vec<Text>,
    /// Calls of Spark's aggregate functions without `OVER`.
    pub aggregates: Vec<Text>,
    /// Event-time windows.
    pub windows: Vec<EventWindow>,
    /// `SELECT DISTINCT` or a `UNION` that removes duplicates, at any depth.
    pub distinct: Option<Range<u32>>,
    /// Analytic functions with `OVER`.
    pub over: Vec<Text>,
    /// The outermost one, or the first at any depth.
    pub order_by: Option<Range<u32>>,
    /// The outermost one, or the first at any depth.
    pub limit: Option<Range<u32>>,
    pub set_operations: Vec<SetOperation>,
    /// The conjuncts of every `WHERE` and `HAVING`.
    pub filters: Vec<String>,
    /// The output columns of the outermost select (of the first, where selects are united).
    pub columns: Vec<Column>,
    /// What is certainly a column of a base relation, at the outermost select only.
    pub column_refs: Vec<ColumnRef>,
    /// Aggregation over the result of an aggregation.
    pub nested_aggregation: bool,
    /// Subqueries in expressions.
    pub subqueries: Vec<Level>,
    /// What else a stream may not have, or not with every trigger.
    pub clauses: Vec<Clause>,
    /// What plain columns and calls are named anew, at any depth.
    pub aliases: Vec<Alias>,
    /// Every query at any depth, by which something of the lists above is found to belong to one.
    pub levels: Vec<Level>,
    pub pivots: Vec<Pivot>,
    /// Every `LATERAL` subquery, with the relations outside of it whose columns it names by their qualifier.
    pub laterals: Vec<Level>,
    /// Whether a pipe operator `|>` stands in it: `columns` and `column_refs` may be incomplete.
    pub piped: bool,
}

/// A `PIVOT`. It groups by all columns of its input that its aggregates and its `FOR` do not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pivot {
    /// The place of the word `PIVOT`.
    pub at: Range<u32>,
    /// The aggregates, each as the name of a function and the column it is applied to, where it is one. Lower-cased.
    pub calls: Vec<(String, Option<String>)>,
    /// The columns of its input, lower-cased; `*` stands for all columns of a relation.
    pub input: Vec<String>,
    /// The columns that it names, lower-cased.
    pub used: Vec<String>,
}

/// A query, and all that it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    pub at: Range<u32>,
    /// Indices into [`QueryShape::relations`].
    pub relations: Vec<usize>,
}

impl QueryShape {
    /// The innermost query that a place stands in; nothing where that is not known.
    pub fn level_at(&self, place: &Range<u32>) -> Option<&Level> {
        let around = self.levels.iter().filter(|level| level.at.contains(&place.start));
        around.min_by_key(|level| level.at.end - level.at.start)
    }

    /// What that query reads.
    pub fn relations_at(&self, place: &Range<u32>) -> Option<&[usize]> {
        self.level_at(place).map(|level| level.relations.as_slice())
    }
}

/// Two queries made one; the sides as those of a [`Join`], where they are not too many to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetOperation {
    /// `union`, `union all`, `intersect`, `except`, …
    pub text: &'static str,
    pub left: Option<Vec<usize>>,
    pub right: Option<Vec<usize>>,
    pub at: Range<u32>,
}

/// A part of a query that says all by being there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    pub kind: ClauseKind,
    pub at: Range<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClauseKind {
    Offset,
    /// `TABLESAMPLE`, of a share of the rows. Its place begins with what it is taken of.
    Sample,
    /// `TABLESAMPLE (n ROWS)`, which is a limit.
    SampleRows,
    /// A function that makes several rows of one.
    Generator,
    /// A function that tells the time.
    CurrentTime,
    With,
    /// `DISTRIBUTE BY` or `CLUSTER BY`.
    Spread,
}

/// A name and the canonical text that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// As [`TableRef::name`].
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
    /// Canonical condition; empty for a comma or a cross join, `using (a, b)`, or `natural`.
    pub on: String,
    /// Left and right expression of every equality between the two sides.
    pub equi_keys: Vec<(String, String)>,
    /// What the condition bounds, if it is of the form that Spark follows.
    pub bounds: Vec<Bound>,
    pub at: Range<u32>,
}

/// `lesser <= greater`, give or take a constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub lesser: Operand,
    pub greater: Operand,
}

/// A column in the condition of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// Without what qualifies it, lower-cased.
    pub column: String,
    /// The side it belongs to, where its qualifier says so.
    pub side: Option<Side>,
    /// The base relation it belongs to, where it is one and its qualifier says so.
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
    /// Canonical text of the time column.
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
    /// The alias or the plain column's name, where there is one.
    pub name: Option<String>,
    /// Canonical, without the alias; `*` for a wildcard.
    pub text: String,
    pub at: Range<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRef {
    pub qualifier: Option<String>,
    pub name: String,
    /// Index into [`QueryShape::relations`], where there is only one it can belong to.
    pub relation: Option<usize>,
    pub at: Range<u32>,
}
