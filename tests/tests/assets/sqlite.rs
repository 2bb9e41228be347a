//! Asset completions in a SQLite file.

use std::sync::Arc;

use dcp_reconciler::registry::sql::Sql;
use tempfile::TempDir;

use crate::{Fixture, contract};

async fn fixture() -> Fixture {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let assets = Arc::new(Sql::sqlite(&path).await.unwrap());
    let other = Arc::new(Sql::sqlite(&path).await.unwrap());
    Fixture { assets, other, _resources: Some(folder) }
}

contract!(fixture());
