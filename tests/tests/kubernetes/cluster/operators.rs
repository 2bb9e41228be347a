//! Applications of the real Kubeflow operator, with its `spark-submit`. Each test is alone, as a submission needs a core.

use std::time::Duration;

use dcp_gateway::kubernetes::{Kubernetes, Operator};
use dcp_gateway::{Compute as _, Cursor, Error, Name, Phase, Reason};
use dcp_tests::cluster::{RECORDS, SharedCluster, TestCluster, parsed, pod_names};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde_json::json;

use super::{
    LONG_TIMEOUT, application, name, resources, set, unique, wait_for_end, wait_for_object,
    wait_for_obstacle, wait_until, wait_until_running,
};

/// A namespace of a cluster with the operator, and the name of an application in it.
struct Setup {
    cluster: SharedCluster,
    backend: Kubernetes,
    namespace: String,
    name: Name,
    resources: Api<DynamicObject>,
    pods: Api<Pod>,
}

impl Setup {
    async fn new(test: &str) -> Self {
        let cluster = TestCluster::exclusive().await;
        let namespace = unique(&format!("kubeflow-{test}"));
        let backend = cluster.backend_with_operator(&namespace, Operator::Kubeflow).await;
        let client = cluster.client().await;
        Self {
            backend,
            name: name(&format!("{namespace}-1")),
            resources: resources(client.clone(), "sparkoperator.k8s.io", "v1beta2", &namespace),
            pods: Api::namespaced(client, &namespace),
            cluster,
            namespace,
        }
    }

    async fn create(&self, script: &str) {
        let application = application(self.name.as_str(), script);
        self.backend.create(&application).await.expect("the application is created");
    }

    async fn stop(&self) {
        self.backend.delete(&self.name, Duration::from_secs(5)).await.expect("it can be stopped");
    }

    /// Forgets the application, and checks that nothing of it is left.
    async fn forget(&self) {
        self.backend.forget(&self.name).await.expect("it has ended");
        assert_eq!(self.backend.get(&self.name).await, Ok(None));
        let client = self.cluster.client().await;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &self.namespace);
        let services: Api<Service> = Api::namespaced(client.clone(), &self.namespace);
        let is_left = async || {
            let name = self.name.as_str();
            self.resources.get_opt(name).await.expect("the API server responds").is_some()
                || !pod_names(&client, &self.namespace).await.is_empty()
                || maps.get_opt(&format!("{name}-job")).await.expect("the API server responds").is_some()
                || services
                    .get_opt(&format!("{name}-driver-svc"))
                    .await
                    .expect("the API server responds")
                    .is_some()
        };
        let gone = async {
            while is_left().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(LONG_TIMEOUT, gone).await.expect("nothing is left");
    }

