//! Where executions are kept: SQLite in one file, or PostgreSQL.
//!
//! All writes go through one task, which takes all that wait at once and commits them together: the disk is waited for
//! once for many. Every write of an execution says which version it was made from, so that two who decide about one
//! at the same time can't both be right. [`admit`] says who comes first where several submit.

mod admit;
mod claim;
mod fence;
mod lookup;
mod members;
mod read;
mod write;

use std::path::Path;
use std::sync::Arc;

use dcp_database::{Database, Schema};
use dcp_model::primitive::Fingerprint;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::api::{Error, Filter, Holder, Record, Result, Submitted};
use crate::execution::{Id, Phase};
use crate::progress::Progress;
use crate::replace::Claim;
use crate::request::{Defined, Request};
use crate::sizing::Measured;

const SCHEMA: Schema = Schema {
    table: "runner_schema",
    migrations: &[
        include_str!("store/schema-1.sql"),
        include_str!("store/schema-2.sql"),
        include_str!("store/schema-3.sql"),
        include_str!("store/schema-4.sql"),
        include_str!("store/schema-5.sql"),
    ],
};

/// How many writes wait at most before those who bring more have to wait themselves.
const QUEUE: usize = 4096;

/// The executions in a database. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    writer: mpsc::Sender<write::Command>,
    reader: mpsc::Sender<lookup::Lookup>,
}

/// An execution to be kept from now on.
#[derive(Debug, Clone)]
pub struct New {
    pub record: Record,
    /// Its job.
    pub job: Arc<Defined>,
}

/// What is written with an execution.
#[derive(Debug, Default)]
pub struct Also {
    /// When what a backend keeps of it is to be removed.
    pub clean_at: Option<Timestamp>,
    /// What its run was measured by; where there is none, what is there is left.
    pub measured: Option<Measured>,
}

