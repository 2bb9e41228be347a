//! The objects of a manifest that uses every field of pods, dependencies and settings.
//!
//! `tests/golden/primitives/pods.yaml` is the manifest and `pods.app` beside it the application that a Runner makes of it.
//! `UPDATE_GOLDEN=1` writes the objects; read them before you commit them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::super::policy;
use super::super::{Queue, QueueKind};
use super::*;

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
    let objects = objects(&application, &settings).expect("the application is valid");
    let (config, service, budget) = objects.owned_by("uid");
    let mut config = json!(config);
    let template = config["data"][EXECUTOR_TEMPLATE].as_str().unwrap_or_default();
    config["data"][EXECUTOR_TEMPLATE] =
        serde_json::from_str::<Value>(template).expect("the template is JSON");
    let all = [json!(objects.driver), config, json!(service), json!(budget)];
    let all: Vec<String> =
        all.iter().map(|object| serde_yaml_ng::to_string(object).expect("it is plain data")).collect();
    let found = all.join("---\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/kubernetes/objects/pods.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("folders can be made");
        fs::write(&path, &found).expect("the file can be written");
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), found);
}
