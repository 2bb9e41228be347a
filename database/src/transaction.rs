//! Transactions, and statements with many values.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::{Database, Kind, Result};

/// Maximum number of rows that one statement writes. Both databases limit the values of a statement, SQLite to
/// 32,766.
pub const MAX_ROWS: usize = 500;

/// A transaction. Dropping it without a commit rolls it back.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Any>,
    database: Database,
}

impl Database {
    /// Begins a transaction that reads one snapshot.
    pub async fn read(&self) -> Result<Transaction> {
        self.begin(match self.kind {
            Kind::Sqlite => "BEGIN",
            Kind::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        })
        .await
    }

    /// Begins a transaction whose first statement writes.
    pub async fn write(&self) -> Result<Transaction> {
        self.begin("BEGIN").await
    }

    /// Begins a transaction that reads before it writes. In SQLite, it is the only writer. In PostgreSQL, each
    /// statement sees the commits of others.
    pub async fn write_after_reading(&self) -> Result<Transaction> {
        self.begin(match self.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        })
        .await
    }

    /// Begins a transaction that excludes all others of this kind.
    pub async fn exclusive(&self) -> Result<Transaction> {
        let mut transaction = self.write_after_reading().await?;
        if self.kind == Kind::Postgres {
            // An arbitrary number that identifies dcp.
            transaction.run("SELECT pg_advisory_xact_lock(7233176051937)".to_owned()).await?;
        }
        Ok(transaction)
    }

    async fn begin(&self, how: &'static str) -> Result<Transaction> {
        let inner = self.pool.begin_with(how).await.map_err(|error| self.error(&error))?;
        Ok(Transaction { inner, database: self.clone() })
    }

    /// Returns the rows of a single statement, which is a transaction of its own.
    pub async fn rows(&self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>> {
        query.fetch_all(&self.pool).await.map_err(|error| self.error(&error))
    }

    /// Returns the number of rows that a single statement changed.
    pub async fn execute(&self, query: Query<'_, Any, AnyArguments>) -> Result<u64> {
        let done = query.execute(&self.pool).await.map_err(|error| self.error(&error))?;
        Ok(done.rows_affected())
    }

    /// Returns the end of a query that prevents its rows of a table from being deleted until the transaction ends.
    /// SQLite has no such clause and needs none, as it has one writer at a time.
    pub fn key_share(&self, table: &str) -> String {
        match self.kind {
            Kind::Sqlite => String::new(),
            Kind::Postgres => format!(" FOR KEY SHARE OF {table}"),
        }
    }

    /// Returns `VALUES` with parameters for a number of rows, each with columns of these types. They have to be
    /// the only parameters of a statement. An insert needs no types (`""`), as the table's columns have them.
    pub fn values(&self, rows: usize, types: &[&str]) -> String {
        const WRITES: &str = "writing to a String does not fail";
        let mut text = "VALUES ".to_owned();
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ",(" });
            for (column, of) in types.iter().enumerate() {
                text.push_str(if column == 0 { "" } else { "," });
                // SQLite accepts numbered parameters too, but looks up each in a list.
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

    /// Locks names until the transaction ends, and returns those that are locked. It does not wait for another transaction
    /// that has locked a name. In SQLite, a transaction that writes has all locks.
    pub async fn try_lock(&mut self, names: &[&str]) -> Result<BTreeSet<String>> {
        if self.database.is_sqlite() {
            return Ok(names.iter().map(|&name| name.to_owned()).collect());
        }
        // An arbitrary number that identifies these locks.
        let query = format!(
            "SELECT name FROM (SELECT column1 AS name, pg_try_advisory_xact_lock(72331760, hashtext(column1)) AS is_locked \
             FROM ({}) AS wanted) AS tried WHERE is_locked",
            self.database.values(names.len(), &["TEXT"])
        );
        let query = sqlx::query(AssertSqlSafe(query)).persistent(names.len() == 1);
        let rows = self.rows(names.iter().fold(query, |query, name| query.bind(*name))).await?;
        rows.iter().map(|row| self.database.get(row, 0)).collect()
    }

    pub async fn rows(&mut self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>> {
        query.fetch_all(&mut *self.inner).await.map_err(|error| self.database.error(&error))
    }

    /// Returns the number of rows that a statement changed.
    pub async fn execute(&mut self, query: Query<'_, Any, AnyArguments>) -> Result<u64> {
        let done = query.execute(&mut *self.inner).await.map_err(|error| self.database.error(&error))?;
        Ok(done.rows_affected())
    }

    /// Writes at most [`MAX_ROWS`] rows with one statement, and returns the number of written rows.
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
        let query = sqlx::query(AssertSqlSafe(statement)).persistent(is_worth_caching(rows.len()));
        self.execute(rows.iter().fold(query, bind)).await
    }

    pub async fn commit(self) -> Result<()> {
        let Self { inner, database } = self;
        inner.commit().await.map_err(|error| database.error(&error))
    }

    /// Runs a script without parameters.
    pub(crate) async fn run(&mut self, script: String) -> Result<()> {
        let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *self.inner).await;
        done.map(|_| ()).map_err(|error| self.database.error(&error))
    }
}

/// Returns true if a statement with this number of rows is worth caching.
pub fn is_worth_caching(rows: usize) -> bool {
    rows <= 64 || rows == MAX_ROWS
}

/// Returns a table of parameters, numbered from `from` on, with one column that both databases call `column1`.
/// Both join it by an index, whereas PostgreSQL compares a long `IN` list with every row.
pub fn parameter_table(from: usize, count: usize) -> String {
    let values: Vec<_> = (from..count + from).map(|number| format!("(${number})")).collect();
    format!("(VALUES {}) AS wanted", values.join(","))
}
