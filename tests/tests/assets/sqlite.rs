//! Asset completions in a SQLite file.

use std::sync::Arc;

use dcp_reconciler::registry::sql::Sql;
use tempfile::TempDir;

use crate::{Fresh, contract};

async fn fresh() -> Fresh {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let assets = Arc::new(Sql::sqlite(&path).await.unwrap());
    let other = Arc::new(Sql::sqlite(&path).await.unwrap());
    Fresh { assets, other, _keep: Some(folder) }
}

contract!(fresh());