impl Store {
    /// Opens a file of SQLite. It is made where it is missing.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        Self::over(Database::sqlite(path).await?).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`.
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::over(Database::postgres(url).await?).await
    }

    async fn over(database: Database) -> Result<Self> {
        database.migrate(&SCHEMA).await?;
        let (writer, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(write::write_all(database.held(), inbox));
        let (reader, lookups) = mpsc::channel(QUEUE);
        tokio::spawn(lookup::read_all(database.held(), lookups));
        Ok(Self { database, writer, reader })
    }

    /// Whether the database answers.
    pub async fn answers(&self) -> bool {
        self.database.answers().await
    }

    /// Whether other processes can only have it on this machine.
    pub fn is_local(&self) -> bool {
        self.database.is_sqlite()
    }

    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Returns once nothing can be written or read any more because the task that does it has died. A process can't recover
    /// from that, and has to end.
    pub async fn writer_died(&self) {
        tokio::select! {
            () = self.writer.closed() => {}
            () = self.reader.closed() => {}
        }
    }

    /// Keeps an execution, unless there is one by its token. It is on disk once this returns.
    ///
    /// Fails with [`Error::Unavailable`] if the owner is no member of the Runners, as no Runner would run it.
    pub async fn submit(&self, new: New) -> Result<Submitted> {
        let (answer, answered) = oneshot::channel();
        self.send(write::Command::Submit(Box::new(write::Entry::of(new)), answer)).await?;
        answered.await.map_err(|_| gone())?
    }

    /// Writes an execution in place of the version that it was made from, and has its version count on; false where
    /// somebody else wrote meanwhile.
    pub async fn save(&self, record: &mut Record, also: Also) -> Result<bool> {
        let (answer, answered) = oneshot::channel();
        self.send(write::Command::Save(Box::new(write::Save::of(record, &also)), answer)).await?;
        let saved = answered.await.map_err(|_| gone())??;
        record.version += u64::from(saved);
        Ok(saved)
    }

    /// Gives an execution that replaces others its exclusive key, if nothing else has it.
    pub async fn claim(&self, record: &Record) -> Result<Claim> {
        claim::claim(&self.database, record).await
    }

    async fn send(&self, command: write::Command) -> Result<()> {
        self.writer.send(command).await.map_err(|_| gone())
    }

    pub async fn get(&self, id: &Id) -> Result<Option<Record>> {
        let (answer, answered) = oneshot::channel();
        let lookup = lookup::Lookup { id: id.clone(), answer };
        self.reader.send(lookup).await.map_err(|_| gone())?;
        let found = answered.await.map_err(|_| gone())??;
        Ok(found.map(Arc::unwrap_or_clone))
    }

    pub async fn by_token(&self, token: &str) -> Result<Option<Record>> {
        read::by_token(&self.database, token).await
    }

    /// The newest first, from before an id on.
    pub async fn list(&self, filter: &Filter, before: Option<&Id>, limit: u32) -> Result<Vec<Record>> {
        read::list(&self.database, filter, before, limit).await
    }

    /// The live executions that hold keys, in the order of these.
    pub async fn holders(&self, after: &str, limit: u32) -> Result<Vec<Holder>> {
        read::holders(&self.database, after, limit).await
    }

    /// The definition of a job that an execution was kept with.
    pub async fn job(&self, job: &Fingerprint) -> Result<Defined> {
        read::job(&self.database, job).await
    }

    /// What the runs of the same workload that succeeded were measured by, the newest first.
    pub async fn measured(&self, request: &Request, limit: u32) -> Result<Vec<Measured>> {
        read::measured(&self.database, request, limit).await
    }

    /// Returns all live executions that a Runner owns, with their versions and phases.
    pub async fn owned(&self, owner: &str) -> Result<Vec<(Id, u64, Phase)>> {
        read::owned(&self.database, owner).await
    }

    /// Those whose remains at a backend are to be removed by now.
    pub async fn to_clean(&self, now: Timestamp, limit: u32) -> Result<Vec<Record>> {
        read::to_clean(&self.database, now, limit).await
    }

    /// Forgets some of what ended before a time and left nothing behind; tells how many that were.
    pub async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64> {
        write::forget(&self.database, before, limit).await
    }

    /// Writes how the queries of streams are that a Runner owns.
    pub async fn tell(&self, owner: &str, progress: &[(Id, Option<Progress>)]) -> Result<()> {
        members::tell(&self.database, owner, progress).await
    }

    /// How the queries of an execution were last.
    pub async fn progress(&self, id: &Id) -> Result<Option<Progress>> {
        read::progress(&self.database, id).await
    }

    /// Makes a Runner a member: from now on it may own executions.
    pub async fn register(&self, runner: &str) -> Result<()> {
        members::register(&self.database, runner).await
    }

    /// Whether a Runner is a member. It is none once others have taken over from it.
    pub async fn is_member(&self, runner: &str) -> Result<bool> {
        members::is_member(&self.database, runner).await
    }

    /// Sends the heartbeat of a Runner; false if it is no member.
    pub async fn beat(&self, runner: &str) -> Result<bool> {
        members::beat(&self.database, runner).await
    }

    /// Marks a Runner as having left, by a heartbeat that others know.
    pub async fn leave(&self, runner: &str, beat: u64) -> Result<()> {
        members::leave(&self.database, runner, beat).await
    }

    /// Returns all members with their heartbeats.
    pub async fn runners(&self) -> Result<Vec<(String, u64)>> {
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

fn gone() -> Error {
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
        let (writer, inbox) = mpsc::channel(1);
        let dead = Store { writer, ..store.clone() };
        timeout(Duration::from_millis(50), dead.writer_died()).await.unwrap_err();
        drop(inbox);
        timeout(Duration::from_secs(10), dead.writer_died()).await.unwrap();
        let (reader, lookups) = mpsc::channel(1);
        drop(lookups);
        let dead = Store { reader, ..store.clone() };
        timeout(Duration::from_secs(10), dead.writer_died()).await.unwrap();
        timeout(Duration::from_millis(50), store.writer_died()).await.unwrap_err();
    }
}
