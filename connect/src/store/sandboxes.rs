//! Sandboxes.

use dcp_database::{Result, signed};
use dcp_model::manifest::Memory;
use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Store, rows};

/// The identity of a sandbox. Two users never share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxKey {
    pub domain: String,
    pub user: String,
    pub name: String,
}

/// A sandbox as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSandbox {
    pub key: SandboxKey,
    pub branch: String,
    pub pool: Option<String>,
    pub engine: Option<String>,
    pub cores: Option<u32>,
    pub memory: Option<Memory>,
    pub catalog: String,
    pub schema: String,
    /// The session that has it now.
    pub session: String,
    /// The session that was opened last.
    pub opened: Option<String>,
    pub created: Timestamp,
    pub expires: Timestamp,
    /// The time at which its removal was begun last.
    pub ending: Option<Timestamp>,
}

impl StoredSandbox {
    /// Returns whether its session has replaced one that was opened, and was not opened yet.
    pub fn has_new_session(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| *opened != self.session)
    }
}

const COLUMNS: &str = "domain, user_name, name, branch, pool, engine, catalog_name, schema_name, session, created_at, \
    expires_at, ending_at, opened_session, cores, memory";

impl Store {
    /// Stores a sandbox. Returns false if the user has one of this name, or another one has its schema.
    pub async fn add_sandbox(&self, sandbox: &StoredSandbox) -> Result<bool> {
        let query = "INSERT INTO connect_sandboxes (domain, user_name, name, branch, pool, engine, catalog_name, \
            schema_name, session, created_at, expires_at, ending_at, opened_session, cores, memory) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14) ON CONFLICT DO NOTHING";
        let query = bind(sqlx::query(query), &sandbox.key).bind(sandbox.branch.as_str());
        let query = query.bind(sandbox.pool.as_deref().unwrap_or_default());
        let query = query.bind(sandbox.engine.as_deref().unwrap_or_default());
        let query =
            query.bind(sandbox.catalog.as_str()).bind(sandbox.schema.as_str()).bind(sandbox.session.as_str());
        let query = query.bind(sandbox.created.as_millisecond()).bind(sandbox.expires.as_millisecond());
        let query = query.bind(sandbox.opened.as_deref().unwrap_or_default());
        let query = query.bind(i64::from(sandbox.cores.unwrap_or_default()));
        let query = query.bind(signed(sandbox.memory.map_or(0, Memory::bytes)));
        Ok(self.database.execute(query).await? == 1)
    }

    pub async fn sandbox(&self, key: &SandboxKey) -> Result<Option<StoredSandbox>> {
        let query = format!(
            "SELECT {COLUMNS} FROM connect_sandboxes WHERE domain = $1 AND user_name = $2 AND name = $3"
        );
        let rows = self.database.rows(bind(sqlx::query(sqlx::AssertSqlSafe(query)), key)).await?;
        rows.first().map(|row| self.read_sandbox(row)).transpose()
    }

    /// Returns the sandboxes of a user.
    pub async fn sandboxes(&self, user: &str) -> Result<Vec<StoredSandbox>> {
        let query =
            format!("SELECT {COLUMNS} FROM connect_sandboxes WHERE user_name = $1 ORDER BY domain, name");
        let rows = self.database.rows(sqlx::query(sqlx::AssertSqlSafe(query)).bind(user)).await?;
        rows.iter().map(|row| self.read_sandbox(row)).collect()
    }

