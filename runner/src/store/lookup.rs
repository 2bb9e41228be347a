//! Reads single executions, with one statement for all callers that wait at once.
//!
//! Records stay in memory with their versions. Each lookup compares the versions with those in the database, so that it
//! sees what other Runners wrote; the database returns, and this task parses, only rows of other versions.

use std::collections::HashMap;
use std::sync::Arc;

use dcp_database::{Database, DedicatedConnection, is_worth_caching, signed};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use tokio::sync::{mpsc, oneshot};

use super::read;
use crate::api::{Record, Result};
use crate::cache::Cache;
use crate::execution::Id;

/// Maximum number of lookups in one statement: as many as there are prepared statements for.
const MAX_BATCH: usize = 64;
/// Memory for records, as the length of their text.
const CACHE_BYTES: usize = 8 << 20;

#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) id: Id,
    pub(super) reply: oneshot::Sender<Result<Option<Arc<Record>>>>,
}

/// Answers lookups until all senders are gone.
pub(super) async fn read_all(mut connection: DedicatedConnection, mut inbox: mpsc::Receiver<Lookup>) {
    let cache = Cache::new(CACHE_BYTES);
    let mut lookups = Vec::new();
    while inbox.recv_many(&mut lookups, MAX_BATCH).await > 0 {
        let ids: Vec<&Id> = lookups.iter().map(|lookup| &lookup.id).collect();
        let found = look_up(&mut connection, &cache, &ids).await;
        for Lookup { id, reply } in lookups.drain(..) {
            let record = match &found {
                Ok(found) => found.get(&id).cloned().transpose(),
                Err(error) => Err(error.clone()),
            };
            // A caller that is gone needs no reply.
            let _ = reply.send(record);
        }
    }
}

type RecordCache = Cache<Id, Arc<Record>>;
type Found = HashMap<Id, Result<Arc<Record>>>;

/// Returns the requested executions that are stored. A row that can't be parsed fails only its own execution.
async fn look_up(connection: &mut DedicatedConnection, cache: &RecordCache, ids: &[&Id]) -> Result<Found> {
    let known = |id: &&Id| Some(((*id).clone(), Ok(cache.get(*id)?)));
    let mut found: Found = ids.iter().filter_map(known).collect();
    let values = connection.database().values(ids.len(), &["TEXT", "BIGINT"]);
    let statement = format!(
        "SELECT column1, request, state, version, owner FROM ({values}) AS wanted \
         LEFT JOIN runner_executions ON id = column1 WHERE version IS NULL OR version <> column2"
    );
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(is_worth_caching(ids.len()));
    let query = ids.iter().fold(query, |query, id| {
        let known = found.get(*id).and_then(|it| it.as_ref().ok());
        // The version of a stored execution is 1 or more.
        query.bind(id.as_str().to_owned()).bind(known.map_or(0, |record| signed(record.version)))
    });
    let rows = connection.rows(query).await?;
    let database = connection.database();
    for row in rows {
        let id = read::id(database, &row, 0)?;
        match record(database, cache, &row).transpose() {
            Some(record) => found.insert(id, record),
            None => found.remove(&id),
        };
    }
    Ok(found)
}

/// Returns the execution that a row holds, if it holds one.
fn record(database: &Database, cache: &RecordCache, row: &AnyRow) -> Result<Option<Arc<Record>>> {
    let (request, state): (Option<&str>, Option<&str>) = (database.get(row, 1)?, database.get(row, 2)?);
    let (Some(request), Some(state)) = (request, state) else { return Ok(None) };
    let record = Arc::new(read::record_at(database, row, 1)?);
    cache.put(record.id().clone(), Arc::clone(&record), request.len() + state.len());
    Ok(Some(record))
}
