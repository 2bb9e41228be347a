//! Sandboxes.

use dcp_database::Result;
use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Store, rows};

/// The identity of a sandbox. Two users never share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SandboxKey {
    pub(crate) domain: String,
    pub(crate) user: String,
    pub(crate) name: String,
}

/// A sandbox as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSandbox {
    pub(crate) key: SandboxKey,
    pub(crate) branch: String,
    pub(crate) pool: Option<String>,
    pub(crate) engine: Option<String>,
    pub(crate) catalog: String,
    pub(crate) schema: String,
    /// The session that has it now.
    pub(crate) session: String,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    /// The time at which its removal was begun last.
    pub(crate) ending: Option<Timestamp>,
}

const COLUMNS: &str = "domain, user_name, name, branch, pool, engine, catalog_name, schema_name, session, created_at, \
    expires_at, ending_at";

impl Store {
    /// Stores a sandbox. Returns false if the user has one of this name, or another one has its schema.
    pub(crate) async fn add_sandbox(&self, sandbox: &StoredSandbox) -> Result<bool> {
        let query = "INSERT INTO connect_sandboxes (domain, user_name, name, branch, pool, engine, catalog_name, \
            schema_name, session, created_at, expires_at, ending_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0) ON CONFLICT DO NOTHING";
        let query = bind(sqlx::query(query), &sandbox.key).bind(sandbox.branch.as_str());
        let query = query.bind(sandbox.pool.as_deref().unwrap_or_default());
        let query = query.bind(sandbox.engine.as_deref().unwrap_or_default());
        let query =
            query.bind(sandbox.catalog.as_str()).bind(sandbox.schema.as_str()).bind(sandbox.session.as_str());
        let query = query.bind(sandbox.created.as_millisecond()).bind(sandbox.expires.as_millisecond());
        Ok(self.database.execute(query).await? == 1)
    }

    pub(crate) async fn sandbox(&self, key: &SandboxKey) -> Result<Option<StoredSandbox>> {
        let query = format!(
            "SELECT {COLUMNS} FROM connect_sandboxes WHERE domain = $1 AND user_name = $2 AND name = $3"
        );
        let rows = self.database.rows(bind(sqlx::query(sqlx::AssertSqlSafe(query)), key)).await?;
        rows.first().map(|row| self.read_sandbox(row)).transpose()
    }

    /// Returns the sandboxes of a user.
    pub(crate) async fn sandboxes(&self, user: &str) -> Result<Vec<StoredSandbox>> {
        let query =
            format!("SELECT {COLUMNS} FROM connect_sandboxes WHERE user_name = $1 ORDER BY domain, name");
        let rows = self.database.rows(sqlx::query(sqlx::AssertSqlSafe(query)).bind(user)).await?;
        rows.iter().map(|row| self.read_sandbox(row)).collect()
    }

    /// Returns sandboxes that have expired at a time, and whose removal was not begun since another one.
    pub(crate) async fn expired_sandboxes(
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
    pub(crate) async fn extend_sandbox(&self, key: &SandboxKey, expires: Timestamp) -> Result<bool> {
        let query = "UPDATE connect_sandboxes SET expires_at = $4 \
            WHERE domain = $1 AND user_name = $2 AND name = $3 AND ending_at = 0";
        Ok(self.database.execute(bind(sqlx::query(query), key).bind(expires.as_millisecond())).await? == 1)
    }

    /// Begins the removal of a sandbox, unless it was begun after a time. With `if_expired`, only if it has expired.
    pub(crate) async fn end_sandbox(
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
    pub(crate) async fn set_sandbox_session(&self, key: &SandboxKey, old: &str, new: &str) -> Result<bool> {
        let query = "UPDATE connect_sandboxes SET session = $5 \
            WHERE domain = $1 AND user_name = $2 AND name = $3 AND session = $4";
        Ok(self.database.execute(bind(sqlx::query(query), key).bind(old).bind(new)).await? == 1)
    }

    /// Deletes a sandbox whose removal was begun, and whose schema is dropped.
    pub(crate) async fn remove_sandbox(&self, key: &SandboxKey) -> Result<()> {
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
            catalog: text(6)?,
            schema: text(7)?,
            session: text(8)?,
            created: rows::time(&self.database, row, 9)?,
            expires: rows::time(&self.database, row, 10)?,
            ending: Some(rows::time(&self.database, row, 11)?).filter(|at| *at != Timestamp::UNIX_EPOCH),
        })
    }
}

