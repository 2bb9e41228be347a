//! Completions in the database of the registry.

use std::collections::HashMap;

use async_trait::async_trait;
use dcp_database::{Transaction, signed};
use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{Assets, Completed, Completion, MAX_ITEMS, NewCompletions, Page, canonical};
use crate::registry::Result;
use crate::registry::sql::Sql;
use crate::state::Scope;

const COLUMNS: &str = "number, asset, part, run, job, origin, told_by, told_at";

/// Stored completions of an asset, and the share of its completions at which older ones are removed.
const MAX_STORED: i64 = 10_000;
const CLEANUP_PROBABILITY: f64 = 0.01;

#[async_trait]
impl Assets for Sql {
    async fn complete(
        &self,
        scope: &Scope,
        new: &NewCompletions,
        by: &str,
        at: Timestamp,
    ) -> Result<Vec<Completion>> {
        let checked = new.checked()?;
        let mut write =
            CompletionWriter { scope, new: &checked, by, at, view: self.database().write().await? };
        let mut last = write.lock_scope().await?;
        let mut known = write.existing().await?;
        let mut completions = Vec::with_capacity(checked.assets.len());
        let mut unknown = Vec::new();
        for asset in &checked.assets {
            let completion = known.remove(asset).unwrap_or_else(|| {
                last += 1;
                let completion = write.completion(last, asset);
                unknown.push(completion.clone());
                completion
            });
            completions.push(completion);
        }
        // Known completions are not written again.
        if !unknown.is_empty() {
            write.write(&unknown, last).await?;
            for it in &unknown {
                // At random, so that assets that are completed in turn are all cleaned up.
                if rand::random_bool(CLEANUP_PROBABILITY) {
                    write.delete_old(&it.asset, MAX_STORED).await?;
                }
            }
            write.view.commit().await?;
        }
        Ok(completions)
    }

    async fn completions(
        &self,
        scope: &Scope,
        after: Option<u64>,
        asset: Option<&str>,
        limit: u32,
    ) -> Result<Page> {
        let limit = if limit == 0 { MAX_ITEMS } else { limit.min(MAX_ITEMS) };
        let asset = asset.map(canonical).transpose()?;
        let mut view = self.database().read().await?;
        let query = sqlx::query("SELECT last FROM asset_scopes WHERE scope = $1").bind(scope.as_str());
        let rows = view.rows(query).await?;
        let last = rows.first().map(|row| view.database().number(row, 0)).transpose()?.unwrap_or_default();
        let of = if asset.is_some() { "AND asset = $4" } else { "" };
        let order = if after.is_some() { "ASC" } else { "DESC" };
        let query = format!(
            "SELECT {COLUMNS} FROM asset_completions WHERE scope = $1 AND number > $2 {of} \
             ORDER BY number {order} LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(query)).bind(scope.as_str());
        let query = query.bind(signed(after.unwrap_or_default())).bind(i64::from(limit));
        let query = match &asset {
            Some(asset) => query.bind(asset.as_str()),
            None => query,
        };
        let rows = view.rows(query).await?;
        let completions = rows.iter().map(|row| completion(&view, row)).collect::<Result<Vec<_>>>()?;
        // A full page ends the search.
        let is_full = completions.len() as u64 >= u64::from(limit);
        let seen = match (after, completions.last()) {
            (Some(_), Some(last)) if is_full => last.number,
            (Some(after), _) => last.max(after),
            (None, _) => last,
        };
        Ok(Page { completions, seen })
    }

    async fn completed(&self, scope: &Scope) -> Result<Vec<Completed>> {
        let mut view = self.database().read().await?;
        let columns = COLUMNS.split(", ").map(|it| format!("it.{it}")).collect::<Vec<_>>().join(", ");
        let query = format!(
            "SELECT {columns}, of.times FROM asset_last AS of JOIN asset_completions AS it \
             ON it.scope = of.scope AND it.number = of.number WHERE of.scope = $1"
        );
        let rows = view.rows(sqlx::query(AssertSqlSafe(query)).bind(scope.as_str())).await?;
        let completed =
            |row| Ok(Completed { last: completion(&view, row)?, times: view.database().number(row, 8)? });
        let mut all = rows.iter().map(completed).collect::<Result<Vec<_>>>()?;
        // Sorted here, because collations of databases differ.
        all.sort_by(|a, b| a.last.asset.cmp(&b.last.asset));
        Ok(all)
    }
}

/// One transaction that writes completions.
struct CompletionWriter<'a> {
    scope: &'a Scope,
    new: &'a NewCompletions,
    by: &'a str,
    at: Timestamp,
    view: Transaction,
}

