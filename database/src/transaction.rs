//! Transactions: what reads and writes in one, whatever the database.

use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::{Database, Kind, Result};

/// How many rows one statement writes at most. Both databases limit the values of a statement, SQLite to 32,766.
pub const ROWS: usize = 500;

/// A transaction. What is dropped without a commit was never there.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Any>,
    database: Database,
}

impl Database {
    /// Begins a transaction that sees one state, whatever others commit meanwhile.
    pub async fn read(&self) -> Result<Transaction> {
        self.begin(match self.kind {
            Kind::Sqlite => "BEGIN",
            Kind::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        })
        .await
    }

    /// Begins a transaction whose first statement is to be one that writes.
    pub async fn write(&self) -> Result<Transaction> {
        self.begin("BEGIN").await
    }

    /// Begins a transaction beside which no other writes: in SQLite. In PostgreSQL, what others have committed is seen
    /// by each statement.
    pub async fn write_after_reading(&self) -> Result<Transaction> {
        self.begin(match self.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        })
        .await
    }

    /// Begins a transaction beside which there is no other of this kind.
    pub async fn alone(&self) -> Result<Transaction> {
        let mut transaction = self.write_after_reading().await?;
        if self.kind == Kind::Postgres {
            // The number is of no meaning but to be dcp's own.
            transaction.run("SELECT pg_advisory_xact_lock(7233176051937)".to_owned()).await?;
        }
        Ok(transaction)
    }

    async fn begin(&self, how: &'static str) -> Result<Transaction> {
        let inner = self.pool.begin_with(how).await.map_err(|error| self.error(&error))?;
        Ok(Transaction { inner, database: self.clone() })
    }

    /// The rows of a statement by itself, which is a transaction of its own.
    pub async fn rows(&self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>> {
        query.fetch_all(&self.pool).await.map_err(|error| self.error(&error))
    }

    /// How many rows a statement by itself changed.
    pub async fn execute(&self, query: Query<'_, Any, AnyArguments>) -> Result<u64> {
        let done = query.execute(&self.pool).await.map_err(|error| self.error(&error))?;
        Ok(done.rows_affected())
    }

    /// Returns the end of a query that keeps its rows of a table from being deleted until the transaction ends. SQLite has
    /// no such clause and needs none: it has one writer at a time.
    pub fn key_share(&self, table: &str) -> String {
        match self.kind {
            Kind::Sqlite => String::new(),
            Kind::Postgres => format!(" FOR KEY SHARE OF {table}"),
        }
    }

    /// Parameters for a statement's only values, one after the other: so many rows, each with columns of these types.
    /// What goes into a table needs none (`""`), as the table's columns have theirs.
    pub fn values(&self, rows: usize, types: &[&str]) -> String {
        const WRITES: &str = "writing to a String does not fail";
        let mut text = "VALUES ".to_owned();
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ",(" });
            for (column, of) in types.iter().enumerate() {
                text.push_str(if column == 0 { "" } else { "," });
                // SQLite takes numbered ones too, but keeps their names in a list that it walks for each.
                let parameter = match self.kind {
                    Kind::Sqlite => "?".to_owned(),
                    Kind::Postgres => format!("${}", row * types.len() + column + 1),
                };
                match *of {
                    "" => text.push_str(&parameter),
                    of => write!(text, "CAST({parameter} AS {of})").expect(WRITES),
                }
            }
            text.push(')');
        }
        text
    }
}

impl Transaction {
    pub fn database(&self) -> &Database {
        &self.database
    }

    pub async fn rows(&mut self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>> {
        query.fetch_all(&mut *self.inner).await.map_err(|error| self.database.error(&error))
    }

    /// How many rows a statement changed.
    pub async fn execute(&mut self, query: Query<'_, Any, AnyArguments>) -> Result<u64> {
        let done = query.execute(&mut *self.inner).await.map_err(|error| self.database.error(&error))?;
        Ok(done.rows_affected())
    }

    /// Writes rows with one statement, at most [`ROWS`] of them, and tells how many were written.
    pub async fn insert<T>(
        &mut self,
        into: &str,
        columns: usize,
        conflict: &str,
        rows: &[T],
        bind: impl for<'q> Fn(Query<'q, Any, AnyArguments>, &'q T) -> Query<'q, Any, AnyArguments>,
    ) -> Result<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        let values = self.database.values(rows.len(), &vec![""; columns]);
        let statement = format!("INSERT INTO {into} {values} {conflict}");
        let query = sqlx::query(AssertSqlSafe(statement)).persistent(is_usual(rows.len()));
        self.execute(rows.iter().fold(query, bind)).await
    }

    pub async fn commit(self) -> Result<()> {
        let Self { inner, database } = self;
        inner.commit().await.map_err(|error| database.error(&error))
    }

    /// Statements that nothing is bound to.
    pub(crate) async fn run(&mut self, script: String) -> Result<()> {
        let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *self.inner).await;
        done.map(|_| ()).map_err(|error| self.database.error(&error))
    }
}

/// Whether a statement of so many rows will be needed again, so that it is worth to be kept ready.
pub fn is_usual(rows: usize) -> bool {
    rows <= 64 || rows == ROWS
}

/// What is looked for, from a parameter on, as a table with one column that both databases call `column1`. They look
/// each up by an index; a long list after `IN`, PostgreSQL compares with every row.
pub fn wanted_values(from: usize, count: usize) -> String {
    let values: Vec<_> = (from..count + from).map(|number| format!("(${number})")).collect();
    format!("(VALUES {}) AS wanted", values.join(","))
}