/// Binds a key to the first three parameters.
fn bind<'q>(query: super::Query<'q>, key: &'q SandboxKey) -> super::Query<'q> {
    query.bind(key.domain.as_str()).bind(key.user.as_str()).bind(key.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(domain: &str, user: &str) -> SandboxKey {
        SandboxKey { domain: domain.to_owned(), user: user.to_owned(), name: "main".to_owned() }
    }

    fn sandbox(key: SandboxKey, schema: &str) -> StoredSandbox {
        StoredSandbox {
            key,
            branch: "main".to_owned(),
            pool: None,
            engine: Some("4.1".to_owned()),
            catalog: "spark_catalog".to_owned(),
            schema: schema.to_owned(),
            session: "1".to_owned(),
            created: at(1),
            expires: at(100),
            ending: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    async fn store(folder: &tempfile::TempDir) -> Store {
        Store::sqlite(&folder.path().join("state.db")).await.unwrap()
    }

    #[tokio::test]
    async fn sandbox_is_stored_once_and_its_schema_belongs_to_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let ada = sandbox(key("logistics", "ada"), "sandbox_ada_main");
        assert!(store.add_sandbox(&ada).await.unwrap());
        assert!(!store.add_sandbox(&ada).await.unwrap());
        assert_eq!(store.sandbox(&ada.key).await.unwrap().unwrap(), ada);
        assert!(!store.add_sandbox(&sandbox(key("finance", "ada"), "sandbox_ada_main")).await.unwrap());
        assert!(store.add_sandbox(&sandbox(key("finance", "ada"), "sandbox_ada_main_1")).await.unwrap());
        assert!(store.add_sandbox(&sandbox(key("finance", "bob"), "sandbox_bob_main")).await.unwrap());
        assert_eq!(store.sandboxes("ada").await.unwrap().len(), 2);
        assert_eq!(store.sandboxes("bob").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn sandbox_that_expires_is_removed_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let ada = sandbox(key("logistics", "ada"), "sandbox_ada_main");
        store.add_sandbox(&ada).await.unwrap();
        let never = Timestamp::UNIX_EPOCH;
        assert_eq!(store.expired_sandboxes(at(99), never).await.unwrap(), []);
        assert!(!store.end_sandbox(&ada.key, at(99), never, true).await.unwrap());
        store.remove_sandbox(&ada.key).await.unwrap();
        assert!(store.extend_sandbox(&ada.key, at(200)).await.unwrap(), "it was removed without an end");
        assert!(!store.end_sandbox(&ada.key, at(150), never, true).await.unwrap());
        assert_eq!(store.expired_sandboxes(at(200), never).await.unwrap().len(), 1);
        assert!(store.end_sandbox(&ada.key, at(200), never, true).await.unwrap());
        assert!(!store.end_sandbox(&ada.key, at(201), never, true).await.unwrap());
        assert!(!store.extend_sandbox(&ada.key, at(300)).await.unwrap());
        assert!(
            store.end_sandbox(&ada.key, at(900), at(800), true).await.unwrap(),
            "another one has to complete it"
        );
        store.remove_sandbox(&ada.key).await.unwrap();
        assert_eq!(store.sandbox(&ada.key).await.unwrap(), None);
    }

    #[tokio::test]
    async fn session_is_replaced_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let ada = sandbox(key("logistics", "ada"), "sandbox_ada_main");
        store.add_sandbox(&ada).await.unwrap();
        assert!(store.set_sandbox_session(&ada.key, "1", "2").await.unwrap());
        assert!(!store.set_sandbox_session(&ada.key, "1", "3").await.unwrap());
        assert_eq!(store.sandbox(&ada.key).await.unwrap().unwrap().session, "2");
    }
}
