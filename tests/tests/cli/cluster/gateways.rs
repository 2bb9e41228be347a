//! Two Gateways in processes of their own share a PostgreSQL and a cluster, and serve the same Runners in turn.

use std::collections::BTreeSet;
use std::time::Duration;

use dcp_runner::api::Runner as _;
use dcp_runner::execution::{Id, Phase};
use dcp_tests::cluster::{SharedCluster, TestCluster};
use dcp_tests::{TOKEN, postgres};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::clusters_file;
use super::kills::{Runner, SCRIPT, Started, submit_to_any, wait_for_end, watch_starts};
use crate::gateway::Server;
use crate::harness::Sandbox;

/// Maximum time of a connection to one Gateway. The next connection is to the other one.
const TURN: Duration = Duration::from_secs(3);
/// A pause after which every call that a Gateway was asked before has failed.
const LONG_PAUSE: Duration = Duration::from_secs(33);

/// Passes connections on to Gateways in turn.
async fn balance(listener: TcpListener, addresses: [String; 2]) {
    for address in addresses.iter().cycle() {
        let (mut client, _) = listener.accept().await.expect("the listener is open");
        let address = address.clone();
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(address).await {
                let _ = timeout(TURN, tokio::io::copy_bidirectional(&mut client, &mut server)).await;
            }
        });
    }
}

struct Services {
    gateways: [Server; 2],
    addresses: [String; 2],
    runners: [Runner; 2],
    database: String,
    started: Started,
    namespace: String,
    sandbox: Sandbox,
    cluster: SharedCluster,
}

impl Services {
    async fn start() -> Self {
        let cluster = TestCluster::exclusive().await;
        let namespace = format!("cli-gateways-{}", std::process::id());
        cluster.backend(&namespace).await;
        let (started, _) = watch_starts(&cluster.client().await, &namespace);
        let sandbox = Sandbox::new();
        sandbox.write("clusters.yaml", clusters_file(&cluster, &namespace));
        sandbox.write_token(TOKEN);
        let database = postgres::database();
        let addresses = [(); 2].map(|()| dcp_tests::free_address());
        let gateways = [("first", &addresses[0]), ("second", &addresses[1])]
            .map(|(name, address)| start(&sandbox, name, address, &database));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(balance(listener, addresses.clone()));
        let runner = || Runner::start(&sandbox, &database, &["--gateway", &url]);
        let runners = [runner(), runner()];
        Self { gateways, addresses, runners, database, started, namespace, sandbox, cluster }
    }

    /// Submits a driver with a script to one of the Runners.
    async fn submit(&self, number: usize, script: &str) -> Id {
        submit_to_any(&self.runners, number, script).await
    }

    /// Kills a Gateway, and starts it again at its address after a while.
    async fn restart(&mut self, index: usize) {
        self.gateways[index].kill();
        sleep(Duration::from_secs(2)).await;
        self.gateways[index] = start(&self.sandbox, "again", &self.addresses[index], &self.database);
    }

    async fn phase(&self, id: &Id) -> Phase {
        wait_for_end(&self.runners, id).await.execution.phase
    }

    /// Returns the applications whose drivers may run.
    async fn running(&self) -> BTreeSet<String> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().await, &self.namespace);
        let pods = pods.list(&ListParams::default()).await.expect("the cluster responds").items;
        let may_run = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        };
        pods.into_iter().filter(may_run).filter_map(|pod| pod.metadata.name).collect()
    }
}

fn start(sandbox: &Sandbox, name: &str, listen: &str, database: &str) -> Server {
    let serve = ["serve", "gateway", "--listen", listen, "--clusters", "clusters.yaml"];
    Server::start(sandbox, name, &[&serve[..], &["--database", database]].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_and_killed_gateways_start_each_driver_once_and_leave_none() {
    let mut services = Services::start().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(services.submit(number, SCRIPT).await);
    }
    // The first Gateway is paused within calls, and an execution is cancelled meanwhile.
    services.gateways[0].send(Signal::STOP);
    let cancelled = services.submit(100, "sleep 1000").await;
    ids.push(services.submit(3, SCRIPT).await);
    sleep(LONG_PAUSE / 2).await;
    for runner in &services.runners {
        let _ = runner.client.cancel(&cancelled, "tester").await;
    }
    sleep(LONG_PAUSE / 2).await;
    services.gateways[0].send(Signal::CONT);
    // Each one is killed while it has calls.
    for index in [1, 0, 1] {
        ids.push(services.submit(ids.len() + 10, SCRIPT).await);
        services.restart(index).await;
    }
    for id in &ids {
        assert_eq!(services.phase(id).await, Phase::Succeeded, "{id}");
    }
    assert_eq!(services.phase(&cancelled).await, Phase::Cancelled);
    let running = services.running().await;
    assert!(running.is_empty(), "drivers are left over: {running:?}");
    let started = services.started.lock().expect("no holder panics").clone();
    assert!(started.values().all(|drivers| drivers.len() == 1), "a driver started twice: {started:?}");
    let expected: BTreeSet<String> = ids.iter().map(|id| format!("dcp-{id}-1")).collect();
    let unexpected: Vec<_> = started.keys().filter(|name| !expected.contains(*name)).collect();
    assert!(unexpected.iter().all(|name| **name == format!("dcp-{cancelled}-1")), "{started:?}");
    assert!(expected.iter().all(|name| started.contains_key(name)), "{started:?}");
}
