//! The registry in a database: SQLite in one file, or PostgreSQL.
//!
//! Both are spoken to through `sqlx::Any`, in SQL that both understand; what differs is in [`store`]. A commit is one
//! transaction whose first statement moves the head on by compare-and-set. In SQLite that statement takes the one
//! write lock; in PostgreSQL, the lock on the scope's row. Whoever comes second waits there, then finds the head moved,
//! and has read nothing before that could be out of date. So READ COMMITTED suffices, and no two commits of one scope
//! ever run side by side; commits of different scopes touch no row in common. The locks are the transaction's own: they
//! end with it, however it ends.

mod read;
mod schema;
mod store;
mod write;

use std::path::Path;

use async_trait::async_trait;
use dcp_compiler::primitive::{Address, Fingerprint};
use sqlx::AnyPool;

use super::{Applied, Commit, Head, Registry, Result, Revision, Scope, State, check};
use store::Store;

/// A registry in a database. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Sql {
    pool: AnyPool,
    store: Store,
}

impl Sql {
    /// Opens a file of SQLite. It is made where it is missing, and its folder too, for this user alone.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        let (store, pool) = store::sqlite(path).await?;
        Self::migrated(store, pool).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`. No message has the URL's password.
    pub async fn postgres(url: &str) -> Result<Self> {
        let (store, pool) = store::postgres(url).await?;
        Self::migrated(store, pool).await
    }

    /// Ends all connections. What is dropped without it ends them too, a little later.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn migrated(store: Store, pool: AnyPool) -> Result<Self> {
        schema::migrate(&store, &pool).await?;
        Ok(Self { pool, store })
    }

    /// What a database said, as an error that names the place and the way out.
    fn error(&self) -> impl Fn(sqlx::Error) -> super::Error + '_ {
        |error| self.store.error(&error)
    }
}

#[async_trait]
impl Registry for Sql {
    async fn state(&self, scope: &Scope) -> Result<State> {
        let mut view = self.view().await?;
        let head = view.head(scope).await?;
        let entries = view.entries(scope).await?;
        let unpublished = view.unpublished(scope).await?;
        Ok(State { base: head.base, applied: head.applied, entries, unpublished })
    }

    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State> {
        let mut view = self.view().await?;
        let base = view.base(scope).await?;
        check::serial(scope, serial, &base)?;
        let head = view.head_at(scope, base.lineage, serial).await?;
        let entries = view.entries_at(scope, serial).await?;
        Ok(State { base: head.base, applied: head.applied, entries, unpublished: Vec::new() })
    }

    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>> {
        self.view().await?.bodies(scope, fingerprints).await
    }

    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        self.view().await?.revisions(scope, address).await
    }

    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>> {
        self.view().await?.history(scope, before, limit).await
    }

    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head> {
        check::commit(scope, &commit)?;
        self.write(scope, &commit).await
    }

    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        self.forget_unpublished(scope, serials).await
    }
}
