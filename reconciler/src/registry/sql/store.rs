//! Where a registry is stored: how it is opened, and what its errors mean to a user.

mod postgres;
mod sqlite;

use std::fmt::{self, Write as _};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _, Transaction};
use tokio::time::{sleep, timeout};

use crate::registry::{Error, Result};

pub(super) use postgres::open as postgres;
pub(super) use sqlite::open as sqlite;

/// How long to wait for a connection, or for another's commit to end.
const PATIENCE: Duration = Duration::from_secs(10);

const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// A database by a name that can be shown: it holds no password.
#[derive(Debug, Clone)]
pub(super) struct Store {
    kind: Kind,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Store {
    /// Begins a transaction that sees one state, whatever others commit meanwhile.
    pub(super) async fn begin_read(&self, pool: &AnyPool) -> Result<Transaction<'static, Any>> {
        let begun = match self.kind {
            Kind::Sqlite => pool.begin().await,
            Kind::Postgres => pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await,
        };
        begun.map_err(|error| self.error(&error))
    }

    /// Begins a transaction beside which there is no other of this kind.
    pub(super) async fn begin_alone(&self, pool: &AnyPool) -> Result<Transaction<'static, Any>> {
        let begun = match self.kind {
            Kind::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => pool.begin().await,
        };
        let mut transaction = begun.map_err(|error| self.error(&error))?;
        if self.kind == Kind::Postgres {
            // The number is of no meaning but to be dcp's own.
            let lock = sqlx::raw_sql("SELECT pg_advisory_xact_lock(7233176051937)");
            lock.execute(&mut *transaction).await.map_err(|error| self.error(&error))?;
        }
        Ok(transaction)
    }

    /// A query that has a row where there is a schema.
    pub(super) fn has_schema(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => {
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'registry_schema'"
            }
            Kind::Postgres => "SELECT 1 WHERE to_regclass('registry_schema') IS NOT NULL",
        }
    }

    /// Writes one of many parameters, which come in order. SQLite takes numbered ones too, but keeps their names in a
    /// list that it walks for each.
    pub(super) fn parameter(&self, number: usize, statement: &mut String) {
        match self.kind {
            Kind::Sqlite => statement.push('?'),
            Kind::Postgres => write!(statement, "${number}").expect("writing to a String does not fail"),
        }
    }

    /// The way out of what is damaged.
    pub(super) fn restore(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "restore the file from a backup, or move it away to begin with an empty state",
            Kind::Postgres => "restore the database from a backup",
        }
    }

    pub(super) fn error(&self, error: &sqlx::Error) -> Error {
        match error {
            sqlx::Error::Database(said) => match self.kind {
                Kind::Sqlite => sqlite::error(self, said.as_ref()),
                Kind::Postgres => postgres::error(self, said.as_ref()),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => self.corrupt(&error.to_string()),
            other => Error::Unavailable(format!("{self} can't be reached: {other}; {}", self.reach())),
        }
    }

    pub(super) fn corrupt(&self, what: &str) -> Error {
        Error::Corrupt(format!("{self} is damaged: {what}; {}", self.restore()))
    }

    /// SQLite does not wait where two make a file ready at once: one of them is told that it is busy.
    fn is_busy(&self, error: &sqlx::Error) -> bool {
        let said = error.as_database_error();
        self.kind == Kind::Sqlite && said.is_some_and(|said| sqlite::code(said) == Some(sqlite::BUSY))
    }

    fn reach(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "try again",
            Kind::Postgres => "see that it runs and takes connections from here, then try again",
        }
    }

    /// Connects once to learn what is wrong, as a pool tells only that it waited; then makes the pool.
    async fn pool(&self, options: AnyConnectOptions, size: u32, setup: &'static str) -> Result<AnyPool> {
        let first = timeout(PATIENCE, async {
            loop {
                match connect(&options, setup).await {
                    Err(error) if self.is_busy(&error) => sleep(BUSY_PAUSE).await,
                    done => return done,
                }
            }
        });
        match first.await {
            Ok(connected) => connected.map_err(|error| self.error(&error))?,
            Err(_) => {
                let reach = self.reach();
                return Err(Error::Unavailable(format!("{self} did not open within {PATIENCE:?}; {reach}")));
            }
        }
        let pool = AnyPoolOptions::new().max_connections(size).acquire_timeout(PATIENCE);
        let pool = pool.after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(setup).await.map(|_| ()) })
        });
        Ok(pool.connect_lazy_with(options))
    }
}

async fn connect(options: &AnyConnectOptions, setup: &'static str) -> sqlx::Result<()> {
    let mut connection: AnyConnection = options.connect().await?;
    connection.execute(setup).await?;
    connection.close().await
}
