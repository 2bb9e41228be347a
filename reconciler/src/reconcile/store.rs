//! The stored states of continuous jobs, in the database of the registry.
//!
//! All writes of states go through one task, which commits waiting writes together: one flush of the disk serves many
//! jobs.

mod write;

use std::path::Path;

use dcp_database::{Database, Error, GroupCommit, Result, Schema, signed};
use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{JobState, Leader, Requested};

const SCHEMA: Schema = Schema { table: "reconcile_schema", migrations: &[include_str!("schema-1.sql")] };

/// A continuous job, by where it is applied: a scope, and the address of its `ContinuousJob` there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub scope: String,
    pub address: String,
}

/// The state of a job as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredJob {
    pub state: JobState,
    /// Counts the writes; 0 before the first.
    pub version: u64,
}

/// Something that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub message: String,
}

/// The stored states of jobs. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    id: String,
    writer: GroupCommit<write::Writer>,
}

impl Store {
    /// Opens a file of SQLite. It is made where it is missing.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        Self::with_database(Database::sqlite(path).await?).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`.
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::with_database(Database::postgres(url).await?).await
    }

    async fn with_database(database: Database) -> Result<Self> {
        database.migrate(&SCHEMA).await?;
        let (insert, id) = (
            "INSERT INTO reconcile_identity (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING",
            format!("{:016x}", rand::random::<u64>()),
        );
        database.execute(sqlx::query(insert).bind(id)).await?;
        let rows = database.rows(sqlx::query("SELECT id FROM reconcile_identity")).await?;
        let id = rows.first().map(|row| database.get::<String>(row, 0)).transpose()?;
        let id = id.ok_or_else(|| database.corrupt("it has no name"))?;
        let writer = GroupCommit::start(write::Writer { database: database.single_connection() });
        Ok(Self { database, id, writer })
    }

    /// Returns the identity of the database, which is the same for all who open it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Returns once nothing can be written any more because the task that writes has died. A process can't recover from
    /// that, and has to end.
    pub async fn writer_died(&self) {
        self.writer.died().await;
    }

    /// Returns the states of all jobs.
    pub async fn jobs(&self) -> Result<Vec<(Key, StoredJob)>> {
        let query = "SELECT scope, address, version, state FROM reconcile_jobs ORDER BY scope, address";
        let rows = self.database.rows(sqlx::query(query)).await?;
        rows.iter().map(|row| Ok((self.key(row)?, self.stored(row, 2)?))).collect()
    }

    pub async fn job(&self, key: &Key) -> Result<StoredJob> {
        let query =
            sqlx::query("SELECT version, state FROM reconcile_jobs WHERE scope = $1 AND address = $2");
        let rows = self.database.rows(query.bind(key.scope.as_str()).bind(key.address.as_str())).await?;
        match rows.first() {
            Some(row) => self.stored(row, 0),
            None => Ok(StoredJob { state: JobState::default(), version: 0 }),
        }
    }

    /// Writes the state of a job in place of the version that it was decided from, with the events of the decision, and
    /// increments the version. Returns false if another writer came first. The state is on disk once this returns.
    pub async fn save(
        &self,
        key: &Key,
        stored: &mut StoredJob,
        events: &[String],
        at: Timestamp,
    ) -> Result<bool> {
        let state = serde_json::to_string(&stored.state).expect("stored states have text as keys");
        let (key, events) = (key.clone(), events.to_vec());
        let save = write::Save { key, version: stored.version, state, events, at };
        let saved = self.writer.write(save).await.ok_or_else(writer_died_error)??;
        stored.version += u64::from(saved);
        Ok(saved)
    }

    /// Returns the last decisions about a job, newest first.
    pub async fn events(&self, key: &Key, limit: u32) -> Result<Vec<Event>> {
        let query = "SELECT at, message FROM reconcile_events WHERE scope = $1 AND address = $2 \
            ORDER BY version DESC, number DESC LIMIT $3";
        let query = sqlx::query(query).bind(key.scope.as_str()).bind(key.address.as_str());
        let rows = self.database.rows(query.bind(i64::from(limit))).await?;
        let event = |row: &AnyRow| Ok(Event { at: self.time(row, 0)?, message: self.database.get(row, 1)? });
        rows.iter().map(event).collect()
    }

    /// Returns the requests that were written after a change, each with its own change.
    ///
    /// A request that was written at the same time as another may be missing from one answer, so callers read all
    /// requests from time to time.
    pub async fn requests(&self, after: u64) -> Result<Vec<(Key, Requested, u64)>> {
        let query = "SELECT scope, address, paused, restarts, change FROM reconcile_requests WHERE change > $1 \
            ORDER BY scope, address";
        let rows = self.database.rows(sqlx::query(query).bind(signed(after))).await?;
        rows.iter()
            .map(|row| {
                let paused = self.database.number(row, 2)? != 0;
                let requested = Requested { paused, restarts: self.database.number(row, 3)? };
                Ok((self.key(row)?, requested, self.database.number(row, 4)?))
            })
            .collect()
    }

    /// Has a job be paused, or go on.
    pub async fn pause(&self, key: &Key, paused: bool, by: &str, at: Timestamp) -> Result<()> {
        let query = "INSERT INTO reconcile_requests (scope, address, paused, restarts, requested_by, requested_at, change) \
            VALUES ($1, $2, $3, 0, $4, $5, (SELECT coalesce(max(change), 0) + 1 FROM reconcile_requests)) \
            ON CONFLICT (scope, address) DO UPDATE SET paused = excluded.paused, \
            requested_by = excluded.requested_by, requested_at = excluded.requested_at, change = excluded.change";
        self.request(query, key, u64::from(paused), (by, at)).await
    }

    /// Has a job be started anew.
    pub async fn restart(&self, key: &Key, by: &str, at: Timestamp) -> Result<()> {
        let query = "INSERT INTO reconcile_requests (scope, address, paused, restarts, requested_by, requested_at, change) \
            VALUES ($1, $2, 0, $3, $4, $5, (SELECT coalesce(max(change), 0) + 1 FROM reconcile_requests)) \
            ON CONFLICT (scope, address) DO UPDATE SET restarts = reconcile_requests.restarts + 1, \
            requested_by = excluded.requested_by, requested_at = excluded.requested_at, change = excluded.change";
        self.request(query, key, 1, (by, at)).await
    }

    /// Returns the holder of a lease, or none before the first one.
    pub async fn leader(&self, lease: &str) -> Result<Option<Leader>> {
        let query =
            sqlx::query("SELECT epoch, holder, heartbeat FROM reconcile_leases WHERE name = $1").bind(lease);
        let rows = self.database.rows(query).await?;
        let leader = |row: &AnyRow| {
            let is_released = self.database.get::<&str>(row, 1)?.is_empty();
            let heartbeat = if is_released { None } else { Some(self.time(row, 2)?) };
            Ok(Leader { epoch: self.database.number(row, 0)?, heartbeat })
        };
        rows.first().map(leader).transpose()
    }

    fn time(&self, row: &AnyRow, column: usize) -> Result<Timestamp> {
        let at: i64 = self.database.get(row, column)?;
        Timestamp::from_millisecond(at).map_err(|_| self.database.corrupt(&format!("{at} is no time")))
    }

    async fn request(
        &self,
        query: &'static str,
        key: &Key,
        value: u64,
        author: (&str, Timestamp),
    ) -> Result<()> {
        let query = sqlx::query(query).bind(key.scope.as_str()).bind(key.address.as_str());
        let query = query.bind(signed(value)).bind(author.0).bind(author.1.as_millisecond());
        self.database.execute(query).await.map(|_| ())
    }

    fn key(&self, row: &AnyRow) -> Result<Key> {
        Ok(Key { scope: self.database.get(row, 0)?, address: self.database.get(row, 1)? })
    }

    fn stored(&self, row: &AnyRow, at: usize) -> Result<StoredJob> {
        Ok(StoredJob { version: self.database.number(row, at)?, state: self.database.json(row, at + 1)? })
    }
}

fn writer_died_error() -> Error {
    Error::Unavailable("the task that writes job states has died".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn death_of_the_writer_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(&folder.path().join("state.db")).await.unwrap();
        let dead = Store { writer: GroupCommit::dead(), ..store.clone() };
        timeout(Duration::from_secs(10), dead.writer_died()).await.unwrap();
        assert!(tokio::select! {
            biased;
            () = store.writer_died() => false,
            () = std::future::ready(()) => true,
        });
    }
}
