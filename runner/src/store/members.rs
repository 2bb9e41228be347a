//! The membership of Runners, and their ownership of executions.
//!
//! A takeover deletes the row of a Runner. Each write that makes a Runner an owner holds the row of that Runner until
//! it is committed ([`Database::key_share`]), so that the two can't overlap.

use std::collections::{BTreeSet, HashSet};

use dcp_database::{Database, MAX_ROWS, Transaction, is_worth_caching, parameter_table, signed};
use sqlx::AssertSqlSafe;

use super::json;
use crate::api::Result;
use crate::execution::Id;
use crate::progress::Progress;

pub(super) async fn register(database: &Database, runner: &str) -> Result<()> {
    let query = "INSERT INTO runner_runners (id, beat) VALUES ($1, 0)";
    database.execute(sqlx::query(query).bind(runner)).await?;
    Ok(())
}

pub(super) async fn is_member(database: &Database, runner: &str) -> Result<bool> {
    let query = sqlx::query("SELECT id FROM runner_runners WHERE id = $1").bind(runner);
    Ok(!database.rows(query).await?.is_empty())
}

pub(super) async fn heartbeat(database: &Database, runner: &str) -> Result<bool> {
    // A heartbeat may arrive after the one that marks the Runner as having left, which is the greatest possible number.
    let query = "UPDATE runner_runners SET beat = beat + 1 WHERE id = $1 AND beat < $2";
    Ok(database.execute(sqlx::query(query).bind(runner).bind(i64::MAX)).await? == 1)
}

pub(super) async fn leave(database: &Database, runner: &str, heartbeat: u64) -> Result<()> {
    let query = sqlx::query("UPDATE runner_runners SET beat = $1 WHERE id = $2");
    database.execute(query.bind(signed(heartbeat)).bind(runner)).await?;
    Ok(())
}

pub(super) async fn all(database: &Database) -> Result<Vec<(String, u64)>> {
    let rows = database.rows(sqlx::query("SELECT id, beat FROM runner_runners ORDER BY id")).await?;
    rows.iter().map(|row| Ok((database.get(row, 0)?, database.number(row, 1)?))).collect()
}

/// Returns the Runners that are members, and keeps them members until the transaction ends.
pub(super) async fn lock_members(
    transaction: &mut Transaction,
    runners: BTreeSet<&str>,
) -> Result<HashSet<String>> {
    let query = format!(
        "SELECT id FROM {} JOIN runner_runners ON id = column1 ORDER BY id{}",
        parameter_table(1, runners.len()),
        transaction.database().key_share("runner_runners")
    );
    let query = sqlx::query(AssertSqlSafe(query)).persistent(runners.len() == 1);
    let rows = transaction.rows(runners.iter().fold(query, |query, runner| query.bind(*runner))).await?;
    let database = transaction.database();
    rows.iter().map(|row| Ok(database.get(row, 0)?)).collect()
}

pub(super) async fn take_over(database: &Database, gone: (&str, u64), by: &str) -> Result<bool> {
    let mut transaction = database.write_after_reading().await?;
    if lock_members(&mut transaction, BTreeSet::from([by])).await?.is_empty() {
        return Ok(false);
    }
    let query = sqlx::query("DELETE FROM runner_runners WHERE id = $1 AND beat = $2");
    if transaction.execute(query.bind(gone.0).bind(signed(gone.1))).await? == 0 {
        return Ok(false);
    }
    change_owner(&mut transaction, gone.0, by).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(super) async fn absent_owners(database: &Database) -> Result<Vec<String>> {
    let query = "SELECT DISTINCT owner FROM runner_executions WHERE ended IS NULL \
        AND NOT EXISTS (SELECT 1 FROM runner_runners WHERE runner_runners.id = owner)";
    let rows = database.rows(sqlx::query(query)).await?;
    rows.iter().map(|row| Ok(database.get(row, 0)?)).collect()
}

pub(super) async fn adopt(database: &Database, absent: &str, by: &str) -> Result<bool> {
    let mut transaction = database.write_after_reading().await?;
    let members = lock_members(&mut transaction, BTreeSet::from([absent, by])).await?;
    if members.contains(absent) || !members.contains(by) {
        return Ok(false);
    }
    // Ids of Runners are never reused, so that the absent owner can't become a member meanwhile.
    let any = change_owner(&mut transaction, absent, by).await? > 0;
    transaction.commit().await?;
    Ok(any)
}

/// Changes the owner. The new version makes later writes of the previous owner fail.
async fn change_owner(transaction: &mut Transaction, before: &str, now: &str) -> Result<u64> {
    let query = "UPDATE runner_executions SET owner = $1, version = version + 1 \
        WHERE owner = $2 AND ended IS NULL";
    Ok(transaction.execute(sqlx::query(query).bind(now).bind(before)).await?)
}

/// Stores the progress of streams that the Runner still owns.
pub(super) async fn store_progress(
    database: &Database,
    owner: &str,
    all: &[(Id, Option<Progress>)],
) -> Result<()> {
    let mut transaction = database.write().await?;
    let of: Vec<(&str, String)> = all.iter().map(|(id, it)| (id.as_str(), json(it))).collect();
    for some in of.chunks(MAX_ROWS) {
        let statement = format!(
            "INSERT INTO runner_progress (id, progress) SELECT new.column1, new.column2 FROM ({}) AS new \
             JOIN runner_executions ON runner_executions.id = new.column1 \
             WHERE runner_executions.owner = new.column3 \
             ON CONFLICT (id) DO UPDATE SET progress = excluded.progress",
            database.values(some.len(), &["TEXT", "TEXT", "TEXT"])
        );
        let query = sqlx::query(AssertSqlSafe(statement)).persistent(is_worth_caching(some.len()));
        let query = some
            .iter()
            .fold(query, |query, (id, progress)| query.bind(*id).bind(progress.as_str()).bind(owner));
        transaction.execute(query).await?;
    }
    Ok(transaction.commit().await?)
}
