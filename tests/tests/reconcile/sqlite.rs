//! Job states in a SQLite file.

use dcp_reconciler::reconcile::store::Store;

use crate::{Fresh, contract};

async fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let (store, other) = (Store::sqlite(&path).await.unwrap(), Store::sqlite(&path).await.unwrap());
    Fresh { store, other, _keep: Some(folder) }
}

contract!(fresh());
