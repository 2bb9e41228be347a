//! What is written: by one task all that executions need, many at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dcp_database::{Database, Transaction, signed};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::admit::{Admission, Known, admit};
use super::{Also, New, read};
use crate::api::{Error, Record, Result, State, Submitted};
use crate::execution::Id;

/// How many writes one commit holds at most.
const BATCH: usize = 256;
/// How often others may write the same rows at the same time before a batch is given up.
const RACES: u32 = 16;

#[derive(Debug)]
pub(super) enum Command {
    Submit(Box<New>, oneshot::Sender<Result<Submitted>>),
    Save(Box<Save>, oneshot::Sender<Result<bool>>),
}

#[derive(Debug)]
pub(super) struct Save {
    pub(super) record: Record,
    pub(super) also: Also,
}

/// Writes all that comes in, for as long as anything can.
pub(super) async fn write_all(database: Database, mut inbox: mpsc::Receiver<Command>) {
    let mut commands = Vec::new();
    while inbox.recv_many(&mut commands, BATCH).await > 0 {
        let batch = Batch::of(&mut commands);
        match batch.write(&database).await {
            Ok(written) => batch.answer(written),
            // Of many, it may be the fault of one.
            Err(error) if batch.len() > 1 && !matches!(error, Error::Unavailable(_)) => {
                for one in batch.each() {
                    match one.write(&database).await {
                        Ok(written) => one.answer(written),
                        Err(error) => one.refuse(&error),
                    }
                }
            }
            Err(error) => batch.refuse(&error),
        }
    }
}

#[derive(Default)]
struct Batch {
    news: Vec<New>,
    saves: Vec<Save>,
    submitted: Vec<oneshot::Sender<Result<Submitted>>>,
    saved: Vec<oneshot::Sender<Result<bool>>>,
}

/// What came of each, in their order.
struct Written {
    submitted: Vec<Result<Submitted>>,
    saved: Vec<bool>,
}

impl Batch {
    fn of(commands: &mut Vec<Command>) -> Self {
        let mut batch = Self::default();
        for command in commands.drain(..) {
            match command {
                Command::Submit(new, answer) => {
                    batch.news.push(*new);
                    batch.submitted.push(answer);
                }
                Command::Save(save, answer) => {
                    batch.saves.push(*save);
                    batch.saved.push(answer);
                }
            }
        }
        batch
    }

    fn len(&self) -> usize {
        self.news.len() + self.saves.len()
    }

    fn each(self) -> impl Iterator<Item = Self> {
        let news = self.news.into_iter().zip(self.submitted).map(|(new, answer)| Self {
            news: vec![new],
            submitted: vec![answer],
            ..Self::default()
        });
        let saves = self.saves.into_iter().zip(self.saved).map(|(save, answer)| Self {
            saves: vec![save],
            saved: vec![answer],
            ..Self::default()
        });
        news.chain(saves)
    }

    /// Nobody hears an answer who has gone away.
    fn answer(self, written: Written) {
        for (sender, answer) in self.submitted.into_iter().zip(written.submitted) {
            let _ = sender.send(answer);
        }
        for (sender, answer) in self.saved.into_iter().zip(written.saved) {
            let _ = sender.send(Ok(answer));
        }
    }

    fn refuse(self, error: &Error) {
        for sender in self.submitted {
            let _ = sender.send(Err(error.clone()));
        }
        for sender in self.saved {
            let _ = sender.send(Err(error.clone()));
        }
    }

    async fn write(&self, database: &Database) -> Result<Written> {
        for _ in 0..RACES {
            if let Some(written) = self.attempt(database).await? {
                return Ok(written);
            }
        }
        Err(Error::Unavailable("too many others write the same at the same time; try again".to_owned()))
    }

