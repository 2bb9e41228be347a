//! Claims of exclusive keys by executions that replace others of their domain.

use dcp_database::Database;
use sqlx::any::AnyRow;

use super::read;
use crate::api::{Record, Result};
use crate::replace::{Claim, Rival, decide};

/// Gives an execution its key if no other execution has it. May be repeated: an execution that has its key gets it
/// again.
pub(super) async fn claim(database: &Database, record: &Record) -> Result<Claim> {
    let Some(key) = record.request.exclusive.as_deref() else { return Ok(Claim::Free) };
    let id = record.id();
    let mut transaction = database.exclusive().await?;
    let domain = record.request.domain.as_str();
    // An execution either has its key or awaits it.
    let query = "SELECT id, exclusive, request FROM runner_executions \
        WHERE ended IS NULL AND domain = $1 AND exclusive = $2 AND id <> $3 \
        UNION ALL SELECT id, exclusive, request FROM runner_executions \
        WHERE ended IS NULL AND domain = $4 AND awaits = $5 AND id <> $6";
    let query = sqlx::query(query).bind(domain).bind(key).bind(id.as_str());
    let rows = transaction.rows(query.bind(domain).bind(key).bind(id.as_str())).await?;
    let rival = |row: &AnyRow| {
        let has_key: Option<&str> = database.get(row, 1)?;
        let request: crate::request::Request = database.json(row, 2)?;
        Ok(Rival { id: read::id(database, row, 0)?, order: request.order, has_key: has_key.is_some() })
    };
    let rivals: Vec<Rival> = rows.iter().map(rival).collect::<Result<_>>()?;
    let claim = decide(id, record.request.order, &rivals);
    if claim != Claim::Free {
        return Ok(claim);
    }
    let query = "UPDATE runner_executions SET exclusive = $1, awaits = NULL \
        WHERE id = $2 AND ended IS NULL AND (exclusive = $3 OR awaits = $4)";
    let query = sqlx::query(query).bind(key).bind(id.as_str()).bind(key).bind(key);
    let taken = transaction.execute(query).await? == 1;
    transaction.commit().await?;
    Ok(if taken { Claim::Free } else { Claim::Ended })
}
