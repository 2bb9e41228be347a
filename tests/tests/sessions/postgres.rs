//! Sessions in a real PostgreSQL, started by `dcp_tests::postgres`.

use dcp_connect::store::Store;
use dcp_tests::postgres::database;

use crate::{Fixture, contract};

async fn fixture() -> Fixture {
    let url = database();
    let (store, other) = (Store::postgres(&url).await.unwrap(), Store::postgres(&url).await.unwrap());
    Fixture { store, other, _resources: None }
}

contract!(fixture());
