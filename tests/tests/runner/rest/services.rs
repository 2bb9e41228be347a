//! The services beside the Runner.

use std::sync::Arc;

use dcp_connect::proxy::Proxy;
use dcp_model::primitive::Primitive;
use dcp_reconciler::reconcile::{Executions, LocalJobs};
use dcp_reconciler::registry::Registry as _;
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::rest::ControlPlane;
use dcp_reconciler::state::{Action, Base, Change};
use dcp_tests::commits;
use dcp_tests::fake_spark::FakeSpark;
use jiff::Timestamp;

/// Returns a proxy for Spark Connect without drivers.
pub(super) async fn proxy(fake_spark: &FakeSpark) -> Proxy {
    let store = dcp_connect::store::Store::sqlite(&fake_spark.path("state.db")).await.unwrap();
    Proxy::start(store, Arc::new(|_| None), Timestamp::now).await.unwrap()
}

/// Returns a control plane whose scope `shop/prod` has the continuous job of the document's examples.
pub(super) async fn control_plane(fake_spark: &FakeSpark) -> ControlPlane {
    let path = fake_spark.path("state.db");
    let registry = Sql::sqlite(&path).await.unwrap();
    let store = dcp_reconciler::reconcile::store::Store::sqlite(&path).await.unwrap();
    let change = |primitive: Primitive| {
        let body = Some(commits::body(&primitive.body.canonical()));
        Change { address: primitive.address, action: Action::Create, body }
    };
    let changes = dcp_tests::continuous_job().into_iter().map(change).collect();
    let first = commits::commit(&Base::default(), changes);
    registry.commit(&commits::scope(), first).await.unwrap();
    let jobs = Arc::new(LocalJobs {
        registry: registry.clone(),
        store,
        executions: Executions::None,
        clock: Timestamp::now,
    });
    let assets = Arc::new(registry.clone());
    ControlPlane { registry: Arc::new(registry), jobs, assets, clock: || commits::COMMIT_TIME }
}
