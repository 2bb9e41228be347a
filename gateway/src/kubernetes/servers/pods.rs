//! Finds the server of a pod. It is pure.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod};

use super::ConnectServer;
use crate::kubernetes::labels;
use crate::kubernetes::native::is_pool_driver;

/// The name of the port of Spark Connect: Spark's drivers have it since 4.1.
const PORT_NAME: &str = "spark-connect";
/// The port of Spark Connect by default.
const PORT: u16 = 15002;
/// The labels of the server pod of a `SparkConnect` resource of the Kubeflow operator. The pod names no ports.
const RESOURCE: &str = "sparkoperator.k8s.io/connect-name";
const SERVER_ROLE: &str = "connect-server";
/// The container of a driver. If there is none of this name, the operator takes the first one.
const CONTAINER: &str = "spark-kubernetes-driver";

/// What a pod shows of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Running(ConnectServer),
    /// It has ended, and may start again as another one.
    Ended,
}

/// Returns the server of a pod; nothing for pods that do not serve Spark Connect, drivers of pools, and pods that have not
/// started.
pub(super) fn find(pod: &Pod) -> Option<Found> {
    let (container, port) = server(pod)?;
    if is_pool_driver(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return Some(Found::Ended);
    }
    let of = status.container_statuses.iter().flatten().find(|status| status.name == container.name)?;
    if has_ended(of) {
        return Some(Found::Ended);
    }
    let started = of.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0;
    let host: IpAddr = status.pod_ip.as_ref()?.parse().ok()?;
    let mut conditions = status.conditions.iter().flatten();
    let is_ready = conditions.any(|it| it.type_ == "Ready" && it.status == "True");
    Some(Found::Running(ConnectServer {
        pod: pod.metadata.name.clone()?,
        uid: pod.metadata.uid.clone()?,
        restarts: of.restart_count,
        address: SocketAddr::new(host, port),
        version: label(pod, labels::VERSION).map(str::to_owned),
        started,
        is_ready: is_ready && pod.metadata.deletion_timestamp.is_none(),
    }))
}

fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Returns the container that serves Spark Connect, and its port.
fn server(pod: &Pod) -> Option<(&Container, u16)> {
    let containers = &pod.spec.as_ref()?.containers;
    let named = containers.iter().find_map(|container| {
        let port = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(PORT_NAME))?;
        Some((container, u16::try_from(port.container_port).ok()?))
    });
    let is_resource = label(pod, RESOURCE).is_some() && label(pod, labels::ROLE) == Some(SERVER_ROLE);
    named.or_else(|| {
        let container = containers.iter().find(|it| it.name == CONTAINER).or(containers.first());
        Some((container.filter(|_| is_resource)?, PORT))
    })
}

/// Returns whether the last run of a container has ended, and no other one runs.
fn has_ended(status: &ContainerStatus) -> bool {
    let is_ended = |state: &ContainerState| state.terminated.is_some();
    let is_waiting = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
    status.state.as_ref().is_some_and(is_ended)
        || (is_waiting && status.last_state.as_ref().is_some_and(is_ended))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns a ready driver of a plain Spark application.
    fn pod() -> Value {
        json!({
            "metadata": {"name": "server", "uid": "1", "labels": {"spark-role": "driver", "spark-version": "4.1.1"}},
            "spec": {"containers": [{"name": "spark-kubernetes-driver", "ports": [
                {"name": "spark-ui", "containerPort": 4040},
                {"name": "spark-connect", "containerPort": 15003},
            ]}]},
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.7",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{
                    "name": "spark-kubernetes-driver", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                }],
            },
        })
    }

    fn found(pod: Value) -> Option<Found> {
        find(&serde_json::from_value(pod).expect("it is a pod"))
    }

    fn running(pod: Value) -> ConnectServer {
        match found(pod) {
            Some(Found::Running(running)) => running,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn driver_of_a_spark_application_is_found_by_the_name_of_its_port() {
        let expected = ConnectServer {
            pod: "server".to_owned(),
            uid: "1".to_owned(),
            restarts: 0,
            address: "10.0.0.7:15003".parse().unwrap(),
            version: Some("4.1.1".to_owned()),
            started: "2026-01-01T00:00:00Z".parse().unwrap(),
            is_ready: true,
        };
        assert_eq!(running(pod()), expected);
        let mut other = pod();
        other["spec"]["containers"][0]["ports"] = json!([{"name": "spark-ui", "containerPort": 4040}]);
        assert_eq!(found(other), None);
        let mut six = pod();
        six["status"]["podIP"] = json!("fd00::7");
        assert_eq!(running(six).address.to_string(), "[fd00::7]:15003");
        let mut unlabelled = pod();
        unlabelled["metadata"]["labels"] = json!({});
        assert_eq!(running(unlabelled).version, None);
    }

    #[test]
    fn server_of_a_spark_connect_resource_is_found_by_its_labels() {
        let mut server = pod();
        server["metadata"]["labels"] = json!({
            "sparkoperator.k8s.io/launched-by-spark-operator": "true", "sparkoperator.k8s.io/connect-name": "team",
            "spark-role": "connect-server", "spark-version": "4.1.1",
        });
        server["spec"]["containers"] = json!([{"name": "sidecar"}, {"name": "spark-kubernetes-driver"}]);
        assert_eq!(running(server.clone()).address.port(), 15002);
        // Its executors have the label of the resource, too.
        server["metadata"]["labels"]["spark-role"] = json!("executor");
        assert_eq!(found(server), None);
    }

    #[test]
    fn driver_of_a_pool_is_left_to_the_pool() {
        let mut driver = pod();
        driver["metadata"]["labels"]["dcp/application"] = json!("dcp-1");
        assert!(running(driver.clone()).is_ready);
        let secret = json!({"name": "dcp-1-connect", "key": "token"});
        let token =
            json!({"name": "SPARK_CONNECT_AUTHENTICATE_TOKEN", "valueFrom": {"secretKeyRef": secret}});
        driver["spec"]["containers"][0]["env"] = json!([token]);
        assert_eq!(found(driver), None);
    }

    #[test]
    fn pod_that_is_not_ready_or_is_deleted_has_a_server_that_is_not_ready() {
        let mut unready = pod();
        unready["status"]["conditions"][0]["status"] = json!("False");
        assert!(!running(unready).is_ready);
        let mut deleted = pod();
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(!running(deleted).is_ready);
    }

    #[test]
    fn server_ends_with_its_container() {
        let mut again = pod();
        let status = &mut again["status"]["containerStatuses"][0];
        let last = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}});
        (status["restartCount"], status["lastState"]) = (json!(1), last.clone());
        assert_eq!(running(again.clone()).restarts, 1);
        let with_state = |state: Value| {
            let mut pod = again.clone();
            pod["status"]["containerStatuses"][0]["state"] = state;
            found(pod)
        };
        assert_eq!(with_state(last), Some(Found::Ended));
        assert_eq!(with_state(json!({"waiting": {"reason": "CrashLoopBackOff"}})), Some(Found::Ended));
        let mut over = pod();
        over["status"]["phase"] = json!("Failed");
        assert_eq!(found(over), Some(Found::Ended));
        let mut first = pod();
        first["status"]["containerStatuses"][0]["state"] =
            json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(found(first), None);
    }
}
