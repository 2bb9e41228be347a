//! The last failures of pools.

use dcp_database::{Result, signed};
use sqlx::any::AnyRow;

use super::{Query, Store, rows};
use crate::session::{PoolFailure, PoolKey};

impl Store {
    /// Returns the last failures of all pools.
    pub async fn failures(&self) -> Result<Vec<PoolFailure>> {
        let query = "SELECT scope, domain, pool, job, attempts, failed_at, cause, message, execution FROM connect_failures \
            ORDER BY scope, domain, pool";
        let rows = self.database.rows(sqlx::query(query)).await?;
        rows.iter().map(|row| self.failure(row)).collect()
    }

    fn failure(&self, row: &AnyRow) -> Result<PoolFailure> {
        let text = |at| self.database.get::<String>(row, at);
        Ok(PoolFailure {
            pool: PoolKey { scope: text(0)?, domain: text(1)?, name: text(2)? },
            job: text(3)?,
            attempts: self.database.number(row, 4)?,
            at: rows::time(&self.database, row, 5)?,
            cause: text(6)?,
            message: text(7)?,
            execution: Some(text(8)?).filter(|execution| !execution.is_empty()),
        })
    }

    /// Stores the last failure of a pool.
    pub async fn set_failure(&self, failure: &PoolFailure) -> Result<()> {
        let query = "INSERT INTO connect_failures (scope, domain, pool, job, attempts, failed_at, cause, message, execution) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (scope, domain, pool) DO UPDATE SET \
            job = excluded.job, attempts = excluded.attempts, failed_at = excluded.failed_at, cause = excluded.cause, \
            message = excluded.message, execution = excluded.execution";
        let PoolFailure { pool, job, attempts, at, cause, message, execution } = failure;
        let query = bind_pool(sqlx::query(query), pool).bind(job.as_str()).bind(signed(*attempts));
        let query = query.bind(at.as_millisecond()).bind(cause.as_str()).bind(message.as_str());
        self.database.execute(query.bind(execution.as_deref().unwrap_or_default())).await.map(|_| ())
    }

    /// Forgets the failures of a pool, as a driver serves.
    pub async fn clear_failure(&self, pool: &PoolKey) -> Result<()> {
        let query = "DELETE FROM connect_failures WHERE scope = $1 AND domain = $2 AND pool = $3";
        self.database.execute(bind_pool(sqlx::query(query), pool)).await.map(|_| ())
    }
}

/// Binds the identity of a pool to the first three parameters.
pub(super) fn bind_pool<'q>(query: Query<'q>, pool: &'q PoolKey) -> Query<'q> {
    query.bind(pool.scope.as_str()).bind(pool.domain.as_str()).bind(pool.name.as_str())
}
