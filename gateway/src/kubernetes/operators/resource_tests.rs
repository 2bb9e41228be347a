//! Golden tests of custom resources: `tests/golden/kubernetes/applications/CASE.json` gives `resources/OPERATOR/CASE.json`.
//! `UPDATE_GOLDEN=1` writes the results; read them before you commit them.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Operator, Settings, SparkApplication};
use crate::kubernetes::facts::PodFacts;
use k8s_openapi::api::core::v1::Pod;

pub(super) const OPERATORS: [(Operator, &str); 2] =
    [(Operator::Apache, "apache"), (Operator::Kubeflow, "kubeflow")];

pub(super) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/kubernetes")
}

/// Compares a text with a golden file, or updates the file.
pub(super) fn compare(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be created");
        fs::write(path, found).expect("the golden file can be written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(expected, found, "{}", path.display());
}

fn settings() -> Settings {
    Settings {
        control_plane: Some("p1".to_owned()),
        event_logs: Some("s3a://logs/spark".to_owned()),
        conf: [("spark.master".to_owned(), "k8s://https://main".to_owned())].into(),
        ..Settings::new("main")
    }
}

fn applications() -> Vec<(String, SparkApplication)> {
    let folder = fs::read_dir(golden().join("applications")).expect("there are applications");
    let mut all: Vec<_> = folder
        .map(|entry| {
            let path = entry.expect("the folder can be listed").path();
            let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("an application can be read");
            (name, serde_json::from_str(&text).expect("it is an application"))
        })
        .collect();
    all.sort_by(|a: &(String, _), b| a.0.cmp(&b.0));
    all
}

fn application(name: &str) -> SparkApplication {
    applications().into_iter().find(|(it, _)| it == name).expect("there is such an application").1
}

/// Returns the schema of a custom resource, which rejects the unknown fields that the API server would drop.
fn schema(operator: Operator) -> Value {
    let file = match operator {
        Operator::Apache => "sparkapplications.spark.apache.org-v1.yaml",
        Operator::Kubeflow => "sparkoperator.k8s.io_sparkapplications.yaml",
    };
    let text = fs::read_to_string(golden().join("crds").join(file)).expect("the CRD can be read");
    let crd: Value = serde_yaml_ng::from_str(&text).expect("the CRD is YAML");
    let versions = crd["spec"]["versions"].as_array().expect("a CRD has versions");
    let served = versions.iter().find(|it| it["name"] == *operator.resource().version);
    let mut schema = served.expect("the version is served")["schema"]["openAPIV3Schema"].clone();
    assert_eq!(crd["spec"]["group"], *operator.resource().group);
    assert_eq!(crd["spec"]["names"]["plural"], *operator.resource().plural);
    // Every resource has these, also if its CRD does not name them.
    for (field, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        schema["properties"][field] = json!({"type": kind});
    }
    close(&mut schema);
    schema
}

/// Makes a schema reject unknown fields.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            let is_open = object.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
            let is_schema = object.get("type") == Some(&json!("object"));
            let is_closed = object.get("properties").is_some_and(Value::is_object);
            if is_schema && is_closed && !is_open {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn validator(schema: &Value) -> Validator {
    jsonschema::validator_for(schema).expect("the schema is valid")
}

fn errors(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn resources_match_the_golden_files_and_the_schemas() {
    let template = schema(Operator::Apache)
        .pointer("/properties/spec/properties/driverSpec/properties/podTemplateSpec")
        .map(validator)
        .expect("the schema has pod templates");
    for (operator, folder) in OPERATORS {
        let validator = validator(&schema(operator));
        for (name, application) in applications() {
            let resource = operator.objects(&application, &settings()).expect(&name).resource;
            assert_eq!(errors(&validator, &resource), Vec::<String>::new(), "{folder} {name}");
            if operator == Operator::Kubeflow {
                for role in ["driver", "executor"] {
                    let of_role = &resource["spec"][role]["template"];
                    assert_eq!(errors(&template, of_role), Vec::<String>::new(), "{folder} {name}");
                }
            }
            let text = serde_json::to_string_pretty(&resource).expect("it is JSON") + "\n";
            compare(&golden().join("resources").join(folder).join(format!("{name}.json")), &text);
        }
    }
}

#[test]
fn the_schemas_detect_unknown_fields() {
    for (operator, folder) in OPERATORS {
        let resource = operator.objects(&application("sql"), &settings()).expect("it is valid").resource;
        let validator = validator(&schema(operator));
        for pointer in ["/spec", ""] {
            let mut changed = resource.clone();
            changed.pointer_mut(pointer).expect("it exists")["unknown"] = json!(1);
            assert_eq!(errors(&validator, &changed).len(), 1, "{folder} {pointer}");
        }
    }
}

/// Changes of the application `sql`, and the fields of the errors.
type Change = (fn(&mut SparkApplication), &'static str);

const REJECTED: &[Change] = &[
    (|it| set(it, "spark.dcp.configMap", "conf"), "spark.configMap"),
    (|it| set(it, "spark.dcp.driver.memoryLimit", "4g"), "resources.driver.memoryLimit"),
    (|it| set(it, "spark.app.name", "totals"), "spark.conf.spark.app.name"),
    (|it| set(it, "spark.kubernetes.driver.pod.name", "x"), "spark.conf.spark.kubernetes.driver.pod.name"),
    (|it| set(it, "spark.kubernetes.file.upload.path", "x"), "spark.conf.spark.kubernetes.file.upload.path"),
    (|it| set(it, "spark.jars", "lib/a.jar"), "dependencies.jars"),
    (|it| set(it, "spark.archives", "a.zip#a"), "dependencies.archives"),
    (|it| it.spec.files = Some("conf/a".to_owned()), "dependencies.files"),
    (|it| it.spec.py_files = Some("jobs/a.py".to_owned()), "job.pyspark.main"),
    (|it| it.spec.py_files = Some("/a.py,b.py".to_owned()), "job.pyspark.pyFiles"),
    (|it| it.spec.jars = Some("a.jar".to_owned()), "job.jar.main"),
    (|it| drop(it.spec.spark_conf.remove("spark.kubernetes.container.image")), "engine.image"),
    (|it| it.metadata.namespace = "hr".to_owned(), "metadata.domain"),
    (|it| template(it)["spec"]["tolerations"] = json!({}), "pods.driver.template"),
    (|it| template(it)["spec"]["tolerationz"] = json!([]), "pods.driver.template.spec.tolerationz"),
    (
        |it| template(it)["spec"]["containers"][0]["envs"] = json!([]),
        "pods.driver.template.spec.containers[0].envs",
    ),
    (
        |it| it.spec.executor_spec.pod_template_spec["status"] = json!({"phase": "Running"}),
        "pods.executors.template.status",
    ),
];

fn set(application: &mut SparkApplication, key: &str, value: &str) {
    application.spec.spark_conf.insert(key.to_owned(), value.to_owned());
}

fn template(application: &mut SparkApplication) -> &mut Value {
    &mut application.spec.driver_spec.pod_template_spec
}

#[test]
fn ignored_fields_are_rejected_by_name() {
    let mut settings = settings();
    settings.namespaces.default = None;
    settings.namespaces.of_domains = [("sales".to_owned(), "sales".to_owned())].into();
    for (operator, _) in OPERATORS {
        for (change, field) in REJECTED {
            let mut application = application("sql");
            change(&mut application);
            let error = operator.objects(&application, &settings).expect_err(field).to_string();
            assert!(error.starts_with(&format!("`{field}`: ")), "{error}");
        }
    }
}

#[test]
fn kubeflow_rejects_programs_and_names_that_it_would_misread() {
    let mut no_python = application("sql");
    no_python.spec.py_files = Some("local:///opt/app/main".to_owned());
    let mut number = application("sql");
    number.metadata.name = "1-a".to_owned();
    for (application, message) in [(no_python, "`job.pyspark.main`: "), (number, "begins with a letter")] {
        assert!(Operator::Apache.objects(&application, &settings()).is_ok());
        let error = Operator::Kubeflow.objects(&application, &settings()).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn names_that_are_too_long_for_the_driver_service_are_rejected() {
    for (operator, _) in OPERATORS {
        for (length, is_valid) in [(52, true), (53, false)] {
            let mut application = application("sql");
            application.metadata.name = "a".repeat(length);
            assert_eq!(operator.objects(&application, &settings()).is_ok(), is_valid, "{length}");
        }
    }
}

#[test]
fn every_template_has_the_gate_and_the_label() {
    for (operator, folder) in OPERATORS {
        for (name, application) in applications() {
            let resource = operator.objects(&application, &settings()).expect(&name).resource;
            let [driver, executor] = match operator {
                Operator::Apache => {
                    ["/spec/driverSpec/podTemplateSpec", "/spec/executorSpec/podTemplateSpec"]
                }
                Operator::Kubeflow => ["/spec/driver/template", "/spec/executor/template"],
            };
            let at = |pointer: &str, rest: &str| resource.pointer(&format!("{pointer}{rest}"));
            let gates = at(driver, "/spec/schedulingGates").and_then(Value::as_array).expect("it is gated");
            assert!(gates.contains(&json!({"name": "dcp/record"})), "{folder} {name}");
            for (template, container) in
                [(driver, "spark-kubernetes-driver"), (executor, "spark-kubernetes-executor")]
            {
                let label = at(template, "/metadata/labels/dcp~1application");
                assert_eq!(label, Some(&json!(application.metadata.name)), "{folder} {name}");
                assert_eq!(at(template, "/spec/containers/0/name"), Some(&json!(container)));
            }
        }
    }
}

fn pod(uid: &str, role: &str, gate: Option<&str>) -> Pod {
    let gates: Vec<Value> = gate.into_iter().map(|name| json!({"name": name})).collect();
    let maps = json!([
        {"name": "a", "configMap": {"name": "settings"}},
        {"name": "b", "configMap": {"name": "extra", "optional": true}},
        {"name": "c", "emptyDir": {}},
    ]);
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("pod-{uid}"), "uid": uid, "namespace": "sales",
            "labels": {"dcp/application": "dcp-a1-1", "spark-role": role, "spark-app-selector": "spark-7"},
        },
        "spec": {"containers": [], "schedulingGates": gates, "volumes": maps},
    }))
    .expect("it is a pod")
}

#[test]
fn the_first_gated_driver_is_the_candidate_unless_one_has_no_gate() {
    let facts =
        |uid: &str, role: &str, gate| PodFacts::new(&pod(uid, role, gate)).expect("it has the labels");
    let found = |pods: &[PodFacts]| super::candidate(pods).map(|pod| pod.uid.clone());
    let (one, two) = (facts("1", "driver", Some("dcp/record")), facts("2", "driver", Some("dcp/record")));
    let deleted = PodFacts { is_deleting: true, ..facts("0", "driver", Some("dcp/record")) };
    assert_eq!(found(&[two.clone(), one.clone(), deleted.clone()]).as_deref(), Some("1"));
    assert_eq!(found(&[two, one, facts("3", "driver", None)]).as_deref(), Some("3"));
    assert_eq!(found(&[facts("1", "executor", None), deleted]), None);
}

#[test]
fn objects_of_a_driver_are_owned_by_the_custom_resource_and_have_addresses() {
    let objects = Operator::Kubeflow.objects(&application("sql"), &settings()).expect("it is valid");
    let pod = pod("u-1", "driver", Some("dcp/record"));
    let (configs, service) = objects.owned_by("u-1");
    let owners = configs.iter().map(|it| &it.metadata).chain([&service.metadata]);
    for metadata in owners {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        assert_eq!(owners.iter().map(|it| it.uid.as_str()).collect::<Vec<_>>(), ["u-1"]);
        assert_eq!((&*owners[0].kind, &*owners[0].name), ("SparkApplication", "dcp-a1-1"));
    }
    let names: Vec<_> = configs.iter().filter_map(|it| it.metadata.name.as_deref()).collect();
    assert_eq!(
        (names.as_slice(), service.metadata.name.as_deref()),
        (&["dcp-a1-1-job"][..], Some("dcp-a1-1-driver-svc"))
    );
    let addresses = objects.addresses;
    assert_eq!(addresses.event_log.as_deref(), Some("s3a://logs/spark/eventlog_v2_"));
    assert_eq!(super::application_id(&pod), Some("spark-7"));
    assert_eq!(addresses.ui.as_deref(), Some("http://dcp-a1-1-driver-svc.sales.svc:4040"));
    assert_eq!(super::required_config_maps(&pod), ["settings"]);
}
