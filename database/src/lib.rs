//! The databases of dcp, SQLite in one file or PostgreSQL: connections, migrations, and errors with remedies.
//!
//! Both are used through `sqlx::Any`, with SQL that both understand. This crate handles the differences between
//! them, and knows nothing of the stored data.

mod dedicated;
mod group_commit;
mod postgres;
mod schema;
mod sqlite;
mod transaction;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::time::{sleep, timeout};

pub use dedicated::DedicatedConnection;
pub use group_commit::{BatchWriter, GroupCommit};
pub use schema::Schema;
pub use transaction::{MAX_ROWS, Transaction, is_worth_caching, parameter_table};

/// An error of a database. Each names the database and the remedy; none contains the password of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The path or URL can't be valid.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// The user lacks a permission.
    #[error("{0}")]
    Denied(String),
    /// The database can't be reached or written. Nothing was written, and a retry is safe.
    #[error("{0}")]
    Unavailable(String),
    /// The stored data is damaged, or was written by a newer dcp.
    #[error("{0}")]
    Corrupt(String),
}

pub type Result<T> = std::result::Result<T, Error>;

/// Timeout of opening a connection, and of waiting for another's commit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle time after which a connection is tested before use.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// A database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Database {
    kind: Kind,
    /// Its name in messages, without a password.
    name: String,
    pool: AnyPool,
    lost: Lost,
}

/// The time when a connection was last lost: connections that were not used since may be lost too.
#[derive(Debug, Clone, Default)]
struct Lost(Arc<Mutex<Option<Instant>>>);

impl Lost {
    fn record(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns true if a connection with this idle time can be used without a test.
    fn is_trusted(&self, unused: Duration) -> bool {
        let lost = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused < TRUSTED_IDLE && lost.is_none_or(|at| at.elapsed() > unused)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// The identity of a database, known before it is open.
struct Identity {
    kind: Kind,
    name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Database {
    /// Opens a file of SQLite. If it is missing, it is created with its folder, for this user alone.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        sqlite::open(path).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`. Messages do not contain the URL's password.
    pub async fn postgres(url: &str) -> Result<Self> {
        postgres::open(url).await
    }

    /// Returns the same database with a single connection of its own, for tasks that write much: SQLite's page
    /// cache belongs to a connection and is dropped when another one writes.
    #[must_use]
    pub fn single_connection(&self) -> Self {
        let setup = match self.kind {
            Kind::Sqlite => sqlite::SETUP,
            Kind::Postgres => postgres::SETUP,
        };
        let pool = pool((*self.pool.connect_options()).clone(), 1, setup, &self.lost);
        Self { pool, ..self.clone() }
    }

    /// Returns true if the database answers.
    pub async fn answers(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.pool).await.is_ok()
    }

    /// Closes all connections. Dropping the last clone closes them too, a little later.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Returns the pool, for statements that need no transaction.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    pub fn is_sqlite(&self) -> bool {
        self.kind == Kind::Sqlite
    }

    fn identity(&self) -> Identity {
        Identity { kind: self.kind, name: self.name.clone() }
    }

    /// Converts an error of `sqlx` to one that names the database and the remedy.
    pub fn error(&self, error: &sqlx::Error) -> Error {
        let lost = match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
            // PostgreSQL was stopped, or has crashed.
            sqlx::Error::Database(cause) => cause.code().is_some_and(|code| code.starts_with("57P")),
            _ => false,
        };
        if lost {
            self.lost.record();
        }
        self.identity().error(error)
    }

    pub fn corrupt(&self, what: &str) -> Error {
        self.identity().corrupt(what)
    }

    /// Returns a column of a row.
    pub fn get<'r, T>(&self, row: &'r AnyRow, column: usize) -> Result<T>
    where
        T: sqlx::Decode<'r, Any> + sqlx::Type<Any>,
    {
        row.try_get(column).map_err(|error| self.error(&error))
    }

    /// Returns a column that is a count.
    pub fn number(&self, row: &AnyRow, column: usize) -> Result<u64> {
        let number: i64 = self.get(row, column)?;
        u64::try_from(number).map_err(|_| self.corrupt(&format!("{number} counts nothing")))
    }

    /// Returns a column that is JSON.
    pub fn json<T: DeserializeOwned>(&self, row: &AnyRow, column: usize) -> Result<T> {
        let text: &str = self.get(row, column)?;
        serde_json::from_str(text).map_err(|_| self.corrupt(&format!("`{text}` is not known to this dcp")))
    }
}

/// Converts a number to the databases' type. Numbers beyond its maximum become the maximum; no stored number is
/// greater.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Identity {
    /// Returns the remedy for damage.
    fn restore_advice(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "restore the file from a backup, or move it away to begin with an empty state",
            Kind::Postgres => "restore the database from a backup",
        }
    }

    fn error(&self, error: &sqlx::Error) -> Error {
        match error {
            sqlx::Error::Database(cause) => match self.kind {
                Kind::Sqlite => sqlite::error(self, cause.as_ref()),
                Kind::Postgres => postgres::error(self, cause.as_ref()),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => self.corrupt(&error.to_string()),
            other => Error::Unavailable(format!("{self} can't be reached: {other}; {}", self.retry_advice())),
        }
    }

    fn corrupt(&self, what: &str) -> Error {
        Error::Corrupt(format!("{self} is damaged: {what}; {}", self.restore_advice()))
    }

    /// SQLite reports that it is busy, without waiting, if two connections set up a file at once.
    fn is_busy(&self, error: &sqlx::Error) -> bool {
        let cause = error.as_database_error();
        self.kind == Kind::Sqlite && cause.is_some_and(|cause| sqlite::code(cause) == Some(sqlite::BUSY))
    }

    fn retry_advice(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "try again",
            Kind::Postgres => "see that it runs and takes connections from here, then try again",
        }
    }

    /// Connects once to find the cause of a failure, as a pool reports only a timeout; then creates the pool.
    async fn open(self, options: AnyConnectOptions, size: u32, setup: &'static str) -> Result<Database> {
        let first = timeout(CONNECT_TIMEOUT, async {
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
                let retry_advice = self.retry_advice();
                return Err(Error::Unavailable(format!(
                    "{self} did not open within {CONNECT_TIMEOUT:?}; {retry_advice}"
                )));
            }
        }
        let lost = Lost::default();
        let pool = pool(options, size, setup, &lost);
        Ok(Database { kind: self.kind, name: self.name, pool, lost })
    }
}

fn pool(options: AnyConnectOptions, size: u32, setup: &'static str, lost: &Lost) -> AnyPool {
    let lost = lost.clone();
    let pool = AnyPoolOptions::new().max_connections(size).acquire_timeout(CONNECT_TIMEOUT);
    // Testing a connection that was just used costs as much as a statement.
    let pool = pool.test_before_acquire(false).before_acquire(move |connection, about| {
        let trusted = lost.is_trusted(about.idle_for);
        Box::pin(async move { Ok(trusted || connection.ping().await.is_ok()) })
    });
    let pool = pool.after_connect(move |connection, _| {
        Box::pin(async move { connection.execute(setup).await.map(|_| ()) })
    });
    // Logging each statement costs time, and dcp has no reader for that log.
    pool.connect_lazy_with(options.disable_statement_logging())
}

async fn connect(options: &AnyConnectOptions, setup: &'static str) -> sqlx::Result<()> {
    let mut connection: AnyConnection = options.connect().await?;
    connection.execute(setup).await?;
    connection.close().await
}
