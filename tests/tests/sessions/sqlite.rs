//! Sessions in a file of SQLite.

use dcp_connect::store::Store;

use crate::{Fixture, contract};

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let (store, other) = (Store::sqlite(&path).await.unwrap(), Store::sqlite(&path).await.unwrap());
    Fixture { store, other, _resources: Some(folder) }
}

contract!(fixture());