    /// Returns sandboxes that have expired at a time, and whose removal was not begun since another one.
    pub async fn expired_sandboxes(
        &self,
        at: Timestamp,
        begun_before: Timestamp,
    ) -> Result<Vec<StoredSandbox>> {
        let query = format!(
            "SELECT {COLUMNS} FROM connect_sandboxes WHERE expires_at <= $1 AND ending_at <= $2 \
            ORDER BY expires_at LIMIT 100"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(at.as_millisecond());
        let rows = self.database.rows(query.bind(begun_before.as_millisecond())).await?;
        rows.iter().map(|row| self.read_sandbox(row)).collect()
    }

    /// Sets the expiry of a sandbox. Returns false if its removal was begun.
    pub async fn extend_sandbox(&self, key: &SandboxKey, expires: Timestamp) -> Result<bool> {
        let query = "UPDATE connect_sandboxes SET expires_at = $4 \
            WHERE domain = $1 AND user_name = $2 AND name = $3 AND ending_at = 0";
        Ok(self.database.execute(bind(sqlx::query(query), key).bind(expires.as_millisecond())).await? == 1)
    }

    /// Begins the removal of a sandbox, unless it was begun after a time. With `if_expired`, only if it has expired.
    pub async fn end_sandbox(
        &self,
        key: &SandboxKey,
        at: Timestamp,
        begun_before: Timestamp,
        if_expired: bool,
    ) -> Result<bool> {
        let query = "UPDATE connect_sandboxes SET ending_at = $4 \
            WHERE domain = $1 AND user_name = $2 AND name = $3 AND ending_at <= $5 AND (expires_at <= $4 OR $6 = 0)";
        let query =
            bind(sqlx::query(query), key).bind(at.as_millisecond()).bind(begun_before.as_millisecond());
        Ok(self.database.execute(query.bind(i64::from(if_expired))).await? == 1)
    }

    /// Replaces the session of a sandbox. Returns false if another caller has done so.
    pub async fn set_sandbox_session(&self, key: &SandboxKey, old: &str, new: &str) -> Result<bool> {
        let query = "UPDATE connect_sandboxes SET session = $5 \
            WHERE domain = $1 AND user_name = $2 AND name = $3 AND session = $4";
        Ok(self.database.execute(bind(sqlx::query(query), key).bind(old).bind(new)).await? == 1)
    }

    /// Stores that a session of a sandbox was opened, unless the sandbox has another one.
    pub async fn set_opened_session(&self, key: &SandboxKey, session: &str) -> Result<()> {
        let query = "UPDATE connect_sandboxes SET opened_session = $4 \
            WHERE domain = $1 AND user_name = $2 AND name = $3 AND session = $4";
        self.database.execute(bind(sqlx::query(query), key).bind(session)).await.map(|_| ())
    }

    /// Deletes a sandbox whose removal was begun, and whose schema is dropped.
    pub async fn remove_sandbox(&self, key: &SandboxKey) -> Result<()> {
        let query = "DELETE FROM connect_sandboxes \
            WHERE domain = $1 AND user_name = $2 AND name = $3 AND ending_at > 0";
        self.database.execute(bind(sqlx::query(query), key)).await.map(|_| ())
    }

    fn read_sandbox(&self, row: &AnyRow) -> Result<StoredSandbox> {
        let text = |at| self.database.get::<String>(row, at);
        let optional = |at| text(at).map(|text| Some(text).filter(|text| !text.is_empty()));
        Ok(StoredSandbox {
            key: SandboxKey { domain: text(0)?, user: text(1)?, name: text(2)? },
            branch: text(3)?,
            pool: optional(4)?,
            engine: optional(5)?,
            cores: u32::try_from(self.database.number(row, 13)?).ok().filter(|cores| *cores > 0),
            memory: Memory::from_bytes(self.database.number(row, 14)?),
            catalog: text(6)?,
            schema: text(7)?,
            session: text(8)?,
            created: rows::time(&self.database, row, 9)?,
            expires: rows::time(&self.database, row, 10)?,
            opened: optional(12)?,
            ending: Some(rows::time(&self.database, row, 11)?).filter(|at| *at != Timestamp::UNIX_EPOCH),
        })
    }
}

/// Binds a key to the first three parameters.
fn bind<'q>(query: super::Query<'q>, key: &'q SandboxKey) -> super::Query<'q> {
    query.bind(key.domain.as_str()).bind(key.user.as_str()).bind(key.name.as_str())
}
