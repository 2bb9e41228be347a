//! Writes of executions, many in one commit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use dcp_database::{BatchWriter, Database, DedicatedConnection, Transaction, is_worth_caching, signed};
use dcp_model::primitive::Fingerprint;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::admit::{Admission, StoredState, admit};
use super::fence::Lease;
use super::save::{Save, saved, state, update};
use super::start::{self, LimitedSave, Start};
use super::{NewExecution, checkpoints, json, members, read};
use crate::api::{Error, Result, Submitted};
use crate::request::Request;

/// Maximum number of attempts at a batch whose rows others write at the same time.
const MAX_RACES: u32 = 16;
/// Maximum number of jobs that are cached as stored.
const MAX_CACHED_JOBS: usize = 10_000;

#[derive(Debug)]
pub(super) enum Command {
    Submit(Box<Entry>),
    Save(Box<Save>),
    Start(Box<LimitedSave>),
}

#[derive(Debug)]
pub(super) enum Reply {
    /// The result of a submit.
    Submitted(Result<Box<Submitted>>),
    /// True if the version was unchanged.
    Saved(bool),
    Started(Start),
}

/// An execution to insert. It is serialized by its caller, because only one task writes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) new: NewExecution,
    request: String,
    state: String,
}

impl Entry {
    pub(super) fn of(new: NewExecution) -> Self {
        let (request, state) = (json(&new.record.request), state(&new.record));
        Self { new, request, state }
    }
}

/// Writes executions.
#[derive(Debug)]
pub(super) struct Writer {
    database: DedicatedConnection,
    /// Jobs that are certainly stored.
    jobs: HashSet<Fingerprint>,
}

impl Writer {
    pub(super) fn new(database: DedicatedConnection) -> Self {
        Self { database, jobs: HashSet::new() }
    }
}

#[async_trait]
impl BatchWriter for Writer {
    type Command = Command;
    type Reply = Reply;
    type Error = Error;

    async fn write(&mut self, commands: &[Command]) -> Result<Vec<Reply>> {
        let batch = Batch::of(commands);
        let written = batch.write(&mut self.database, &mut self.jobs).await;
        if written.is_err() {
            // The cache of stored jobs may be wrong, as after a restore.
            self.jobs.clear();
        }
        Ok(batch.replies(commands, written?))
    }

    fn is_unavailable(error: &Error) -> bool {
        matches!(error, Error::Unavailable(_))
    }
}

/// The commands of one commit.
struct Batch<'a> {
    entries: Vec<&'a Entry>,
    saves: Vec<&'a Save>,
    starts: Vec<&'a LimitedSave>,
}

/// The results of a batch, in the order of its entries, of its saves and of its starts.
#[derive(Default)]
struct Written {
    admissions: Vec<Admission>,
    saved: Vec<bool>,
    started: Vec<Start>,
}

impl<'a> Batch<'a> {
    fn of(commands: &'a [Command]) -> Self {
        let mut batch = Self { entries: Vec::new(), saves: Vec::new(), starts: Vec::new() };
        for command in commands {
            match command {
                Command::Submit(entry) => batch.entries.push(entry),
                Command::Save(save) => batch.saves.push(save),
                Command::Start(start) => batch.starts.push(start),
            }
        }
        batch
    }

    fn replies(&self, commands: &[Command], written: Written) -> Vec<Reply> {
        let entries = self.entries.iter().zip(written.admissions);
        let mut submitted = entries.map(|(entry, admission)| self.reply_to(admission, entry));
        let (mut saved, mut started) = (written.saved.into_iter(), written.started.into_iter());
        let reply = |command: &Command| match command {
            Command::Submit(_) => submitted.next().map(|it| Reply::Submitted(it.map(Box::new))),
            Command::Save(_) => saved.next().map(Reply::Saved),
            Command::Start(_) => started.next().map(Reply::Started),
        };
        commands.iter().filter_map(reply).collect()
    }

    async fn write(
        &self,
        database: &mut DedicatedConnection,
        jobs: &mut HashSet<Fingerprint>,
    ) -> Result<Written> {
        let mut written = match self.entries.is_empty() && self.saves.is_empty() {
            true => Written::default(),
            false => self.write_unlimited(database, jobs).await?,
        };
        written.started = start::write(database, &self.starts).await?;
        Ok(written)
    }

    /// Writes all but the starts.
    async fn write_unlimited(
        &self,
        database: &mut DedicatedConnection,
        jobs: &mut HashSet<Fingerprint>,
    ) -> Result<Written> {
        self.store_jobs(database, jobs).await?;
        if let Some(written) = self.write_optimistically(database).await? {
            return Ok(written);
        }
        for _ in 0..MAX_RACES {
            if let Some(written) = self.read_then_write(database).await? {
                return Ok(written);
            }
        }
        Err(Error::Unavailable("too many others write the same at the same time; try again".to_owned()))
    }