    /// Nothing where somebody else wrote a row between a look and a write: that is for the next look.
    async fn attempt(&self, database: &Database) -> Result<Option<Written>> {
        let mut transaction = database.write_after_reading().await?;
        let mut submitted = Vec::new();
        if !self.news.is_empty() {
            let mut known = self.known(&mut transaction).await?;
            let before = known.fences.clone();
            let admissions = admit(&self.news, &mut known);
            let admitted = || self.news.iter().zip(&admissions).filter(|(_, it)| **it == Admission::Insert);
            let inserted: Vec<&New> = admitted().map(|(new, _)| new).collect();
            if !insert(&mut transaction, &inserted).await?
                || !fence(&mut transaction, &before, &known.fences, &self.news).await?
            {
                return Ok(None);
            }
            submitted = admissions.into_iter().zip(&self.news).map(|(it, new)| self.told(it, new)).collect();
        }
        let mut saved = Vec::with_capacity(self.saves.len());
        for save in &self.saves {
            saved.push(update(&mut transaction, save).await?);
        }
        transaction.commit().await?;
        Ok(Some(Written { submitted, saved }))
    }

    async fn known(&self, transaction: &mut Transaction) -> Result<Known> {
        let requests = || self.news.iter().map(|new| &new.record.request);
        let tokens: Vec<&str> = requests().map(|it| it.token.as_str()).collect();
        let keys: Vec<&str> = requests().filter_map(|it| it.exclusive.as_deref()).collect();
        let leases: Vec<&str> = requests().filter_map(|it| Some(it.fence.as_ref()?.lease.as_str())).collect();
        let mut known = Known { tokens: read::tokens(transaction, &tokens).await?, ..Known::default() };
        if !keys.is_empty() {
            known.held = read::held(transaction, &keys).await?;
        }
        if !leases.is_empty() {
            known.fences = read::fences(transaction, &leases).await?;
        }
        Ok(known)
    }

    fn told(&self, admission: Admission, new: &New) -> Result<Submitted> {
        match admission {
            Admission::Insert => Ok(Submitted { record: new.record.clone(), fresh: true }),
            Admission::Stored(record) => Ok(Submitted { record: *record, fresh: false }),
            Admission::Beside(at) => {
                let record = self.news.get(at).unwrap_or(new).record.clone();
                Ok(Submitted { record, fresh: false })
            }
            Admission::Refused(error) => Err(error),
        }
    }
}

/// False where somebody else had one of them first.
async fn insert(transaction: &mut Transaction, news: &[&New]) -> Result<bool> {
    let jobs: BTreeMap<&str, &str> =
        news.iter().map(|new| (new.record.request.job.as_str(), &*new.job)).collect();
    let jobs: Vec<(&str, &str)> = jobs.into_iter().collect();
    let conflict = "ON CONFLICT (job) DO NOTHING";
    transaction
        .insert("runner_jobs (job, body)", 2, conflict, &jobs, |query, (job, body)| {
            query.bind(*job).bind(*body)
        })
        .await?;
    let rows: Vec<(&Record, String, String)> =
        news.iter().map(|new| (&new.record, json(&new.record.request), state(&new.record))).collect();
    let into = "runner_executions \
        (id, token, scope, domain, name, job, exclusive, owner, phase, version, request, state)";
    let written = transaction
        .insert(into, 12, "ON CONFLICT DO NOTHING", &rows, |query, (record, request, state)| {
            let asked = &record.request;
            let query = query.bind(record.id().as_str()).bind(asked.token.as_str());
            let query =
                query.bind(asked.scope.as_deref()).bind(asked.domain.as_str()).bind(asked.name.as_str());
            let query = query.bind(asked.job.as_str()).bind(asked.exclusive.as_deref());
            let query = query.bind(record.owner.as_str()).bind(record.execution.phase.name());
            query.bind(signed(record.version)).bind(request.as_str()).bind(state.as_str())
        })
        .await?;
    Ok(written == rows.len() as u64)
}

