//! Creation of tables, and their migration from older versions of dcp.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use super::{Database, Error, Kind, Result, Transaction, parameter_table};

/// A set of tables with one version. A database may have several sets.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The table that stores the version of the others.
    pub table: &'static str,
    /// Scripts from each version to the next one. Released scripts never change; new ones are appended.
    pub migrations: &'static [&'static str],
}

impl Schema {
    fn tables(&self) -> Vec<&'static str> {
        let lines = self.migrations.iter().flat_map(|script| script.lines());
        lines.filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split(' ').next()).collect()
    }
}

impl Database {
    /// Creates the tables, or migrates them to this version.
    pub async fn migrate(&self, schema: &Schema) -> Result<()> {
        let Schema { table, migrations } = schema;
        // A first check without a lock: if there is nothing to do, it neither waits nor needs a right to write.
        // While another process creates the tables, a snapshot may have them without a version.
        let mut snapshot = self.read().await?;
        let found = self.version(&mut snapshot, table).await?;
        let is_latest = found.and_then(|found| usize::try_from(found).ok()) == Some(migrations.len());
        if is_latest && self.uncollated(&mut snapshot, schema).await?.is_empty() {
            return Ok(());
        }
        drop(snapshot);
        let mut transaction = self.exclusive().await?;
        if self.kind == Kind::Postgres {
            // Building the indexes of a large table may take long.
            transaction.run("SET LOCAL statement_timeout = 0".to_owned()).await?;
        }
        let Some(found) = self.version(&mut transaction, table).await? else {
            return Err(self.corrupt("it does not say of which version it is"));
        };
        let Some(missing) = usize::try_from(found).ok().and_then(|found| migrations.get(found..)) else {
            return Err(self.newer(found, migrations.len()));
        };
        for script in missing {
            transaction.run((*script).to_owned()).await?;
        }
        for (table, columns) in self.uncollated(&mut transaction, schema).await? {
            let changes: Vec<String> = columns
                .iter()
                .map(|column| format!("ALTER COLUMN {column} TYPE TEXT COLLATE \"C\""))
                .collect();
            transaction.run(format!("ALTER TABLE {table} {}", changes.join(", "))).await?;
        }
        transaction.run(format!("CREATE TABLE IF NOT EXISTS {table} (version BIGINT NOT NULL)")).await?;
        transaction.run(format!("DELETE FROM {table}")).await?;
        let latest = i64::try_from(migrations.len()).expect("there are few migrations");
        let insert = format!("INSERT INTO {table} (version) VALUES ($1)");
        transaction.execute(sqlx::query(AssertSqlSafe(insert)).bind(latest)).await?;
        transaction.commit().await
    }

    /// Returns the columns of text, by table, that PostgreSQL does not compare by bytes. Their order would depend
    /// on the database, and pages of ids, keys and addresses rely on one order. SQLite always compares by bytes.
    async fn uncollated(
        &self,
        transaction: &mut Transaction,
        schema: &Schema,
    ) -> Result<BTreeMap<String, Vec<String>>> {
        let (mut found, tables) = (BTreeMap::<String, Vec<String>>::new(), schema.tables());
        if self.kind == Kind::Sqlite || tables.is_empty() {
            return Ok(found);
        }
        let query = format!(
            "SELECT column1, attname::text FROM {} JOIN pg_attribute ON attrelid = to_regclass(column1) \
             JOIN pg_collation ON pg_collation.oid = attcollation \
             WHERE attnum > 0 AND NOT attisdropped AND collname <> 'C' ORDER BY attrelid, attnum",
            parameter_table(1, tables.len())
        );
        let query = sqlx::query(AssertSqlSafe(query)).persistent(false);
        for row in transaction.rows(tables.iter().fold(query, |query, table| query.bind(*table))).await? {
            found.entry(self.get(&row, 0)?).or_default().push(self.get(&row, 1)?);
        }
        Ok(found)
    }

    /// Returns the version of the tables: 0 if there are no tables, and none if no version is stored.
    async fn version(&self, transaction: &mut Transaction, table: &str) -> Result<Option<i64>> {
        let exists = match self.kind {
            Kind::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = $1",
            Kind::Postgres => "SELECT 1 WHERE to_regclass($1) IS NOT NULL",
        };
        if transaction.rows(sqlx::query(exists).bind(table)).await?.is_empty() {
            return Ok(Some(0));
        }
        let rows =
            transaction.rows(sqlx::query(AssertSqlSafe(format!("SELECT version FROM {table}")))).await?;
        rows.first().map(|row| self.get(row, 0)).transpose()
    }

    fn newer(&self, found: i64, known: usize) -> Error {
        let what = format!(
            "{self} was written by a newer dcp: its schema is {found}, and this dcp knows {known} at most"
        );
        Error::Corrupt(format!("{what}; upgrade dcp"))
    }
}
