//! Writes of job states, many in one transaction.

use std::collections::HashSet;

use async_trait::async_trait;
use dcp_database::{BatchWriter, Database, MAX_ROWS, Result, Transaction, is_worth_caching, signed};
use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::Key;

/// The number of writes of a job whose events are kept.
const VERSIONS_WITH_EVENTS: u64 = 200;

/// A state to write in place of a version.
#[derive(Debug)]
pub(super) struct Save {
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) state: String,
    pub(super) events: Vec<String>,
    pub(super) at: Timestamp,
}

/// Writes states. The reply is false if another writer came first.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) database: Database,
}

#[async_trait]
impl BatchWriter for Writer {
    type Command = Save;
    type Reply = bool;
    type Error = dcp_database::Error;

    async fn write(&mut self, saves: &[Save]) -> Result<Vec<bool>> {
        write(&self.database, saves).await
    }

    fn is_unavailable(error: &dcp_database::Error) -> bool {
        matches!(error, dcp_database::Error::Unavailable(_))
    }
}

/// Writes states in one commit. Returns for each whether it was written; of several for one job, the first one is.
async fn write(database: &Database, saves: &[Save]) -> Result<Vec<bool>> {
    let mut keys = HashSet::new();
    let (new, changed): (Vec<&Save>, Vec<&Save>) =
        saves.iter().filter(|save| keys.insert(&save.key)).partition(|save| save.version == 0);
    let mut transaction = database.write().await?;
    let mut written = insert(&mut transaction, &new).await?;
    written.extend(update(&mut transaction, &changed).await?);
    let is_written = |save: &Save| {
        keys.remove(&save.key) && written.contains(&(save.key.scope.clone(), save.key.address.clone()))
    };
    let is_written: Vec<bool> = saves.iter().map(is_written).collect();
    let of: Vec<&Save> = saves.iter().zip(&is_written).filter(|(_, is)| **is).map(|(it, _)| it).collect();
    write_events(&mut transaction, &of).await?;
    transaction.commit().await?;
    Ok(is_written)
}

type Written = HashSet<(String, String)>;

async fn insert(transaction: &mut Transaction, saves: &[&Save]) -> Result<Written> {
    if saves.is_empty() {
        return Ok(Written::new());
    }
    let values = transaction.database().values(saves.len(), &["", "", "", ""]);
    let statement = format!(
        "INSERT INTO reconcile_jobs (scope, address, version, state) {values} \
         ON CONFLICT (scope, address) DO NOTHING RETURNING scope, address"
    );
    written(transaction, statement, saves, 1).await
}

async fn update(transaction: &mut Transaction, saves: &[&Save]) -> Result<Written> {
    if saves.is_empty() {
        return Ok(Written::new());
    }
    let values = transaction.database().values(saves.len(), &["TEXT", "TEXT", "BIGINT", "TEXT"]);
    let statement = format!(
        "UPDATE reconcile_jobs SET version = reconcile_jobs.version + 1, state = save.column4 FROM ({values}) AS save \
         WHERE scope = save.column1 AND address = save.column2 AND version = save.column3 \
         RETURNING scope, address"
    );
    written(transaction, statement, saves, 0).await
}

/// Runs a statement with rows of keys, versions (with an offset) and texts, and returns the keys that it wrote.
async fn written(
    transaction: &mut Transaction,
    statement: String,
    saves: &[&Save],
    version_offset: u64,
) -> Result<Written> {
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(is_worth_caching(saves.len()));
    let query = saves.iter().fold(query, |query, save| {
        let query = query.bind(save.key.scope.as_str()).bind(save.key.address.as_str());
        query.bind(signed(save.version + version_offset)).bind(save.state.as_str())
    });
    let rows = transaction.rows(query).await?;
    let database = transaction.database();
    rows.iter().map(|row| Ok((database.get(row, 0)?, database.get(row, 1)?))).collect()
}

/// Writes the events of jobs, and removes old ones.
async fn write_events(transaction: &mut Transaction, saves: &[&Save]) -> Result<()> {
    let events = |save: &&Save| (0_i64..).zip(save.events.clone()).collect::<Vec<_>>();
    let rows: Vec<(&Save, i64, String)> = saves
        .iter()
        .flat_map(|save| events(save).into_iter().map(|(number, message)| (*save, number, message)))
        .collect();
    let into = "reconcile_events (scope, address, version, number, at, message)";
    for some in rows.chunks(MAX_ROWS) {
        let bound = transaction.insert(into, 6, "", some, |query, (save, number, message)| {
            let query = query.bind(save.key.scope.as_str()).bind(save.key.address.as_str());
            let query = query.bind(signed(save.version + 1)).bind(*number);
            query.bind(save.at.as_millisecond()).bind(message.as_str())
        });
        bound.await?;
    }
    for save in saves.iter().filter(|save| !save.events.is_empty() && save.version >= VERSIONS_WITH_EVENTS) {
        let query = "DELETE FROM reconcile_events WHERE scope = $1 AND address = $2 AND version < $3";
        let query = sqlx::query(query).bind(save.key.scope.as_str()).bind(save.key.address.as_str());
        transaction.execute(query.bind(signed(save.version + 1 - VERSIONS_WITH_EVENTS))).await?;
    }
    Ok(())
}
