//! PostgreSQL, the real one: Runners that share work by lease.

use std::sync::Arc;
use std::time::Duration;

use dcp_runner::store::Store;
use dcp_tests::machine::Machine;
use dcp_tests::postgres::database;

use crate::{Fresh, SCRIPT, contract, embedded, forgetting};

async fn fresh() -> Fresh {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let url = database();
    let lease = Duration::from_secs(15);
    let runner = embedded(&machine, Store::postgres(&url).await.expect("it opens"), lease).await;
    let other = embedded(&machine, Store::postgres(&url).await.expect("it opens"), lease).await;
    Fresh { machine, runner: Arc::new(runner), other: Arc::new(other) }
}

contract!(fresh());

#[tokio::test(flavor = "multi_thread")]
async fn another_takes_over_from_one_that_was_killed() {
    crate::crash::another_takes_over(&database()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_had_its_time_is_forgotten() {
    let store = Store::postgres(&database()).await.unwrap();
    forgetting::what_has_had_its_time_is_forgotten(&store).await;
}
