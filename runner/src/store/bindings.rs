//! The clusters of applications, and the identity of the control plane.

use std::collections::HashSet;

use async_trait::async_trait;
use dcp_database::{Database, MAX_ROWS, parameter_table};
use dcp_gateway::clusters::{Binding, Bindings};
use dcp_gateway::{Error, Name, Result};
use sqlx::AssertSqlSafe;

use super::Store;
use crate::execution::Execution;

#[async_trait]
impl Bindings for Store {
    async fn bind(&self, name: &Name, binding: Binding) -> Result<Binding> {
        let cluster = match &binding {
            Binding::Cluster(cluster) => Some(cluster.as_str()),
            Binding::Stopped => None,
        };
        let query =
            "INSERT INTO runner_bindings (application, cluster) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let insert = sqlx::query(query).bind(name.as_str()).bind(cluster);
        self.database.execute(insert).await.map_err(|error| unavailable(&error))?;
        let stored = read(&self.database, name).await?;
        stored.ok_or_else(|| Error::Unavailable(format!("the cluster of `{name}` was removed meanwhile")))
    }

    async fn binding(&self, name: &Name) -> Result<Option<Binding>> {
        read(&self.database, name).await
    }

    async fn unbind(&self, name: &Name) -> Result<()> {
        let delete = sqlx::query("DELETE FROM runner_bindings WHERE application = $1").bind(name.as_str());
        self.database.execute(delete).await.map(drop).map_err(|error| unavailable(&error))
    }

    async fn identity(&self) -> Result<String> {
        if let Some(id) = read_identity(&self.database).await? {
            return Ok(id);
        }
        let id: u128 = rand::random();
        let query = "INSERT INTO runner_control_plane (only_row, id) VALUES (1, $1) ON CONFLICT DO NOTHING";
        let insert = sqlx::query(query).bind(format!("{id:032x}"));
        self.database.execute(insert).await.map_err(|error| unavailable(&error))?;
        let stored = read_identity(&self.database).await?;
        stored
            .ok_or_else(|| Error::Unavailable("the identity of the control plane was not stored".to_owned()))
    }

    async fn with_owner(&self, names: &[Name]) -> Result<HashSet<Name>> {
        let mut owned = HashSet::new();
        for names in names.chunks(MAX_ROWS) {
            let bound: HashSet<String> = self.among(BOUND, names.iter().map(Name::as_str)).await?;
            let execution = |name: &Name| Execution::parse_name(name.as_str()).map(|(id, _)| id.to_string());
            let ids: HashSet<String> = names.iter().filter_map(execution).collect();
            let live = self.among(LIVE, ids.iter().map(String::as_str)).await?;
            let is_owned = |name: &&Name| {
                bound.contains(name.as_str()) || execution(name).is_some_and(|id| live.contains(&id))
            };
            owned.extend(names.iter().filter(is_owned).cloned());
        }
        Ok(owned)
    }
}

/// The applications that have a cluster, and the executions that have not ended, among those asked for.
const BOUND: &str = "runner_bindings ON application = column1 AND cluster IS NOT NULL";
const LIVE: &str = "runner_executions ON id = column1 AND ended IS NULL";

impl Store {
    /// Returns the values that a table has a row for.
    async fn among<'v>(
        &self,
        table: &str,
        values: impl ExactSizeIterator<Item = &'v str>,
    ) -> Result<HashSet<String>> {
        if values.len() == 0 {
            return Ok(HashSet::new());
        }
        let query = format!("SELECT column1 FROM {} JOIN {table}", parameter_table(1, values.len()));
        let query = sqlx::query(AssertSqlSafe(query)).persistent(false);
        let query = values.fold(query, sqlx::query::Query::bind);
        let rows = self.database.rows(query).await.map_err(|error| unavailable(&error))?;
        rows.iter().map(|row| self.database.get(row, 0).map_err(|error| unavailable(&error))).collect()
    }
}

async fn read_identity(database: &Database) -> Result<Option<String>> {
    let rows = database.rows(sqlx::query("SELECT id FROM runner_control_plane")).await;
    let rows = rows.map_err(|error| unavailable(&error))?;
    rows.first().map(|row| database.get(row, 0).map_err(|error| unavailable(&error))).transpose()
}

async fn read(database: &Database, name: &Name) -> Result<Option<Binding>> {
    let query = sqlx::query("SELECT cluster FROM runner_bindings WHERE application = $1").bind(name.as_str());
    let rows = database.rows(query).await.map_err(|error| unavailable(&error))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let cluster: Option<String> = database.get(row, 0).map_err(|error| unavailable(&error))?;
    Ok(Some(cluster.map_or(Binding::Stopped, Binding::Cluster)))
}

fn unavailable(error: &dcp_database::Error) -> Error {
    Error::Unavailable(error.to_string())
}
