//! The registry in a database: SQLite in one file, or PostgreSQL.
//!
//! A commit is one transaction. Its first statement moves the head by compare-and-set, which takes the write lock in
//! SQLite and the lock on the scope's row in PostgreSQL. A second commit waits there, then finds that the head moved;
//! it has read nothing before that could be out of date. So READ COMMITTED suffices, and commits of one scope never run
//! in parallel. Commits of different scopes share no rows. The locks belong to the transaction, and end with it.

mod changes;
mod read;
mod write;

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use dcp_database::{Database, Schema};
use dcp_model::primitive::{Address, Fingerprint};
use dcp_server::offload;

pub use changes::ChangedAddress;

use super::{Error, Registry, Result, check};
use crate::state::{Applied, Commit, Head, Revision, Scope, State};

const SCHEMA: Schema = Schema { table: "registry_schema", migrations: &[include_str!("sql/schema-1.sql")] };

/// Tables of completions, which `crate::assets` reads and writes.
const ASSETS: Schema = Schema { table: "assets_schema", migrations: &[include_str!("sql/assets-1.sql")] };

/// A registry in a database. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Sql {
    database: Database,
}

impl From<dcp_database::Error> for Error {
    fn from(error: dcp_database::Error) -> Self {
        match error {
            dcp_database::Error::Invalid(said) => Self::Invalid(said),
            dcp_database::Error::NotFound(said) => Self::NotFound(said),
            dcp_database::Error::Denied(said) => Self::Denied(said),
            dcp_database::Error::Unavailable(said) => Self::Unavailable(said),
            dcp_database::Error::Corrupt(said) => Self::Corrupt(said),
        }
    }
}

impl Sql {
    /// Opens a file of SQLite. Creates the file and its folder for this user alone if they are missing.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        Self::migrated(Database::sqlite(path).await?).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`. Messages never have the password of the URL.
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::migrated(Database::postgres(url).await?).await
    }

    /// Returns whether the database answers.
    pub async fn answers(&self) -> bool {
        self.database.answers().await
    }

    /// Closes all connections. Dropping the value closes them a little later.
    pub async fn close(&self) {
        self.database.close().await;
    }

    async fn migrated(database: Database) -> Result<Self> {
        database.migrate(&SCHEMA).await?;
        database.migrate(&ASSETS).await?;
        Ok(Self { database })
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }
}

#[async_trait]
impl Registry for Sql {
    async fn state(&self, scope: &Scope) -> Result<State> {
        let mut view = self.view().await?;
        let head = view.head(scope).await?;
        let entries = view.entries(scope).await?;
        let unpublished = view.unpublished(scope).await?;
        Ok(State { base: head.base, applied: head.applied, entries, unpublished, visible: None })
    }

    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State> {
        let mut view = self.view().await?;
        let base = view.base(scope).await?;
        check::serial(scope, serial, &base)?;
        let head = view.head_at(scope, base.lineage, serial).await?;
        let entries = view.entries_at(scope, serial).await?;
        Ok(State { base: head.base, applied: head.applied, entries, ..State::default() })
    }

    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>> {
        self.view().await?.bodies(scope, fingerprints).await
    }

    async fn domains(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<BTreeSet<String>>> {
        self.view().await?.domains(scope, fingerprints).await
    }

    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        self.view().await?.revisions(scope, address).await
    }

    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>> {
        self.view().await?.history(scope, before, limit).await
    }

    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head> {
        let (to, bytes) = (scope.clone(), commit.bytes());
        let commit = offload(bytes, move || check::commit(&to, &commit).map(|()| commit)).await?;
        self.write(scope, &commit).await
    }

    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        self.forget_unpublished(scope, serials).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dcp_model::primitive::Kind;
    use jiff::Timestamp;
    use sqlx::Executor as _;
    use tempfile::TempDir;

    use super::*;
    use crate::registry::Error;
    use crate::state::Action;
    use crate::state::{Base, Body, Change};

    /// Applies to all connections of the registry.
    async fn set(registry: &Sql, pragma: &'static str) {
        let all = (0..registry.database.pool().options().get_max_connections())
            .map(|_| registry.database.pool().acquire());
        for mut connection in futures_util::future::try_join_all(all).await.unwrap() {
            connection.execute(pragma).await.unwrap();
        }
    }

    /// Returns the error of a commit with a setting of the connections.
    async fn refused(pragma: &'static str) -> Error {
        let folder = TempDir::new().unwrap();
        let registry = Sql::sqlite(&folder.path().join("state.db")).await.unwrap();
        set(&registry, pragma).await;
        let address = Address { domain: "sales".to_owned(), name: "a".to_owned(), kind: Kind::CoreEtlJob };
        let text = "x".repeat(1 << 20);
        let body = Some(Body { fingerprint: Fingerprint::of(&text), text });
        let commit = Commit {
            id: "one".to_owned(),
            base: Base::default(),
            by: "tester".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            commit: None,
            changes: vec![Change { address, action: Action::Create, body }],
        };
        let scope = Scope::new("shop", None);
        let error = registry.commit(&scope, commit).await.unwrap_err();
        assert_eq!(registry.state(&scope).await.unwrap().entries, BTreeMap::new());
        assert!(error.to_string().contains(&folder.path().join("state.db").display().to_string()), "{error}");
        error
    }

    #[tokio::test]
    async fn full_disk_is_reported_and_nothing_is_lost() {
        let error = refused("PRAGMA max_page_count = 40").await;
        assert!(
            matches!(&error, Error::Unavailable(said) if said.contains("is full") && said.contains("make room"))
        );
    }

    #[tokio::test]
    async fn read_only_file_is_reported() {
        let error = refused("PRAGMA query_only = ON").await;
        assert!(matches!(&error, Error::Unavailable(said) if said.contains("must be writable")), "{error:?}");
    }

    #[tokio::test]
    async fn timeout_of_the_write_lock_is_reported() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state.db");
        let (one, other) = (Sql::sqlite(&path).await.unwrap(), Sql::sqlite(&path).await.unwrap());
        let _held = one.database.exclusive().await.unwrap();
        set(&other, "PRAGMA busy_timeout = 1").await;
        let error = other.published(&Scope::new("shop", None), &[1]).await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable(said) if said.contains("another dcp")), "{error:?}");
    }
}