    /// Returns the state that the operator reports.
    async fn state(&self) -> String {
        let found = self.resources.get_opt(self.name.as_str()).await.expect("the API server responds");
        let state = found.map(|it| it.data["status"]["applicationState"]["state"].clone());
        state.and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_driver_of_the_operator_runs_to_its_end_and_is_forgotten() {
    let setup = Setup::new("end").await;
    let (backend, name) = (&setup.backend, &setup.name);
    let mut of = application(name.as_str(), "cat /opt/dcp/job/job.json; sleep 3; echo second");
    let map = json!({"name": format!("{name}-job"), "data": {"job.json": "the job\n"}});
    of.spec.config_map_specs = vec![parsed(map)];
    let spec = &mut of.spec.driver_spec.pod_template_spec["spec"];
    spec["volumes"] = json!([{"name": "job", "configMap": {"name": format!("{name}-job")}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "job", "mountPath": "/opt/dcp/job"}]);
    backend.accepts(&of).expect("the application is valid");
    for _ in 0..2 {
        backend.create(&of).await.expect("the application is created");
    }
    let running = wait_until(backend, name, |status| status.phase == Phase::Running).await;
    let host = format!("{name}-driver-svc.{}.svc", setup.namespace);
    assert_eq!(running.addresses.ui, Some(format!("http://{host}:4040")));
    let end = wait_for_end(backend, name).await;
    assert!(end.succeeded && end.exit_code == Some(0), "{end:?}");
    let log = backend.logs(name, &Cursor::default(), 1000).await.expect("the log can be read");
    assert_eq!(String::from_utf8_lossy(&log.bytes), "the job\nsecond\n");
    wait_for_object(&setup.resources, name.as_str(), true).await;
    let other = backend.create(&application(name.as_str(), "exit 1")).await;
    assert!(matches!(other, Err(Error::Conflict(_))), "{other:?}");
    setup.forget().await;
}

#[tokio::test]
async fn an_exit_code_of_a_driver_of_the_operator_is_reported() {
    let setup = Setup::new("code").await;
    setup.create("exit 3").await;
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert_eq!((end.succeeded, end.exit_code, end.reason), (false, Some(3), Reason::Exited), "{end:?}");
    let text = "driver: container `spark-kubernetes-driver` ended with exit code 3, Error";
    assert_eq!(end.evidence[0].text, text);
    setup.forget().await;
}

#[tokio::test]
async fn an_application_that_is_stopped_before_its_driver_appears_never_starts() {
    let setup = Setup::new("before").await;
    setup.cluster.control(&["kill", "kubeflow-operator"]);
    setup.create("exec sleep 1000").await;
    wait_for_object(&setup.resources, setup.name.as_str(), true).await;
    setup.stop().await;
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert_eq!((end.stopped, end.reason), (true, Reason::NotStarted), "{end:?}");
    setup.backend.get(&setup.name).await.expect("the cluster responds");
    wait_for_object(&setup.resources, setup.name.as_str(), false).await;
    setup.cluster.control(&["revive", "kubeflow-operator"]);
    // Once it has run a later one, the operator would have run this one.
    let later = name(&format!("{}-2", setup.namespace));
    let of = application(later.as_str(), "exit 0");
    setup.backend.create(&of).await.expect("the application is created");
    assert!(wait_for_end(&setup.backend, &later).await.succeeded);
    let pods = pod_names(&setup.cluster.client().await, &setup.namespace).await;
    assert_eq!(pods, [format!("{later}-driver")]);
}

#[tokio::test]
async fn a_driver_appears_once_the_operator_is_started() {
    let setup = Setup::new("late").await;
    setup.cluster.control(&["kill", "kubeflow-operator"]);
    setup.create("sleep 2").await;
    let status = setup.backend.get(&setup.name).await.expect("the cluster responds");
    assert_eq!(status.map(|it| (it.phase, it.obstacle)), Some((Phase::Pending, None)));
    setup.cluster.control(&["revive", "kubeflow-operator"]);
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert!(end.succeeded, "{end:?}");
    let pods = pod_names(&setup.cluster.client().await, &setup.namespace).await;
    assert_eq!(pods, [format!("{}-driver", setup.name)]);
}

#[tokio::test]
async fn a_running_driver_is_stopped_with_its_grace_period_and_leaves_nothing() {
    let setup = Setup::new("stop").await;
    setup.create("trap 'exit 7' TERM; while :; do sleep 0.1; done").await;
    wait_until_running(&setup.backend, &setup.name).await;
    setup.stop().await;
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert!(end.stopped && !end.succeeded, "{end:?}");
    setup.backend.get(&setup.name).await.expect("the cluster responds");
    wait_for_object(&setup.resources, setup.name.as_str(), false).await;
    setup.forget().await;
}

#[tokio::test]
async fn a_custom_resource_that_another_user_deletes_ends_the_application_with_its_pods() {
    let setup = Setup::new("deleted").await;
    setup.create("trap 'exit 9' TERM; while :; do sleep 0.1; done").await;
    wait_until_running(&setup.backend, &setup.name).await;
    let deleted = setup.resources.delete(setup.name.as_str(), &DeleteParams::default()).await;
    deleted.expect("the custom resource exists");
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert!(!end.stopped && !end.succeeded, "{end:?}");
    let texts: Vec<&str> = end.evidence.iter().map(|it| it.text.as_str()).collect();
    assert!(texts.contains(&"the custom resource of the application was deleted"), "{texts:?}");
    setup.forget().await;
}

#[tokio::test]
async fn a_custom_resource_that_another_user_deletes_before_a_driver_appears_ends_the_application() {
    let setup = Setup::new("early").await;
    setup.cluster.control(&["kill", "kubeflow-operator"]);
    setup.create("exit 0").await;
    let deleted = setup.resources.delete(setup.name.as_str(), &DeleteParams::default()).await;
    deleted.expect("the custom resource exists");
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert_eq!((end.reason, end.stopped), (Reason::Deleted, false), "{end:?}");
    let text = "the custom resource was deleted before the driver's pod was created";
    assert_eq!(end.evidence[0].text, text);
    setup.cluster.control(&["revive", "kubeflow-operator"]);
}

#[tokio::test]
async fn a_missing_image_is_an_obstacle_although_the_operator_reports_a_submission() {
    let setup = Setup::new("image").await;
    let mut of = application(setup.name.as_str(), "exit 0");
    set(&mut of, "spark.kubernetes.container.image", "localhost/absent:1");
    setup.backend.create(&of).await.expect("the application is created");
    let (phase, obstacle) = wait_for_obstacle(&setup.backend, &setup.name, Reason::ImageUnavailable).await;
    assert_eq!(phase, Phase::Pending, "{obstacle}");
    let submitted = async {
        while setup.state().await != "SUBMITTED" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, submitted).await.expect("the operator reports it");
    setup.stop().await;
    assert!(wait_for_end(&setup.backend, &setup.name).await.stopped);
}

#[tokio::test]
async fn a_driver_of_the_operator_that_exceeds_its_memory_is_reported() {
    let setup = Setup::new("memory").await;
    setup.create("exec python3 -c 'x = bytearray(1 << 30); print(len(x))'").await;
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert_eq!((end.reason, end.exit_code), (Reason::OutOfMemory, Some(137)), "{end:?}");
}

#[tokio::test]
async fn a_submission_that_fails_ends_the_application_with_the_message_of_the_operator() {
    let setup = Setup::new("failed").await;
    let mut of = application(setup.name.as_str(), "exit 0");
    set(&mut of, "spark.driver.memory", "much");
    setup.backend.create(&of).await.expect("the application is created");
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert_eq!(end.reason, Reason::BackendFailed, "{end:?}");
    assert!(end.evidence[0].text.contains("Driver memory must be a positive number"), "{end:?}");
    setup.backend.get(&setup.name).await.expect("the cluster responds");
    wait_for_object(&setup.resources, setup.name.as_str(), false).await;
}

/// An operator that is killed while it submits leaves a pod without the settings of Spark, and reports a failure later.
#[tokio::test]
async fn a_driver_that_the_operator_does_not_complete_is_deleted_and_ends_the_application() {
    let setup = Setup::new("half").await;
    setup.cluster.control(&["kill", "kubeflow-operator"]);
    setup.create("exit 0").await;
    let driver = format!("{}-driver", setup.name);
    let volume = json!({"name": "conf", "configMap": {"name": "spark-drv-conf-map"}});
    let pod = json!({
        "metadata": {"name": driver, "labels": {
            "dcp/application": setup.name, "spark-role": "driver", "spark-app-selector": "spark-1",
        }},
        "spec": {
            "containers": [{"name": "spark-kubernetes-driver", "image": "localhost/spark:4.1.1"}],
            "schedulingGates": [{"name": "dcp/record"}], "volumes": [volume],
        },
    });
    setup.pods.create(&PostParams::default(), &parsed(pod)).await.expect("the pod can be created");
    let status = setup.backend.get(&setup.name).await.expect("the cluster responds");
    assert_eq!(status.map(|it| it.phase), Some(Phase::Pending));
    setup.cluster.control(&["revive", "kubeflow-operator"]);
    let end = wait_for_end(&setup.backend, &setup.name).await;
    assert_eq!((end.reason, end.succeeded), (Reason::Deleted, false), "{end:?}");
    assert!(end.evidence[0].text.contains("driver pod already exist"), "{end:?}");
    assert!(setup.pods.get_opt(&driver).await.expect("the API server responds").is_none());
}

#[tokio::test]
async fn a_record_names_the_operator_so_that_changed_settings_strand_nothing() {
    let setup = Setup::new("changed").await;
    setup.create("sleep 2").await;
    // The clusters file was changed.
    let native = setup.cluster.backend(&setup.namespace).await;
    let of = application(setup.name.as_str(), "sleep 2");
    native.create(&of).await.expect("a repeated create continues");
    assert!(wait_for_end(&native, &setup.name).await.succeeded);
    native.forget(&setup.name).await.expect("it has ended");
    wait_for_object(&setup.resources, setup.name.as_str(), false).await;
    let records: Api<ConfigMap> = Api::namespaced(setup.cluster.client().await, RECORDS);
    assert!(records.get_opt(setup.name.as_str()).await.expect("the API server responds").is_none());
}
