//! Job states in a real PostgreSQL, started by `dcp_tests::postgres`.

use dcp_reconciler::reconcile::store::Store;
use dcp_tests::postgres::database;

use crate::{Fresh, contract};

async fn fresh() -> Fresh {
    let url = database();
    let (store, other) = (Store::postgres(&url).await.unwrap(), Store::postgres(&url).await.unwrap());
    Fresh { store, other, _keep: None }
}

contract!(fresh());
