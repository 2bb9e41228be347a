//! The tables, and how those of an older dcp become those of this one.

use sqlx::{Any, AnyPool, Row as _, Transaction};

use super::store::Store;
use crate::registry::{Error, Result};

/// From each version of the schema to the next one. What has been released is never changed, only added to.
const MIGRATIONS: &[&str] = &[include_str!("schema-1.sql")];

pub(super) async fn migrate(store: &Store, pool: &AnyPool) -> Result<()> {
    // Without a lock first: where nothing is to be done, nobody is waited for and no right to write is needed. Where
    // another makes the tables just now, a snapshot may have them and not yet the version.
    let mut look = store.begin_read(pool).await?;
    let found = version(store, &mut look).await?;
    drop(look);
    if found.and_then(|found| usize::try_from(found).ok()) == Some(MIGRATIONS.len()) {
        return Ok(());
    }
    let mut transaction = store.begin_alone(pool).await?;
    let Some(found) = version(store, &mut transaction).await? else {
        return Err(store.corrupt("it does not say of which version it is"));
    };
    let Some(missing) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..)) else {
        return Err(newer(store, found));
    };
    for script in missing {
        run(store, &mut transaction, script).await?;
    }
    run(store, &mut transaction, "CREATE TABLE IF NOT EXISTS registry_schema (version BIGINT NOT NULL)")
        .await?;
    run(store, &mut transaction, "DELETE FROM registry_schema").await?;
    let latest = i64::try_from(MIGRATIONS.len()).expect("there are few migrations");
    let insert = sqlx::query("INSERT INTO registry_schema (version) VALUES ($1)").bind(latest);
    insert.execute(&mut *transaction).await.map_err(|error| store.error(&error))?;
    transaction.commit().await.map_err(|error| store.error(&error))
}

/// The version that the tables are of; 0 where there are none, and none where they don't say.
async fn version(store: &Store, transaction: &mut Transaction<'static, Any>) -> Result<Option<i64>> {
    let error = |error| store.error(&error);
    let exists = sqlx::query(store.has_schema()).fetch_optional(&mut **transaction).await.map_err(error)?;
    if exists.is_none() {
        return Ok(Some(0));
    }
    let row = sqlx::query("SELECT version FROM registry_schema").fetch_optional(&mut **transaction).await;
    row.map_err(error)?.map(|row| row.try_get(0)).transpose().map_err(error)
}

async fn run(store: &Store, transaction: &mut Transaction<'static, Any>, script: &'static str) -> Result<()> {
    sqlx::raw_sql(script).execute(&mut **transaction).await.map_err(|error| store.error(&error))?;
    Ok(())
}

fn newer(store: &Store, found: i64) -> Error {
    let known = MIGRATIONS.len();
    let what = format!(
        "{store} was written by a newer dcp: its schema is {found}, and this dcp knows {known} at most"
    );
    Error::Corrupt(format!("{what}; upgrade dcp"))
}
