//! Job states in a SQLite file.

use dcp_reconciler::reconcile::store::Store;

use crate::{Fixture, contract};

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let (store, other) = (Store::sqlite(&path).await.unwrap(), Store::sqlite(&path).await.unwrap());
    Fixture { store, other, _resources: Some(folder) }
}

contract!(fixture());
