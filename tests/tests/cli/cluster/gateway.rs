//! A Runner and a Gateway in processes of their own, with a real cluster and real Spark.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use rustix::process::Signal;

use super::{Project, SQL};
use crate::gateway::{self, Server, TOKEN, run};

/// A project whose Runner has a Gateway.
struct Services {
    gateway: Server,
    _others: gateway::Services,
    address: String,
    // It is dropped at last, as it keeps other tests from the cluster.
    project: Project,
}

impl Services {
    async fn start(test: &str) -> Self {
        let project = Project::prepare(test, &[("numbers", SQL)]).await;
        project.sandbox.write_token(TOKEN);
        let address = dcp_tests::free_address();
        let gateway = gateway::gateway(&project.sandbox, &address);
        let others = gateway::services(&project.sandbox, &gateway.url);
        Self { gateway, _others: others, address, project }
    }

    fn run(&self, args: &[&str]) -> crate::harness::CommandOutput {
        run(&self.project.sandbox, args)
    }

    fn submit(&self) -> String {
        gateway::submit(&self.project.sandbox)
    }

    fn waits_for(&self, id: &str, text: &str) {
        gateway::waits_for(&self.project.sandbox, id, text);
    }

    /// Kills the Gateway.
    fn kill(&mut self) {
        self.gateway.kill();
    }

    /// Starts a Gateway at the address of the killed one.
    fn start_again(&mut self) {
        self.gateway = gateway::gateway(&self.project.sandbox, &self.address);
    }

    async fn drivers(&self) -> Vec<Pod> {
        let client = self.project.cluster.client().await;
        let pods: Api<Pod> = Api::namespaced(client, &self.project.namespace);
        pods.list(&ListParams::default().labels("spark-role=driver")).await.expect("it responds").items
    }

    /// Waits until the containers of the only driver have ended.
    async fn wait_for_end_of_driver(&self) {
        let deadline = Instant::now() + Duration::from_mins(3);
        loop {
            let drivers = self.drivers().await;
            assert_eq!(drivers.len(), 1, "{drivers:#?}");
            let phase = drivers[0].status.as_ref().and_then(|status| status.phase.as_deref());
            if phase == Some("Succeeded") {
                return;
            }
            assert!(Instant::now() < deadline, "the driver does not end: {drivers:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_killed_gateway_is_followed_by_one_that_starts_no_second_driver() {
    let mut services = Services::start("cli-gateway").await;
    let id = services.submit();
    // Before and after the driver has started.
    services.waits_for(&id, "PENDING");
    services.kill();
    services.start_again();
    services.waits_for(&id, "RUNNING");
    services.kill();
    services.wait_for_end_of_driver().await;
    services.run(&["runs", &id]).exits_with(0).prints("phase        RUNNING");
    services.start_again();
    services.waits_for(&id, "SUCCEEDED");
    services.run(&["runs", &id]).exits_with(0).prints("attempt 1 on kubernetes, cluster test");
    assert_eq!(services.drivers().await.len(), 1);
    services.run(&["logs", "--all", &id]).exits_with(0).prints("Successfully stopped SparkContext");
    services.run(&["clusters"]).exits_with(0).prints("test     ready");
}

#[tokio::test]
async fn a_gateway_that_is_woken_late_starts_no_cancelled_driver() {
    let services = Services::start("cli-paused").await;
    services.gateway.send(Signal::STOP);
    let id = services.submit();
    services.waits_for(&id, "did not answer within 30s");
    gateway::cancel_before_waking(&services.project.sandbox, &id, &services.gateway);
    services.waits_for(&id, "phase        CANCELLED");
    assert_eq!(services.drivers().await, []);
}
