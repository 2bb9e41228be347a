//! The delay between a change of a pod and its execution.

use std::time::{Duration, Instant};

use dcp_runner::api::Runner as _;
use dcp_runner::execution::{Execution, Phase};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Bench, NAMESPACE, TIMEOUT};
use crate::runner::{Result, Times};

/// Interval between two checks of an execution.
const INTERVAL: Duration = Duration::from_millis(2);

/// Reports the start of drivers, one after the other, and measures the time until `Check` returns it.
pub(super) async fn measure(bench: &Bench, count: usize) -> Result<Times> {
    let pods: Api<Pod> = Api::namespaced(bench.client.clone(), NAMESPACE);
    let mut delays = Vec::new();
    for application in bench.drivers.names().into_iter().take(count) {
        start_container(&pods, &format!("{application}-driver")).await?;
        let begun = Instant::now();
        let (id, _) = Execution::parse_name(&application).ok_or("the name is not one of an execution")?;
        while bench.process.client.check(&id).await?.execution.phase != Phase::Running {
            if begun.elapsed() > TIMEOUT {
                return Err(format!("{id} is not reported as running").into());
            }
            tokio::time::sleep(INTERVAL).await;
        }
        delays.push(begun.elapsed().as_secs_f64());
    }
    Times::new(delays)
}

/// Reports that the containers of a pod run, as a kubelet does.
async fn start_container(pods: &Api<Pod>, name: &str) -> Result<()> {
    let pod = pods.get(name).await?;
    let (now, containers) = (Timestamp::now(), pod.spec.map(|spec| spec.containers).unwrap_or_default());
    let running = |name: &String| {
        json!({
            "name": name, "ready": true, "started": true, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {"startedAt": now}},
        })
    };
    let statuses: Vec<_> = containers.iter().map(|container| running(&container.name)).collect();
    let status = json!({"status": {"phase": "Running", "startTime": now, "containerStatuses": statuses}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}
