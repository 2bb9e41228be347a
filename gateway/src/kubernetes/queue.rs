//! The queue of a cluster: the labels and the scheduler of pods. It is pure.
//!
//! Kueue puts a scheduling gate of its own on each pod with the label of a queue, and removes it when the queue has
//! capacity. dcp removes only its own gate, so a driver starts when neither is left.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Queue, QueueKind, Settings};
use crate::Name;

/// Label of a pod: its queue of Kueue.
pub(super) const KUEUE: &str = "kueue.x-k8s.io/queue-name";
/// Label of a pod: its queue of `YuniKorn`.
pub(super) const YUNIKORN: &str = "queue";
/// Label of a pod: the application to which `YuniKorn` counts it.
const YUNIKORN_APPLICATION: &str = "applicationId";
const YUNIKORN_SCHEDULER: &str = "yunikorn";
const SCHEDULERS: &[&str] = &[
    "spark.kubernetes.scheduler.name",
    "spark.kubernetes.driver.scheduler.name",
    "spark.kubernetes.executor.scheduler.name",
];

/// Adds the labels of the cluster's queue to a pod of an application. Labels of the pod prevail.
pub(super) fn label(pod: &mut Value, settings: &Settings, domain: &str, name: &Name) {
    let Some(Queue { kind, name: queue }) = &settings.queue else { return };
    let queue = queue.replace("{domain}", domain);
    let labels = match kind {
        QueueKind::Kueue => vec![(KUEUE, json!(queue))],
        QueueKind::Yunikorn => vec![(YUNIKORN, json!(queue)), (YUNIKORN_APPLICATION, json!(name))],
    };
    for (key, value) in labels {
        let label = &mut pod["metadata"]["labels"][key];
        if label.is_null() {
            *label = value;
        }
    }
}

/// Adds the scheduler of the cluster's queue to Spark's settings, unless they name one.
pub(super) fn configure(conf: &mut BTreeMap<String, String>, settings: &Settings) {
    let is_yunikorn = settings.queue.as_ref().is_some_and(|queue| queue.kind == QueueKind::Yunikorn);
    if is_yunikorn && !SCHEDULERS.iter().any(|key| conf.contains_key(*key)) {
        conf.insert(SCHEDULERS[0].to_owned(), YUNIKORN_SCHEDULER.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(kind: QueueKind, pod: Value) -> Value {
        let mut settings = Settings::new("main");
        settings.queue = Some(Queue { kind, name: "root.{domain}".to_owned() });
        let mut pod = pod;
        label(&mut pod, &settings, "sales", &"dcp-a1-1".parse().expect("it is a name"));
        pod["metadata"]["labels"].clone()
    }

    #[test]
    fn pods_get_the_labels_of_the_queue_and_keep_their_own() {
        assert_eq!(labels(QueueKind::Kueue, json!({})), json!({KUEUE: "root.sales"}));
        let yunikorn = json!({"queue": "root.sales", "applicationId": "dcp-a1-1"});
        assert_eq!(labels(QueueKind::Yunikorn, json!({})), yunikorn);
        let own = json!({"metadata": {"labels": {KUEUE: "other", "a": "b"}}});
        assert_eq!(labels(QueueKind::Kueue, own), json!({KUEUE: "other", "a": "b"}));
    }

    #[test]
    fn schedulers_of_the_application_prevail() {
        let mut settings = Settings::new("main");
        settings.queue = Some(Queue { kind: QueueKind::Yunikorn, name: "root".to_owned() });
        let mut conf = BTreeMap::new();
        configure(&mut conf, &settings);
        assert_eq!(conf.get(SCHEDULERS[0]).map(String::as_str), Some("yunikorn"));
        let mut conf = BTreeMap::from([(SCHEDULERS[2].to_owned(), "other".to_owned())]);
        configure(&mut conf, &settings);
        assert_eq!(conf.len(), 1);
    }
}
