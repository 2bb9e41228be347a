//! Asset completions in a real PostgreSQL, started by `dcp_tests::postgres`.

use std::sync::Arc;

use dcp_reconciler::registry::sql::Sql;
use dcp_tests::postgres::database;

use crate::{Fixture, contract};

async fn fixture() -> Fixture {
    let url = database();
    let assets = Arc::new(Sql::postgres(&url).await.unwrap());
    let other = Arc::new(Sql::postgres(&url).await.unwrap());
    Fixture { assets, other, _resources: None }
}

contract!(fixture());
