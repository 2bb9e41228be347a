//! The databases that dcp keeps things in, SQLite in one file or PostgreSQL: how they are opened, how their tables come
//! to be, and what their errors mean to a user.
//!
//! Both are spoken to through `sqlx::Any`, in SQL that both understand. What differs between them is here, and nothing
//! of what is kept in them.

mod held;
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

pub use held::Held;
pub use schema::Schema;
pub use transaction::{ROWS, Transaction, is_usual, wanted_values};

/// Why a database did not do something. Each says which one, and the way out; none has the password of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What it was to be opened with can't be right.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// The user may not.
    #[error("{0}")]
    Denied(String),
    /// It can't be reached, or can't write. Nothing was written, and to try again is safe.
    #[error("{0}")]
    Unavailable(String),
    /// What is stored is not what was written, or was written by a newer dcp.
    #[error("{0}")]
    Corrupt(String),
}

pub type Result<T> = std::result::Result<T, Error>;

/// How long to wait for a connection, or for another's commit to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may not have been used before it is looked at whether it is still one.
const IDLE: Duration = Duration::from_secs(1);

const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// A database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Database {
    kind: Kind,
    /// As it can be shown: it holds no password.
    name: String,
    pool: AnyPool,
    lost: Lost,
}

/// When a connection was lost last: those that were not used since may be lost too.
#[derive(Debug, Clone, Default)]
struct Lost(Arc<Mutex<Option<Instant>>>);

impl Lost {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection that was last used so long ago is one, as far as is known.
    fn is_trusted(&self, unused: Duration) -> bool {
        let lost = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused < IDLE && lost.is_none_or(|at| at.elapsed() > unused)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// What is known of a database before it is open.
struct Place {
    kind: Kind,
    name: String,
}

impl fmt::Display for Place {
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
    /// Opens a file of SQLite. It is made where it is missing, and its folder too, for this user alone.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        sqlite::open(path).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`. No message has the URL's password.
    pub async fn postgres(url: &str) -> Result<Self> {
        postgres::open(url).await
    }

    /// The same database by one connection alone, for one who writes very much: what SQLite remembers of a file is each
    /// connection's own, and forgotten when another one writes.
    #[must_use]
    pub fn by_one(&self) -> Self {
        let setup = match self.kind {
            Kind::Sqlite => sqlite::SETUP,
            Kind::Postgres => postgres::SETUP,
        };
        let pool = pool((*self.pool.connect_options()).clone(), 1, setup, &self.lost);
        Self { pool, ..self.clone() }
    }

    /// Whether the database answers.
    pub async fn answers(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.pool).await.is_ok()
    }

    /// Ends all connections. What is dropped without it ends them too, a little later.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// For what no transaction is needed for.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    pub fn is_sqlite(&self) -> bool {
        self.kind == Kind::Sqlite
    }

    fn place(&self) -> Place {
        Place { kind: self.kind, name: self.name.clone() }
    }

    /// What a database said, as an error that names the place and the way out.
    pub fn error(&self, error: &sqlx::Error) -> Error {
        let lost = match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
            // PostgreSQL was told to stop, or has crashed.
            sqlx::Error::Database(said) => said.code().is_some_and(|code| code.starts_with("57P")),
            _ => false,
        };
        if lost {
            self.lost.note();
        }
        self.place().error(error)
    }

    pub fn corrupt(&self, what: &str) -> Error {
        self.place().corrupt(what)
    }

    /// A column of a row.
    pub fn get<'r, T>(&self, row: &'r AnyRow, column: usize) -> Result<T>
    where
        T: sqlx::Decode<'r, Any> + sqlx::Type<Any>,
    {
        row.try_get(column).map_err(|error| self.error(&error))
    }

    /// A column that counts something.
    pub fn number(&self, row: &AnyRow, column: usize) -> Result<u64> {
        let number: i64 = self.get(row, column)?;
        u64::try_from(number).map_err(|_| self.corrupt(&format!("{number} counts nothing")))
    }

    /// A column that holds JSON.
    pub fn json<T: DeserializeOwned>(&self, row: &AnyRow, column: usize) -> Result<T> {
        let text: &str = self.get(row, column)?;
        serde_json::from_str(text).map_err(|_| self.corrupt(&format!("`{text}` is not known to this dcp")))
    }
}

/// A number as databases have it. They hold no greater one, so that nothing is at it or after it.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Place {
    /// The way out of what is damaged.
    fn restore(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "restore the file from a backup, or move it away to begin with an empty state",
            Kind::Postgres => "restore the database from a backup",
        }
    }

    fn error(&self, error: &sqlx::Error) -> Error {
        match error {
            sqlx::Error::Database(said) => match self.kind {
                Kind::Sqlite => sqlite::error(self, said.as_ref()),
                Kind::Postgres => postgres::error(self, said.as_ref()),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => self.corrupt(&error.to_string()),
            other => Error::Unavailable(format!("{self} can't be reached: {other}; {}", self.reach())),
        }
    }

    fn corrupt(&self, what: &str) -> Error {
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
    async fn open(self, options: AnyConnectOptions, size: u32, setup: &'static str) -> Result<Database> {
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
        let lost = Lost::default();
        let pool = pool(options, size, setup, &lost);
        Ok(Database { kind: self.kind, name: self.name, pool, lost })
    }
}

fn pool(options: AnyConnectOptions, size: u32, setup: &'static str, lost: &Lost) -> AnyPool {
    let lost = lost.clone();
    let pool = AnyPoolOptions::new().max_connections(size).acquire_timeout(PATIENCE);
    // A look at one that was used just now costs as much as what it is wanted for.
    let pool = pool.test_before_acquire(false).before_acquire(move |connection, about| {
        let trusted = lost.is_trusted(about.idle_for);
        Box::pin(async move { Ok(trusted || connection.ping().await.is_ok()) })
    });
    let pool = pool.after_connect(move |connection, _| {
        Box::pin(async move { connection.execute(setup).await.map(|_| ()) })
    });
    // Nobody reads a log of statements, and each would be timed and told for it.
    pool.connect_lazy_with(options.disable_statement_logging())
}

async fn connect(options: &AnyConnectOptions, setup: &'static str) -> sqlx::Result<()> {
    let mut connection: AnyConnection = options.connect().await?;
    connection.execute(setup).await?;
    connection.close().await
}
