//! The store of executions: SQLite in one file, or PostgreSQL.
//!
//! One task performs all writes, and commits all pending ones together, so that many writes share one wait for the
//! disk. Every write of an execution names the version that it was made from, so that of two concurrent changes only
//! one succeeds. [`admit`] decides which of several submits is accepted.

mod admit;
mod bindings;
mod checkpoints;
mod claim;
mod delete;
mod fence;
mod lookup;
mod members;
mod read;
mod save;
mod start;
mod write;

use std::path::Path;
use std::sync::Arc;

use dcp_database::{Database, GroupCommit, Schema};
use dcp_model::primitive::Fingerprint;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::api::{Error, Filter, Holder, Record, Result, Submitted};
use crate::execution::{Id, Phase};
use crate::progress::Progress;
use crate::replace::Claim;
use crate::request::{CanonicalJob, Request};
use crate::sizing::Measured;

pub use start::Start;

const SCHEMA: Schema = Schema {
    table: "runner_schema",
    migrations: &[
        include_str!("store/schema-1.sql"),
        include_str!("store/schema-2.sql"),
        include_str!("store/schema-3.sql"),
        include_str!("store/schema-4.sql"),
        include_str!("store/schema-5.sql"),
        include_str!("store/schema-6.sql"),
        include_str!("store/schema-7.sql"),
        include_str!("store/schema-8.sql"),
    ],
};

/// Capacity of the queue of writes; further writers wait.
const QUEUE: usize = 4096;

/// The executions in a database. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    writer: GroupCommit<write::Writer>,
    reader: mpsc::Sender<lookup::Lookup>,
}

/// An execution to store, and its job.
#[derive(Debug, Clone)]
pub struct NewExecution {
    pub record: Record,
    pub job: Arc<CanonicalJob>,
}

/// Values that are stored with an execution.
#[derive(Debug, Default)]
pub struct SaveExtras {
    /// Time at which the backends' data of the execution is to be removed.
    pub clean_at: Option<Timestamp>,
    /// The measurement of the run; none leaves the stored one unchanged.
    pub measured: Option<Measured>,
    /// Number of bytes of the stored result. None if there is none, or if it was removed.
    pub result_bytes: Option<u64>,
}