impl CompletionWriter<'_> {
    fn completion(&self, number: u64, asset: &str) -> Completion {
        let NewCompletions { partition, run, job, origin, .. } = self.new;
        Completion {
            number,
            asset: asset.to_owned(),
            partition: partition.clone(),
            run: run.clone(),
            job: job.clone(),
            origin: origin.clone(),
            by: self.by.to_owned(),
            at: self.at,
        }
    }

    /// Locks the scope for writers, and returns its last number.
    async fn lock_scope(&mut self) -> Result<u64> {
        let query = "INSERT INTO asset_scopes (scope, last) VALUES ($1, 0) \
            ON CONFLICT (scope) DO UPDATE SET last = asset_scopes.last";
        self.view.execute(sqlx::query(query).bind(self.scope.as_str())).await?;
        let query = sqlx::query("SELECT last FROM asset_scopes WHERE scope = $1").bind(self.scope.as_str());
        let rows = self.view.rows(query).await?;
        let last = rows.first().map(|row| self.view.database().number(row, 0)).transpose()?;
        Ok(last.unwrap_or_default())
    }

    /// Returns the completions that were reported for this run before, by asset.
    async fn existing(&mut self) -> Result<HashMap<String, Completion>> {
        // Reads all assets of the run, which are few, so that the statement stays the same.
        let query = format!(
            "SELECT {COLUMNS} FROM asset_completions WHERE scope = $1 AND asset = $2 AND part = $3 AND run = $4"
        );
        let mut known = HashMap::new();
        for asset in &self.new.assets {
            let query = sqlx::query(AssertSqlSafe(query.as_str())).bind(self.scope.as_str());
            let query = query.bind(asset.as_str());
            let query = query.bind(self.new.partition.as_str()).bind(self.new.run.as_str());
            if let Some(row) = self.view.rows(query).await?.first() {
                known.insert(asset.clone(), completion(&self.view, row)?);
            }
        }
        Ok(known)
    }

    async fn write(&mut self, new: &[Completion], last: u64) -> Result<()> {
        let scope = self.scope.as_str();
        for some in new.chunks(dcp_database::MAX_ROWS) {
            let into = "asset_completions (scope, number, asset, part, run, job, origin, told_by, told_at)";
            self.view
                .insert(into, 9, "", some, |query, it| {
                    let query = query.bind(scope).bind(signed(it.number)).bind(it.asset.as_str());
                    let query = query.bind(it.partition.as_str()).bind(it.run.as_str());
                    let query = query.bind(it.job.as_deref()).bind(it.origin.as_str());
                    query.bind(it.by.as_str()).bind(it.at.to_string())
                })
                .await?;
            let into = "asset_last (scope, asset, number, times)";
            let again = "ON CONFLICT (scope, asset) DO UPDATE SET \
                number = excluded.number, times = asset_last.times + 1";
            self.view
                .insert(into, 4, again, some, |query, it| {
                    query.bind(scope).bind(it.asset.as_str()).bind(signed(it.number)).bind(1_i64)
                })
                .await?;
        }
        let query = sqlx::query("UPDATE asset_scopes SET last = $2 WHERE scope = $1").bind(scope);
        self.view.execute(query.bind(signed(last))).await?;
        Ok(())
    }

    /// Removes all but the last completions of an asset.
    async fn delete_old(&mut self, asset: &str, kept: i64) -> Result<()> {
        let query = "DELETE FROM asset_completions WHERE scope = $1 AND asset = $2 AND number < \
            (SELECT number FROM asset_completions WHERE scope = $1 AND asset = $2 \
             ORDER BY number DESC LIMIT 1 OFFSET $3)";
        let query = sqlx::query(query).bind(self.scope.as_str()).bind(asset).bind(kept - 1);
        self.view.execute(query).await?;
        Ok(())
    }
}

fn completion(view: &Transaction, row: &AnyRow) -> Result<Completion> {
    let database = view.database();
    let at: &str = database.get(row, 7)?;
    Ok(Completion {
        number: database.number(row, 0)?,
        asset: database.get(row, 1)?,
        partition: database.get(row, 2)?,
        run: database.get(row, 3)?,
        job: database.get(row, 4)?,
        origin: database.get(row, 5)?,
        by: database.get(row, 6)?,
        at: at.parse().map_err(|_| database.corrupt(&format!("`{at}` is no time")))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_completions_of_an_asset_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let sql = Sql::sqlite(&folder.path().join("state.db")).await.unwrap();
        let (scope, at) = (Scope::new("shop", None), Timestamp::UNIX_EPOCH);
        let new = |run: u32| NewCompletions {
            assets: vec!["table:a".to_owned(), "table:b".to_owned()],
            partition: String::new(),
            run: run.to_string(),
            job: None,
            origin: "test".to_owned(),
        };
        for run in 0..5 {
            sql.complete(&scope, &new(run), "tester", at).await.unwrap();
        }
        let view = sql.database().write().await.unwrap();
        let mut write = CompletionWriter { scope: &scope, new: &new(0), by: "tester", at, view };
        write.delete_old("table:a", 2).await.unwrap();
        // If there are fewer, none is removed.
        write.delete_old("table:b", 5).await.unwrap();
        write.view.commit().await.unwrap();
        let page = sql.completions(&scope, Some(0), None, 0).await.unwrap();
        let kept: Vec<u64> = page.completions.iter().map(|it| it.number).collect();
        assert_eq!(kept, [2, 4, 6, 7, 8, 9, 10]);
        assert_eq!(
            sql.completed(&scope).await.unwrap().iter().map(|it| it.times).collect::<Vec<_>>(),
            [5, 5]
        );
    }
}
