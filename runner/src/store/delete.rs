//! Deletion of expired executions.

use dcp_database::Database;
use jiff::Timestamp;

use crate::api::Result;
use crate::execution::Id;

pub(super) async fn ended(database: &Database, before: Timestamp, limit: u32) -> Result<u64> {
    let mut transaction = database.write().await?;
    // Executions that ended before the time were also created before it. The condition on the id therefore skips all
    // younger rows, and the rows that are due are the first of the index.
    let query = format!(
        "DELETE FROM runner_executions WHERE id IN (SELECT id FROM runner_executions \
         WHERE id < $1 AND ended < $2 AND clean_at IS NULL ORDER BY id LIMIT {limit})"
    );
    let youngest = Id::new(before, 0);
    let query = sqlx::query(sqlx::AssertSqlSafe(query));
    let query = query.bind(youngest.as_str()).bind(before.as_millisecond());
    let deleted = transaction.execute(query).await?;
    if deleted > 0 {
        let query = "DELETE FROM runner_progress WHERE id < $1 \
            AND NOT EXISTS (SELECT 1 FROM runner_executions WHERE runner_executions.id = runner_progress.id)";
        transaction.execute(sqlx::query(query).bind(youngest.as_str())).await?;
    }
    transaction.commit().await?;
    Ok(deleted)
}
