//! A connection for a task that runs many statements one after the other.

use std::time::Instant;

use sqlx::Any;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;

use super::{Database, Result, Transaction};

/// One connection, held between statements. A pool pings each connection that it gets back, which costs another
/// round trip to the database after each statement.
#[derive(Debug)]
pub struct DedicatedConnection {
    database: Database,
    idle_connection: Option<(PoolConnection<Any>, Instant)>,
}

impl Database {
    /// Returns a connection of its own, in addition to those of the pool.
    pub fn dedicated_connection(&self) -> DedicatedConnection {
        DedicatedConnection { database: self.single_connection(), idle_connection: None }
    }
}

impl DedicatedConnection {
    /// Returns the rows of a single statement, which is a transaction of its own.
    pub async fn rows(&mut self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>> {
        let mut connection = self.take().await?;
        let rows = query.fetch_all(&mut *connection).await;
        self.put_back(connection, rows)
    }

    /// Returns the number of rows that a single statement changed.
    pub async fn execute(&mut self, query: Query<'_, Any, AnyArguments>) -> Result<u64> {
        let mut connection = self.take().await?;
        let done = query.execute(&mut *connection).await;
        Ok(self.put_back(connection, done)?.rows_affected())
    }

    /// Begins a transaction on the same connection, like [`Database::write`].
    pub async fn write(&mut self) -> Result<Transaction> {
        self.idle_connection = None;
        self.database.write().await
    }

    /// Begins a transaction on the same connection, like [`Database::write_after_reading`].
    pub async fn write_after_reading(&mut self) -> Result<Transaction> {
        self.idle_connection = None;
        self.database.write_after_reading().await
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Takes the held connection, or one that the pool has tested if the held one may be lost.
    async fn take(&mut self) -> Result<PoolConnection<Any>> {
        if let Some((connection, used)) = self.idle_connection.take()
            && self.database.lost.is_trusted(used.elapsed())
        {
            return Ok(connection);
        }
        let Database { pool, .. } = &self.database;
        pool.acquire().await.map_err(|error| self.database.error(&error))
    }

    /// Keeps the connection after a successful statement. After a failure, the pool tests it.
    fn put_back<T>(&mut self, connection: PoolConnection<Any>, done: sqlx::Result<T>) -> Result<T> {
        match done {
            Ok(value) => {
                self.idle_connection = Some((connection, Instant::now()));
                Ok(value)
            }
            Err(error) => Err(self.database.error(&error)),
        }
    }
}
