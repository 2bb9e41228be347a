use serde_json::{Value, json};

use super::super::tests::pod;
use super::*;
use crate::kubernetes::Operator;
use crate::kubernetes::record::{Content, Stop};

fn gated(uid: &str) -> PodFacts {
    PodFacts { gates: vec!["dcp/record".to_owned()], ..pod("driver", uid, &json!({"phase": "Pending"})) }
}

/// Returns the record of an application whose custom resource has a UID.
fn record(uid: Option<&str>, stop: bool) -> Record {
    let uid = uid.map(str::to_owned);
    let resource = CustomResource { operator: Operator::Kubeflow, uid, driver_pod: None, event_log: None };
    let stop = stop.then_some(Stop { at: Timestamp::UNIX_EPOCH, grace_seconds: 1 });
    let content = Content { resource: Some(resource), stop, ..Content::default() };
    Record::new("a-1".parse().expect("the name is valid"), "sales".to_owned(), content)
}

fn resource(uid: &str, status: &Value) -> Resource {
    let object = serde_json::from_value(json!({
        "apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "status": status,
        "metadata": {"name": "a-1", "namespace": "sales", "uid": uid, "labels": {"dcp/application": "a-1"}},
    }));
    let object = object.expect("it is an object");
    Resource::Present(ResourceFacts::new(Operator::Kubeflow, &object).expect("it has the label"))
}

fn failed() -> Value {
    json!({"applicationState": {"state": "FAILED", "errorMessage": "no image"}, "executionAttempts": 0})
}

fn assessed(record: &Record, pods: Vec<PodFacts>, resource: Resource) -> (Status, Vec<Action>) {
    let mut all = Pods { resource, ..Pods::default() };
    for pod in pods {
        all.insert(pod);
    }
    super::super::assess(record, &all, Timestamp::UNIX_EPOCH)
}

#[test]
fn a_driver_is_adopted_once_all_objects_of_its_application_exist() {
    let (status, actions) = assessed(&record(None, false), vec![gated("d")], Resource::Unknown);
    assert_eq!((status.phase, actions), (Phase::Pending, Vec::new()));
    let (_, actions) = assessed(&record(Some("r"), false), vec![gated("d")], resource("r", &json!({})));
    assert!(matches!(&actions[..], [Action::Adopt { uid, has_given_up: false, .. }] if uid == "d"));
    for resource in [Resource::Missing, resource("r", &failed()), resource("other", &json!({}))] {
        let (status, actions) = assessed(&record(Some("r"), false), vec![gated("d")], resource);
        assert!(matches!(&actions[..], [Action::Adopt { has_given_up: true, .. }]), "{actions:?}");
        assert_eq!((status.phase, status.obstacle), (Phase::Pending, None));
    }
}

#[test]
fn an_application_without_a_driver_ends_only_by_its_own_custom_resource() {
    let own = record(Some("r"), false);
    let reason = |record: &Record, resource: Resource| {
        let (status, actions) = assessed(record, Vec::new(), resource);
        assert_eq!(status.phase == Phase::Ended, matches!(&actions[..], [Action::StoreEnd { .. }]));
        status.end.map(|end| end.reason)
    };
    assert_eq!(reason(&own, Resource::Unknown), None);
    assert_eq!(reason(&own, resource("r", &json!({}))), None);
    assert_eq!(reason(&own, resource("r", &failed())), Some(Reason::BackendFailed));
    assert_eq!(reason(&own, resource("other", &json!({}))), Some(Reason::Deleted));
    assert_eq!(reason(&own, Resource::Missing), Some(Reason::Deleted));
    // Its creator has not ended.
    assert_eq!(reason(&record(None, false), Resource::Missing), None);
    assert_eq!(reason(&record(None, false), resource("r", &failed())), None);
}

#[test]
fn a_pod_that_is_left_delays_the_end() {
    let deleting = PodFacts { is_deleting: true, ..gated("d") };
    let (status, actions) = assessed(&record(Some("r"), false), vec![deleting], Resource::Missing);
    assert_eq!((status.phase, actions), (Phase::Pending, Vec::new()));
    let executor = pod("executor", "e", &json!({"phase": "Running"}));
    let (status, actions) = assessed(&record(Some("r"), false), vec![executor], Resource::Missing);
    assert!(matches!(&actions[..], [Action::DeletePod { uid, .. }] if uid == "e"), "{actions:?}");
    assert_eq!(status.phase, Phase::Pending);
}

#[test]
fn a_stopped_application_adopts_no_driver_and_waits_for_one_that_runs() {
    let (status, actions) = assessed(&record(Some("r"), true), vec![gated("d")], Resource::Unknown);
    assert_eq!(status.phase, Phase::Ended);
    assert!(matches!(&actions[..], [Action::DeletePod { .. }, Action::StoreEnd { .. }]), "{actions:?}");
    let running = pod("driver", "d", &json!({"phase": "Running"}));
    let (status, actions) = assessed(&record(Some("r"), true), vec![running], Resource::Unknown);
    assert_eq!(status.phase, Phase::Running);
    assert!(matches!(&actions[..], [Action::DeletePod { .. }]), "{actions:?}");
}

#[test]
fn a_custom_resource_is_deleted_after_the_end_unless_its_driver_has_ended_by_itself() {
    let ended = |stop: bool, driver: Option<&str>| {
        let mut record = record(Some("r"), stop);
        record.content.driver = driver.map(str::to_owned);
        record.content.end = Some(End::exited(Timestamp::UNIX_EPOCH, Some(0), None));
        record
    };
    let deletes = |record: &Record, resource: Resource| {
        let (_, actions) = assessed(record, Vec::new(), resource);
        matches!(&actions[..], [Action::DeleteResource { .. }])
    };
    let present = || resource("r", &json!({}));
    assert!(!deletes(&ended(false, Some("d")), present()));
    assert!(!deletes(&ended(true, Some("d")), Resource::Missing));
    assert!(deletes(&ended(true, Some("d")), present()));
    assert!(deletes(&ended(false, None), present()));
    assert!(deletes(&ended(false, Some("d")), resource("other", &json!({}))));
    let Resource::Present(facts) = present() else { unreachable!("it is present") };
    let deleting = ResourceFacts { is_deleting: true, ..facts };
    assert!(!deletes(&ended(true, Some("d")), Resource::Present(deleting)));
}

#[test]
fn an_older_version_of_a_custom_resource_is_ignored() {
    let mut known = resource("r", &failed());
    known.update(Resource::Unknown);
    assert_eq!(known, resource("r", &failed()));
    let version = |version: &str, status: &Value| {
        let object = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "X", "status": status,
            "metadata": {
                "name": "a-1", "namespace": "sales", "uid": "r", "resourceVersion": version,
                "labels": {"dcp/application": "a-1"},
            },
        }));
        let object = object.expect("it is an object");
        Resource::Present(ResourceFacts::new(Operator::Kubeflow, &object).expect("it has the label"))
    };
    let mut known = version("10", &failed());
    known.update(version("9", &json!({})));
    assert_eq!(known, version("10", &failed()));
    known.update(version("11", &json!({})));
    assert_eq!(known, version("11", &json!({})));
}