    /// Stores the jobs that are missing. They stay stored even if the executions are rejected.
    async fn store_jobs(
        &self,
        database: &mut DedicatedConnection,
        jobs: &mut HashSet<Fingerprint>,
    ) -> Result<()> {
        let submitted_jobs =
            self.entries.iter().map(|entry| (&entry.new.record.request.job, &**entry.new.job.text()));
        let unknown: BTreeMap<&Fingerprint, &str> =
            submitted_jobs.filter(|(job, _)| !jobs.contains(*job)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let values = database.database().values(unknown.len(), &["", ""]);
        let statement = format!("INSERT INTO runner_jobs (job, body) {values} ON CONFLICT (job) DO NOTHING");
        let query = sqlx::query(AssertSqlSafe(statement)).persistent(is_worth_caching(unknown.len()));
        let query = unknown.iter().fold(query, |query, (job, body)| query.bind(job.as_str()).bind(*body));
        database.execute(query).await?;
        if jobs.len() + unknown.len() > MAX_CACHED_JOBS {
            jobs.clear();
        }
        jobs.extend(unknown.into_keys().cloned());
        Ok(())
    }

    /// Writes without reading first, because nearly all submits are new. Returns none if one was not; other executions
    /// of the batch may be stored then, and `read_then_write` finds them.
    async fn write_optimistically(&self, database: &mut DedicatedConnection) -> Result<Option<Written>> {
        let needs_reading = |request: &Request| request.fence.is_some() || request.checkpoint().is_some();
        if self.entries.iter().any(|entry| needs_reading(&entry.new.record.request)) {
            return Ok(None);
        }
        let entries = &self.entries;
        let count = entries.len() as u64;
        let inserted = |saved| {
            let admissions = entries.iter().map(|_| Admission::Insert).collect();
            Ok(Some(Written { admissions, saved, ..Written::default() }))
        };
        // A single statement needs no transaction.
        if self.saves.is_empty() {
            let insertion = insertion(database.database(), entries);
            let written = database.execute(insertion).await?;
            return if written == count { inserted(Vec::new()) } else { Ok(None) };
        }
        if entries.is_empty() {
            let (query, included) = update(database.database(), &self.saves);
            return inserted(saved(&self.saves, &included, &database.rows(query).await?));
        }
        let mut transaction = database.write().await?;
        if transaction.execute(insertion(database.database(), entries)).await? != count {
            return Ok(None);
        }
        let (query, included) = update(database.database(), &self.saves);
        let rows = transaction.rows(query).await?;
        transaction.commit().await?;
        inserted(saved(&self.saves, &included, &rows))
    }

    /// Reads first, then writes. Returns none if somebody else wrote a row in between; the batch is then retried.
    async fn read_then_write(&self, database: &mut DedicatedConnection) -> Result<Option<Written>> {
        let mut transaction = database.write_after_reading().await?;
        let mut known = self.known(&mut transaction).await?;
        let (before, checkpoints) = (known.fences.clone(), known.checkpoints.clone());
        let submits: Vec<&NewExecution> = self.entries.iter().map(|entry| &entry.new).collect();
        let admissions = admit(&submits, &mut known);
        let admitted = self.entries.iter().zip(&admissions).filter(|(_, it)| **it == Admission::Insert);
        let admitted: Vec<&Entry> = admitted.map(|(entry, _)| *entry).collect();
        if !admitted.is_empty()
            && transaction.execute(insertion(database.database(), &admitted)).await? != admitted.len() as u64
        {
            return Ok(None);
        }
        if !record_epochs(&mut transaction, &before, &known.fences, &submits).await?
            || !checkpoints::record(&mut transaction, &checkpoints, &known.checkpoints).await?
        {
            return Ok(None);
        }
        let mut written = Written { admissions, ..Written::default() };
        if !self.saves.is_empty() {
            let (query, included) = update(database.database(), &self.saves);
            written.saved = saved(&self.saves, &included, &transaction.rows(query).await?);
        }
        transaction.commit().await?;
        Ok(Some(written))
    }

    async fn known(&self, transaction: &mut Transaction) -> Result<StoredState> {
        let requests = || self.entries.iter().map(|entry| &entry.new.record.request);
        let tokens: Vec<&str> = requests().map(|it| it.token.as_str()).collect();
        let keys: Vec<(&str, &str)> =
            requests().filter_map(|it| Some((it.domain.as_str(), it.exclusive.as_deref()?))).collect();
        let locations: Vec<&str> = requests().filter_map(Request::checkpoint).collect();
        let leases: Vec<&str> = requests().filter_map(|it| Some(it.fence.as_ref()?.lease.as_str())).collect();
        let owners: BTreeSet<&str> = self.entries.iter().map(|it| it.new.record.owner.as_str()).collect();
        let mut known = StoredState {
            tokens: read::tokens(transaction, &tokens).await?,
            members: members::lock_members(transaction, owners).await?,
            ..StoredState::default()
        };
        if !keys.is_empty() {
            known.key_holders = read::key_holders(transaction, &keys).await?;
        }
        if !locations.is_empty() {
            known.checkpoints = checkpoints::domains(transaction, &locations).await?;
        }
        if !leases.is_empty() {
            known.fences = read::fences(transaction, &leases).await?;
        }
        Ok(known)
    }

    fn reply_to(&self, admission: Admission, entry: &Entry) -> Result<Submitted> {
        let new = &entry.new.record;
        match admission {
            Admission::Insert => Ok(Submitted { record: new.clone(), fresh: true }),
            // `write_optimistically` may have stored this very execution, beside another one that was not new.
            Admission::Stored(record) => Ok(Submitted { fresh: record.id() == new.id(), record: *record }),
            Admission::SameBatch(at) => {
                let record = self.entries.get(at).map_or(new, |entry| &entry.new.record).clone();
                Ok(Submitted { record, fresh: false })
            }
            Admission::Rejected(error) => Err(error),
        }
    }
}

/// Column types of an insertion.
const INSERT_TYPES: [&str; 13] = [
    "TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "BIGINT", "TEXT", "TEXT", "TEXT",
];

/// Inserts the executions that are not stored yet and whose owner is a member. A takeover that deletes the owner's row
/// at the same time comes either before the statement, which then inserts no row, or after it, and then finds the
/// executions.
fn insertion<'q>(database: &Database, entries: &[&'q Entry]) -> Query<'q, Any, AnyArguments> {
    let values = database.values(entries.len(), &INSERT_TYPES);
    let lock = database.key_share("runner_runners");
    let statement = format!(
        "INSERT INTO runner_executions \
         (id, token, scope, domain, name, job, exclusive, owner, phase, version, request, state, awaits) \
         SELECT new.column1, new.column2, new.column3, new.column4, new.column5, new.column6, new.column7, \
         new.column8, new.column9, new.column10, new.column11, new.column12, new.column13 FROM ({values}) AS new \
         JOIN runner_runners ON runner_runners.id = new.column8 WHERE 1 = 1{lock} ON CONFLICT DO NOTHING"
    );
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(is_worth_caching(entries.len()));
    entries.iter().fold(query, |query, Entry { new, request, state }| {
        let (record, submitted) = (&new.record, &new.record.request);
        let query = query.bind(record.id().as_str()).bind(submitted.token.as_str());
        let query = query
            .bind(submitted.scope.as_deref())
            .bind(submitted.domain.as_str())
            .bind(submitted.name.as_str());
        // An execution that replaces others gets its key once those have ended.
        let (key, awaits) = match submitted.order {
            None => (submitted.exclusive.as_deref(), None),
            Some(_) => (None, submitted.exclusive.as_deref()),
        };
        let query = query.bind(submitted.job.as_str()).bind(key);
        let query = query.bind(record.owner.as_str()).bind(record.execution.phase.name());
        query.bind(signed(record.version)).bind(request.as_str()).bind(state.as_str()).bind(awaits)
    })
}

/// Records the epochs of a batch. Returns false if somebody else recorded a newer epoch or created the lease.
async fn record_epochs(
    transaction: &mut Transaction,
    before: &HashMap<String, Lease>,
    after: &HashMap<String, Lease>,
    submits: &[&NewExecution],
) -> Result<bool> {
    // In one order for all batches, so that no two wait for each other.
    let leases: BTreeSet<&str> =
        submits.iter().filter_map(|new| Some(new.record.request.fence.as_ref()?.lease.as_str())).collect();
    for lease in leases {
        let Some(now) = after.get(lease).filter(|now| before.get(lease) != Some(now)) else { continue };
        let query = "INSERT INTO runner_fences (lease, epoch, created_by) VALUES ($1, $2, $3) \
            ON CONFLICT (lease) DO UPDATE SET epoch = excluded.epoch, created_by = excluded.created_by \
            WHERE runner_fences.epoch <= excluded.epoch \
            AND coalesce(runner_fences.created_by, excluded.created_by) = excluded.created_by";
        let query = sqlx::query(query).bind(lease).bind(signed(now.newest)).bind(now.created_by.as_deref());
        if transaction.execute(query).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