/// Notes the epochs that came in; false where somebody else noted a younger one.
async fn fence(
    transaction: &mut Transaction,
    before: &HashMap<String, u64>,
    after: &HashMap<String, u64>,
    news: &[New],
) -> Result<bool> {
    // In one order for all, so that no two wait for each other.
    let leases: BTreeSet<&str> =
        news.iter().filter_map(|new| Some(new.record.request.fence.as_ref()?.lease.as_str())).collect();
    for lease in leases {
        let Some(epoch) = after.get(lease).filter(|epoch| before.get(lease) != Some(epoch)) else { continue };
        let query = "INSERT INTO runner_fences (lease, epoch) VALUES ($1, $2) ON CONFLICT (lease) \
            DO UPDATE SET epoch = excluded.epoch WHERE runner_fences.epoch <= excluded.epoch";
        if transaction.execute(sqlx::query(query).bind(lease).bind(signed(*epoch))).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn update(transaction: &mut Transaction, save: &Save) -> Result<bool> {
    let Save { record, also: Also { clean_at, measured } } = save;
    let query = "UPDATE runner_executions SET owner = $1, phase = $2, version = version + 1, ended = $3, \
        clean_at = $4, state = $5, measured = coalesce($6, measured) WHERE id = $7 AND version = $8";
    let query = sqlx::query(query).bind(record.owner.as_str()).bind(record.execution.phase.name());
    let query = query.bind(record.execution.ended.map(Timestamp::as_millisecond));
    let query = query.bind(clean_at.map(Timestamp::as_millisecond)).bind(state(record));
    let query = query.bind(measured.as_ref().map(json));
    let query = query.bind(record.id().as_str()).bind(signed(record.version));
    Ok(transaction.execute(query).await? == 1)
}

pub(super) async fn forget(database: &Database, before: Timestamp, limit: u32) -> Result<u64> {
    let mut transaction = database.write().await?;
    // What ended before then was made before then, so that nothing younger is looked at: of very many that are kept,
    // those that are due are the first of the key.
    let query = format!(
        "DELETE FROM runner_executions WHERE id IN (SELECT id FROM runner_executions \
         WHERE id < $1 AND ended < $2 AND clean_at IS NULL ORDER BY id LIMIT {limit})"
    );
    let youngest = Id::new(before, 0);
    let query = sqlx::query(sqlx::AssertSqlSafe(query));
    let query = query.bind(youngest.as_str()).bind(before.as_millisecond());
    let forgotten = transaction.execute(query).await?;
    transaction.commit().await?;
    Ok(forgotten)
}

pub(super) async fn register(database: &Database, runner: &str) -> Result<()> {
    one(database, "INSERT INTO runner_runners (id, beat) VALUES ($1, 0)", runner).await.map(|_| ())
}

pub(super) async fn beat(database: &Database, runner: &str) -> Result<bool> {
    Ok(one(database, "UPDATE runner_runners SET beat = beat + 1 WHERE id = $1", runner).await? == 1)
}

pub(super) async fn leave(database: &Database, runner: &str, beat: u64) -> Result<()> {
    let query = sqlx::query("UPDATE runner_runners SET beat = $1 WHERE id = $2");
    let done = query.bind(signed(beat)).bind(runner).execute(database.pool()).await;
    done.map(|_| ()).map_err(|error| database.error(&error).into())
}

async fn one(database: &Database, query: &'static str, runner: &str) -> Result<u64> {
    let done = sqlx::query(query).bind(runner).execute(database.pool()).await;
    Ok(done.map_err(|error| database.error(&error))?.rows_affected())
}

pub(super) async fn take_over(database: &Database, gone: (&str, u64), by: &str) -> Result<bool> {
    let mut transaction = database.write().await?;
    let query = sqlx::query("DELETE FROM runner_runners WHERE id = $1 AND beat = $2");
    if transaction.execute(query.bind(gone.0).bind(signed(gone.1))).await? == 0 {
        return Ok(false);
    }
    // With another version, what the one that is gone still writes is refused.
    let query = "UPDATE runner_executions SET owner = $1, version = version + 1 \
        WHERE owner = $2 AND ended IS NULL";
    transaction.execute(sqlx::query(query).bind(by).bind(gone.0)).await?;
    transaction.commit().await?;
    Ok(true)
}

fn state(record: &Record) -> String {
    let Record { execution, history, .. } = record;
    json(&State { execution: execution.clone(), history: history.clone() })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is kept has text as keys")
}
