//! The objects of a manifest that uses every field of pods, dependencies and settings.
//!
//! `tests/golden/primitives/pods.yaml` is the manifest and `pods.app` beside it the application that a Runner makes of it.
//! `UPDATE_GOLDEN=1` writes the objects; read them before you commit them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::super::policy;
use super::super::{Operator, Queue, QueueKind};
use super::*;
use crate::ConnectKey;
use crate::application::CONNECT;
use crate::connect::SERVER;

fn application() -> SparkApplication {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/primitives/pods.app");
    let text = fs::read_to_string(path).expect("the application can be read");
    let (_, text) = text.split_once('\n').expect("a title is above it");
    serde_json::from_str(text).expect("it is an application")
}

fn settings() -> Settings {
    let mut settings = Settings::new("main");
    settings.control_plane = Some("p1".to_owned());
    settings.service_accounts.insert("etl".to_owned());
    settings.event_logs = Some("s3a://lake/events".to_owned());
    settings.queue = Some(Queue { kind: QueueKind::Kueue, name: "spark-{domain}".to_owned() });
    settings
}

#[test]
fn every_field_of_a_manifest_reaches_the_objects() {
    let (application, settings) = (application(), settings());
    crate::kubernetes::fields::FIELDS.check(&application).expect("no field is rejected");
    crate::kubernetes::references::check(&application).expect("no reference is rejected");
    policy::check(&application, &settings).expect("no field of the templates is rejected");
    compare("pods.yaml", &application, &settings);
}

#[test]
fn a_driver_of_a_pool_has_a_token_and_a_network_policy() {
    let (mut application, mut settings) = (application(), settings());
    application.spec.spark_conf.insert(CONNECT.to_owned(), "true".to_owned());
    application.spec.main_class = Some(SERVER.to_owned());
    (application.spec.jars, application.spec.py_files) = (None, None);
    let error = objects(&application, &settings).expect_err("there is no key").to_string();
    assert!(error.contains("--connect-key"), "{error}");
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let key = folder.path().join("key");
    fs::write(&key, "0".repeat(64)).expect("the temporary folder is writable");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the file is of this user");
    let key = ConnectKey::load(&key).expect("the key is valid");
    settings.connect_key = Some(key.clone());
    compare("pool.yaml", &application, &settings);
    let token = key.token(&application.metadata.name.parse().expect("the name is valid"));
    let all = objects(&application, &settings).expect("the application is valid");
    let connect = Some("dcp-a1-1-driver-svc.sales.svc:15002".to_owned());
    assert_eq!(all.addresses.connect, connect);
    assert!(!format!("{all:?}").contains(token.expose()), "debugging output has the token");
    assert!(is_pool_driver(&all.driver));
    let Owned { config, service, .. } = all.owned_by("uid");
    let others = json!([all.driver, config, service]).to_string();
    assert!(!others.contains(token.expose()), "only the secret has the token");

    settings.connect_from =
        ConnectFrom { namespace: Some("dcp".to_owned()), cidrs: vec!["192.0.2.0/24".to_owned()] };
    let all = objects(&application, &settings).expect("the application is valid").owned_by("uid");
    let policy = json!(all.connect.expect("it is the driver of a pool").1);
    let namespaces = json!({"matchLabels": {"kubernetes.io/metadata.name": "dcp"}});
    let from = &policy["spec"]["ingress"][0]["from"];
    assert_eq!(from[0]["namespaceSelector"], namespaces);
    assert_eq!(from[1], json!({"ipBlock": {"cidr": "192.0.2.0/24"}}));

    settings.conf.insert("spark.connect.authenticate.token".to_owned(), "canary".to_owned());
    let error = objects(&application, &settings).expect_err("dcp sets the token").to_string();
    assert!(error.starts_with("the cluster `main` has `spark.connect.authenticate.token`"), "{error}");
    assert!(!error.contains("canary"), "{error}");
    settings.operator = Some(Operator::Kubeflow);
    let error = Operator::Kubeflow.objects(&application, &settings).expect_err("it can't run pools");
    assert!(error.to_string().starts_with("`kind`: dcp gives a token"), "{error}");
}

/// Compares the objects of an application with a golden file.
fn compare(file: &str, application: &SparkApplication, settings: &Settings) {
    let objects = objects(application, settings).expect("the application is valid");
    let Owned { config, service, budget, connect } = objects.owned_by("uid");
    let mut config = json!(config);
    let template = config["data"][EXECUTOR_TEMPLATE].as_str().unwrap_or_default();
    config["data"][EXECUTOR_TEMPLATE] =
        serde_json::from_str::<Value>(template).expect("the template is JSON");
    let mut all = vec![json!(objects.driver), config, json!(service), json!(budget)];
    all.extend(connect.into_iter().flat_map(|(secret, policy)| [json!(secret), json!(policy)]));
    let all: Vec<String> =
        all.iter().map(|object| serde_yaml_ng::to_string(object).expect("it is plain data")).collect();
    let found = all.join("---\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/kubernetes/objects").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("folders can be made");
        fs::write(&path, &found).expect("the file can be written");
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), found);
}
