//! Writes the same rows to the same tables with a prepared statement alone, in transactions of a given size.

use std::path::Path;
use std::time::{Duration, Instant};

use dcp_runner::api::Record;
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::load::Load;
use super::{Result, open};

pub(super) enum PlainInserts {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

const INSERT: &str = "INSERT INTO runner_executions \
    (id, token, domain, name, job, owner, phase, version, ended, request, state) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Binds a row for either database: both have the same types by different names.
macro_rules! row {
    ($record:expr) => {{
        let (record, submitted) = ($record, &$record.request);
        let (request, state) = text_columns(record);
        sqlx::query(INSERT)
            .bind(record.id().as_str().to_owned())
            .bind(submitted.token.clone())
            .bind(submitted.domain.clone())
            .bind(submitted.name.clone())
            .bind(submitted.job.as_str().to_owned())
            .bind(record.owner.clone())
            .bind(record.execution.phase.name())
            .bind(i64::try_from(record.version).unwrap_or_default())
            .bind(record.execution.ended.map(|at| at.as_millisecond()))
            .bind(request)
            .bind(state)
    }};
}

/// Returns the text columns of a row: the request and the state.
pub(super) fn text_columns(record: &Record) -> (String, String) {
    let mut state = json!({ "execution": record.execution });
    if !record.history.is_empty() {
        state["history"] = json!(record.history);
    }
    (json!(record.request).to_string(), state.to_string())
}

impl PlainInserts {
    /// Opens a database that has the tables and all jobs of the load.
    pub(super) async fn open(database: &str, load: &Load) -> Result<Self> {
        open(database).await?.close().await;
        let mut inserts = if database.starts_with("postgres") {
            Self::Postgres(PgConnection::connect(database).await?)
        } else {
            let options = SqliteConnectOptions::new().filename(Path::new(database));
            let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
            Self::Sqlite(options.connect().await?)
        };
        for job in load.jobs() {
            let fingerprint = job.fingerprint();
            let query = "INSERT INTO runner_jobs (job, body) VALUES ($1, $2)";
            let body = job.text().to_string();
            match &mut inserts {
                Self::Sqlite(to) => {
                    sqlx::query(query).bind(fingerprint.as_str()).bind(body).execute(to).await?;
                }
                Self::Postgres(to) => {
                    sqlx::query(query).bind(fingerprint.as_str()).bind(body).execute(to).await?;
                }
            }
        }
        Ok(inserts)
    }

    /// Writes rows in one transaction.
    pub(super) async fn write(&mut self, records: &[Record]) -> Result<()> {
        match self {
            Self::Sqlite(to) => {
                let mut transaction = to.begin().await?;
                for record in records {
                    row!(record).execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
            }
            Self::Postgres(to) => {
                let mut transaction = to.begin().await?;
                for record in records {
                    row!(record).execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
            }
        }
        Ok(())
    }

    /// Returns the rows written per second.
    pub(super) async fn rate(&mut self, load: &Load, batch: usize, time: Duration) -> Result<f64> {
        let (mut spent, mut rows) = (Duration::ZERO, 0_u32);
        while spent < time {
            let records: Vec<Record> = (0..batch).map(|_| load.new_execution().record).collect();
            let start = Instant::now();
            self.write(&records).await?;
            spent += start.elapsed();
            rows += u32::try_from(batch)?;
        }
        Ok(f64::from(rows) / spent.as_secs_f64())
    }

    /// Turns off synchronous commits. Use it only for rows whose loss does not matter.
    pub(super) async fn disable_durability(&mut self) -> Result<()> {
        match self {
            Self::Sqlite(to) => {
                sqlx::query("PRAGMA synchronous = OFF").execute(to).await?;
            }
            Self::Postgres(to) => {
                sqlx::query("SET synchronous_commit = off").execute(to).await?;
            }
        }
        Ok(())
    }

    /// Brings a database into the state of normal operation: SQLite's log is merged, PostgreSQL's tables are analysed.
    pub(super) async fn finish_bulk_load(self) -> Result<()> {
        match self {
            Self::Sqlite(mut to) => {
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut to).await?;
                to.close().await?;
            }
            Self::Postgres(mut to) => {
                sqlx::query("VACUUM ANALYZE runner_executions").execute(&mut to).await?;
                to.close().await?;
            }
        }
        Ok(())
    }
}