impl Store {
    /// Opens an SQLite file, and creates it if it is missing.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        Self::with_database(Database::sqlite(path).await?).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`.
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::with_database(Database::postgres(url).await?).await
    }

    async fn with_database(database: Database) -> Result<Self> {
        database.migrate(&SCHEMA).await?;
        let writer = GroupCommit::start(write::Writer::new(database.dedicated_connection()));
        let (reader, lookups) = mpsc::channel(QUEUE);
        tokio::spawn(lookup::read_all(database.dedicated_connection(), lookups));
        Ok(Self { database, writer, reader })
    }

    /// Returns whether the database responds.
    pub async fn answers(&self) -> bool {
        self.database.answers().await
    }

    /// Returns whether only processes on this machine can share the database.
    pub fn is_local(&self) -> bool {
        self.database.is_sqlite()
    }

    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Returns once the task that writes or the one that reads has died. The process can't recover from that, and has
    /// to exit.
    pub async fn writer_died(&self) {
        tokio::select! {
            () = self.writer.died() => {}
            () = self.reader.closed() => {}
        }
    }

    /// Stores an execution, unless one with the same token exists. The execution is on disk once this returns.
    ///
    /// Fails with [`Error::Unavailable`] if the owner is no member, as no Runner would run the execution.
    pub async fn submit(&self, new: NewExecution) -> Result<Submitted> {
        match self.write(write::Command::Submit(Box::new(write::Entry::of(new)))).await? {
            write::Reply::Submitted(submitted) => submitted.map(|it| *it),
            write::Reply::Saved(_) | write::Reply::Started(_) => unreachable!("{OTHER_REPLY}"),
        }
    }

    /// Replaces the version of an execution that the change was made from, and increments its version. Returns false if
    /// somebody else has changed it meanwhile.
    pub async fn save(&self, record: &mut Record, extras: SaveExtras) -> Result<bool> {
        match self.write(write::Command::Save(Box::new(save::Save::of(record, &extras)))).await? {
            write::Reply::Saved(saved) => {
                record.version += u64::from(saved);
                Ok(saved)
            }
            write::Reply::Submitted(_) | write::Reply::Started(_) => unreachable!("{OTHER_REPLY}"),
        }
    }

    /// Saves an execution that gets an attempt, unless as many executions of its domain may have a live one already.
    pub async fn start(&self, record: &mut Record, extras: SaveExtras, limit: u32) -> Result<Start> {
        let (save, domain) = (save::Save::of(record, &extras), record.request.domain.clone());
        let start = Box::new(start::LimitedSave { save, domain, limit });
        match self.write(write::Command::Start(start)).await? {
            write::Reply::Started(start) => {
                record.version += u64::from(start == Start::Stored);
                Ok(start)
            }
            write::Reply::Submitted(_) | write::Reply::Saved(_) => unreachable!("{OTHER_REPLY}"),
        }
    }

    /// Returns the number of bytes of all stored results of a domain.
    pub async fn result_bytes(&self, domain: &str) -> Result<u64> {
        read::result_bytes(&self.database, domain).await
    }

    /// Gives an execution that replaces others its exclusive key, if no other execution has it.
    pub async fn claim(&self, record: &Record) -> Result<Claim> {
        claim::claim(&self.database, record).await
    }

    async fn write(&self, command: write::Command) -> Result<write::Reply> {
        self.writer.write(command).await.ok_or_else(writer_died_error)?
    }

    pub async fn get(&self, id: &Id) -> Result<Option<Record>> {
        let (sender, reply) = oneshot::channel();
        let lookup = lookup::Lookup { id: id.clone(), reply: sender };
        self.reader.send(lookup).await.map_err(|_| writer_died_error())?;
        let found = reply.await.map_err(|_| writer_died_error())??;
        Ok(found.map(Arc::unwrap_or_clone))
    }

    pub async fn by_token(&self, token: &str) -> Result<Option<Record>> {
        read::by_token(&self.database, token).await
    }

    /// Returns executions older than `before`, the newest first.
    pub async fn list(&self, filter: &Filter, before: Option<&Id>, limit: u32) -> Result<Vec<Record>> {
        read::list(&self.database, filter, before, limit).await
    }

    /// Returns the live executions with keys after a [position](Holder::position), in the order of domains and keys.
    pub async fn holders(&self, after: &str, limit: u32) -> Result<Vec<Holder>> {
        read::holders(&self.database, after, limit).await
    }

    /// Returns the job of a stored execution.
    pub async fn job(&self, job: &Fingerprint) -> Result<CanonicalJob> {
        read::job(&self.database, job).await
    }

    /// Returns the measurements of successful runs of the same workload, the newest first.
    pub async fn measured(&self, request: &Request, limit: u32) -> Result<Vec<Measured>> {
        read::measured(&self.database, request, limit).await
    }

    /// Returns all live executions that a Runner owns, with their versions and phases.
    pub async fn owned(&self, owner: &str) -> Result<Vec<(Id, u64, Phase)>> {
        read::owned(&self.database, owner).await
    }

    /// Returns executions whose data at a backend is due for removal.
    pub async fn to_clean(&self, now: Timestamp, limit: u32) -> Result<Vec<Record>> {
        read::to_clean(&self.database, now, limit).await
    }

    /// Deletes executions that ended before a time and have no data left at a backend. Returns their number.
    pub async fn delete_ended(&self, before: Timestamp, limit: u32) -> Result<u64> {
        delete::ended(&self.database, before, limit).await
    }

    /// Stores the progress of streams that a Runner owns.
    pub async fn store_progress(&self, owner: &str, progress: &[(Id, Option<Progress>)]) -> Result<()> {
        members::store_progress(&self.database, owner, progress).await
    }

    /// Returns the last stored progress of an execution.
    pub async fn progress(&self, id: &Id) -> Result<Option<Progress>> {
        read::progress(&self.database, id).await
    }

    /// Makes a Runner a member: from now on it may own executions.
    pub async fn register(&self, runner: &str) -> Result<()> {
        members::register(&self.database, runner).await
    }

    /// Returns whether a Runner is a member. Its membership ends when others take over from it.
    pub async fn is_member(&self, runner: &str) -> Result<bool> {
        members::is_member(&self.database, runner).await
    }

    /// Sends the heartbeat of a Runner. Returns false if it is no member.
    pub async fn heartbeat(&self, runner: &str) -> Result<bool> {
        members::heartbeat(&self.database, runner).await
    }

    /// Marks a Runner as having left, by a heartbeat that others know.
    pub async fn leave(&self, runner: &str, heartbeat: u64) -> Result<()> {
        members::leave(&self.database, runner, heartbeat).await
    }

    /// Returns all members with their heartbeats.
    pub async fn members(&self) -> Result<Vec<(String, u64)>> {
        members::all(&self.database).await
    }

    /// Ends the membership of a Runner that is gone and makes another one the owner of its executions. Returns false,
    /// and changes nothing, if the heartbeat is not the given one or the new owner is no member.
    pub async fn take_over(&self, gone: (&str, u64), by: &str) -> Result<bool> {
        members::take_over(&self.database, gone, by).await
    }

    /// Returns the owners of live executions that are no members.
    pub async fn absent_owners(&self) -> Result<Vec<String>> {
        members::absent_owners(&self.database).await
    }

    /// Makes a member the owner of the live executions of an owner that is none. Returns whether there were any.
    pub async fn adopt(&self, absent: &str, by: &str) -> Result<bool> {
        members::adopt(&self.database, absent, by).await
    }
}

/// The message of a panic that can't happen.
const OTHER_REPLY: &str = "the reply is that of the command";

fn writer_died_error() -> Error {
    Error::Unavailable("the Runner is being stopped; try again".to_owned())
}

/// Writes a stored value as JSON.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("stored values have text as keys")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn death_of_the_writer_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
        let dead = Store { writer: GroupCommit::dead(), ..store.clone() };
        timeout(Duration::from_secs(10), dead.writer_died()).await.unwrap();
        let (reader, lookups) = mpsc::channel(1);
        drop(lookups);
        let dead = Store { reader, ..store.clone() };
        timeout(Duration::from_secs(10), dead.writer_died()).await.unwrap();
        timeout(Duration::from_millis(50), store.writer_died()).await.unwrap_err();
    }
}
