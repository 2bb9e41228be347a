//! SQLite: Runners of one machine, that know of each other by locks.

use std::sync::Arc;
use std::time::Duration;

use dcp_runner::api::Error;
use dcp_runner::embedded::Embedded;
use dcp_runner::request::Submit;
use dcp_runner::store::Store;
use dcp_tests::machine::Machine;

use crate::{Fresh, SCRIPT, contract, forgetting, options, submit};

pub(crate) async fn start(machine: &Machine) -> Embedded {
    let store = Store::sqlite(&machine.path("runs.db")).await.expect("it opens");
    let mut options = options(machine);
    options.locks = Some(machine.path("locks"));
    options.lease = Duration::from_hours(1);
    Embedded::start(store, options).await.expect("it starts")
}

async fn fresh() -> Fresh {
    let machine = Machine::of_version("4.1.1", SCRIPT);
    let runner = Arc::new(start(&machine).await);
    let other = Arc::new(start(&machine).await);
    Fresh { machine, runner, other }
}

contract!(fresh());

#[tokio::test(flavor = "multi_thread")]
async fn somebody_has_to_ask() {
    let fresh = fresh().await;
    let nobody = Submit { by: String::new(), ..submit("a", "work") };
    let error = fresh.runner.submit(nobody).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { field, .. } if field == "by"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_had_its_time_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("runs.db")).await.unwrap();
    forgetting::what_has_had_its_time_is_forgotten(&store).await;
}
