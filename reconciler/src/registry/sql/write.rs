//! Commits, each as one transaction.

use std::collections::HashMap;

use dcp_database::{MAX_ROWS, signed};
use serde::Serialize;
use sqlx::AssertSqlSafe;

use super::Sql;
use super::read::View;
use crate::registry::check::{self, LastRevision};
use crate::registry::{Error, Result};
use crate::state::{Body, Change, Commit, Head, Scope};

/// A change, with the revision that it makes.
struct Row<'a> {
    address: String,
    revision: i64,
    action: String,
    body: Option<&'a Body>,
}

impl<'a> Row<'a> {
    fn of(change: &'a Change, address: String, last: &HashMap<String, LastRevision>) -> Result<Self> {
        let revision = signed(check::next_revision(change, last.get(&address).copied())?);
        Ok(Self { address, revision, action: json(&change.action), body: change.body.as_ref() })
    }

    fn fingerprint(&self) -> Option<&str> {
        self.body.map(|body| body.fingerprint.as_str())
    }
}

impl Sql {
    pub(super) async fn write(&self, scope: &Scope, commit: &Commit) -> Result<Head> {
        let mut view = View(self.database.write().await?);
        // This statement takes the lock, so the rest of the transaction runs alone.
        let moved = view.move_head(scope, commit).await?;
        if let Some(earlier) = view.by_id(scope, &commit.id).await? {
            let lineage = view.base(scope).await?.lineage.unwrap_or_default();
            return check::repeated(commit, &lineage, earlier);
        }
        if !moved {
            return Err(Error::Moved(Box::new(view.head(scope).await?)));
        }
        let head = commit.head();
        view.write_applied(scope, &head).await?;
        for changes in commit.changes.chunks(MAX_ROWS) {
            let addresses: Vec<_> = changes.iter().map(|change| change.address.to_string()).collect();
            let last = view.last(scope, &addresses).await?;
            let rows = changes.iter().zip(addresses).map(|(change, address)| Row::of(change, address, &last));
            let rows = rows.collect::<Result<Vec<_>>>()?;
            view.write_rows(scope, signed(head.base.serial), &rows).await?;
        }
        view.0.commit().await?;
        Ok(head)
    }

    pub(super) async fn forget_unpublished(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        for some in serials.chunks(MAX_ROWS) {
            let serials: Vec<_> = (2..some.len() + 2).map(|number| format!("${number}")).collect();
            let query = "DELETE FROM registry_unpublished WHERE scope = $1 AND serial IN";
            let query = format!("{query} ({})", serials.join(","));
            let query = sqlx::query(AssertSqlSafe(query)).persistent(false).bind(scope.as_str());
            let query = some.iter().fold(query, |query, &serial| query.bind(signed(serial)));
            let done = query.execute(self.database.pool()).await;
            done.map_err(|error| self.database.error(&error))?;
        }
        Ok(())
    }
}

impl View {
    /// Moves the head from the commit's base to the commit. Returns false if the head is not the base.
    async fn move_head(&mut self, scope: &Scope, commit: &Commit) -> Result<bool> {
        let query = match &commit.base.lineage {
            None => {
                let first = "INSERT INTO registry_scopes (scope, lineage, serial) VALUES ($1, $2, 1) \
                    ON CONFLICT (scope) DO NOTHING";
                sqlx::query(first).bind(scope.as_str()).bind(commit.id.as_str())
            }
            Some(lineage) => {
                let next = "UPDATE registry_scopes SET serial = serial + 1 \
                    WHERE scope = $1 AND lineage = $2 AND serial = $3";
                sqlx::query(next).bind(scope.as_str()).bind(lineage.as_str()).bind(signed(commit.base.serial))
            }
        };
        Ok(self.0.execute(query).await? == 1)
    }

    async fn write_applied(&mut self, scope: &Scope, head: &Head) -> Result<()> {
        let Some(applied) = &head.applied else { return Ok(()) };
        let serial = signed(applied.serial);
        let query = "INSERT INTO registry_applies \
            (scope, serial, id, applied_by, applied_at, source_commit, counts) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let query = sqlx::query(query).bind(scope.as_str()).bind(serial).bind(applied.id.as_str());
        let query = query.bind(applied.by.as_str()).bind(applied.at.to_string());
        let query = query.bind(applied.commit.as_deref()).bind(json(&applied.counts));
        self.0.execute(query).await?;
        let query = "INSERT INTO registry_unpublished (scope, serial) VALUES ($1, $2)";
        self.0.execute(sqlx::query(query).bind(scope.as_str()).bind(serial)).await?;
        Ok(())
    }

    async fn write_rows(&mut self, scope: &Scope, serial: i64, rows: &[Row<'_>]) -> Result<()> {
        let bodies: Vec<_> = rows.iter().filter_map(|row| row.body).collect();
        let into = "registry_bodies (scope, fingerprint, body)";
        self.0
            .insert(into, 3, "ON CONFLICT (scope, fingerprint) DO NOTHING", &bodies, |query, body| {
                query.bind(scope.as_str()).bind(body.fingerprint.as_str()).bind(body.text.as_str())
            })
            .await?;
        let into = "registry_revisions (scope, address, revision, serial, action, fingerprint)";
        self.0
            .insert(into, 6, "", rows, |query, row| {
                let query = query.bind(scope.as_str()).bind(row.address.as_str()).bind(row.revision);
                query.bind(serial).bind(row.action.as_str()).bind(row.fingerprint())
            })
            .await?;
        let into = "registry_current (scope, address, revision, serial, fingerprint)";
        let replace = "ON CONFLICT (scope, address) DO UPDATE SET \
            revision = excluded.revision, serial = excluded.serial, fingerprint = excluded.fingerprint";
        self.0
            .insert(into, 5, replace, rows, |query, row| {
                let query = query.bind(scope.as_str()).bind(row.address.as_str()).bind(row.revision);
                query.bind(serial).bind(row.fingerprint())
            })
            .await?;
        Ok(())
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("actions and counts are JSON")
}
