use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::kubernetes::record::{Content, Stop};

pub(super) fn pod(role: &str, uid: &str, status: &Value) -> PodFacts {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": uid, "uid": uid, "labels": {"dcp/application": "a-1", "spark-role": role}},
        "status": status,
    }))
    .expect("the pod is valid");
    PodFacts::new(&pod).expect("it is a pod of an application")
}

fn running() -> Value {
    let state = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    json!({"phase": "Running", "containerStatuses": [{
        "name": "spark-kubernetes-driver", "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": state,
    }]})
}

fn record(stop: bool) -> Record {
    let stop = stop.then_some(Stop { at: Timestamp::UNIX_EPOCH, grace_seconds: 1 });
    let content = Content { driver: Some("driver".to_owned()), stop, ..Content::default() };
    Record::new("a-1".parse().expect("the name is valid"), "sales".to_owned(), content)
}

fn end_of(record: &Record, pods: &Pods) -> End {
    let (status, _) = assess(record, pods, Timestamp::UNIX_EPOCH);
    status.end.expect("the application has ended")
}

#[test]
fn a_stopped_driver_that_had_started_is_not_reported_as_never_started() {
    let mut pods = Pods::default();
    pods.insert(pod("driver", "driver", &running()));
    pods.remove_missing("driver");
    let end = end_of(&record(true), &pods);
    assert_eq!((end.stopped, end.reason), (true, Reason::Exited));

    let mut pods = Pods::default();
    pods.insert(pod("driver", "driver", &json!({"phase": "Pending"})));
    pods.remove_missing("driver");
    assert_eq!(end_of(&record(true), &pods).reason, Reason::NotStarted);
}

/// Returns the end of a deleted driver whose container the kubelet does not find, as it reports it.
fn end_of_missing_container(id: &str, stopped: bool) -> End {
    let state = json!({"terminated": {
        "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
        "message": "The container could not be located when the pod was terminated",
    }});
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "driver", "uid": "driver", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"dcp/application": "a-1", "spark-role": "driver"},
        },
        "status": {"phase": "Failed", "containerStatuses": [{
            "name": "spark-kubernetes-driver", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "containerID": id, "state": state,
        }]},
    }))
    .expect("the pod is valid");
    let mut pods = Pods::default();
    pods.insert(PodFacts::new(&pod).expect("it is a pod of an application"));
    end_of(&record(stopped), &pods)
}

#[test]
fn a_driver_without_a_container_has_no_exit_code() {
    let end = end_of_missing_container("", true);
    assert_eq!((end.reason, end.exit_code, end.evidence.len()), (Reason::NotStarted, None, 0));
    let end = end_of_missing_container("", false);
    assert_eq!((end.reason, end.exit_code), (Reason::Deleted, None));
    let end = end_of_missing_container("containerd://1", true);
    assert_eq!((end.reason, end.exit_code), (Reason::Exited, Some(137)));
}

#[test]
fn an_unseen_driver_has_not_ended() {
    let (status, actions) = assess(&record(false), &Pods::default(), Timestamp::UNIX_EPOCH);
    assert_eq!((status.phase, actions), (Phase::Pending, Vec::new()));
}

/// A stream with dynamic allocation starts any number of executors in its life.
#[test]
fn the_memory_of_ended_executors_is_bounded() {
    let mut pods = Pods::default();
    for number in 0..MAX_GONE_EXECUTORS + 10 {
        pods.remove(pod("executor", &format!("e-{number}"), &json!({"phase": "Succeeded"})));
    }
    assert_eq!(pods.gone_executors.len(), MAX_GONE_EXECUTORS);
    // A list that is older than a deletion does not bring the pod back.
    let last = pod("executor", &format!("e-{}", MAX_GONE_EXECUTORS + 9), &json!({"phase": "Running"}));
    pods.insert(last);
    assert!(pods.is_empty());
}

#[test]
fn a_driver_that_ends_well_while_it_is_evicted_is_reported_as_evicted() {
    let ended = json!({"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:00:00Z"}});
    let evicted = json!({"phase": "Succeeded", "containerStatuses": [{
        "name": "spark-kubernetes-driver", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": ended,
    }], "conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "node drain",
    }]});
    let mut pods = Pods::default();
    pods.insert(pod("driver", "driver", &evicted));
    let end = end_of(&record(false), &pods);
    assert_eq!((end.succeeded, end.exit_code, end.reason), (true, Some(0), Reason::Evicted));
    assert!(end.is_of_node() && end.evidence[0].text.contains("node drain"), "{end:?}");
}

#[test]
fn the_address_of_spark_connect_is_that_of_the_pod() {
    let mut record = record(false);
    record.content.addresses.connect = Some("a-1-driver-svc.sales.svc:15002".to_owned());
    let address = |ip: Option<&str>| {
        let mut status = running();
        status["podIP"] = json!(ip);
        let mut pods = Pods::default();
        pods.insert(pod("driver", "driver", &status));
        assess(&record, &pods, Timestamp::UNIX_EPOCH).0.addresses.connect
    };
    assert_eq!(address(Some("10.0.0.7")).as_deref(), Some("10.0.0.7:15002"));
    assert_eq!(address(Some("fd00::7")).as_deref(), Some("[fd00::7]:15002"));
    assert_eq!(address(None), None);
}
