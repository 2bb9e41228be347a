//! A double of an operator: it creates drivers late, twice or never, and is stopped between any two steps.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::server::{Key, Kind};
use crate::world::{State, time};

const APPLICATION: &str = "dcp/application";

#[derive(Debug, Default)]
pub(crate) struct Operator {
    down_until: Option<Timestamp>,
    /// The submissions that are under way. They are lost if the operator is stopped.
    submissions: Vec<Submission>,
}

/// A submission of a custom resource, which may be deleted meanwhile.
#[derive(Debug, Clone)]
struct Submission {
    key: Key,
    resource: Value,
    /// The UID of the driver, once it was created.
    driver: Option<String>,
}

impl State {
    pub(super) fn step_operator(&mut self) {
        if let Some(until) = self.cluster.operator.down_until {
            if time() < until && !self.cluster.is_calm {
                return;
            }
            self.note(|| "the operator returns".to_owned());
            self.cluster.operator.down_until = None;
        } else if self.random.chance(self.rates.nodes) {
            let seconds = i64::try_from(self.random.between(5, 60)).expect("it fits");
            self.note(|| "the operator is stopped".to_owned());
            self.cluster.operator.down_until = Some(time() + SignedDuration::from_secs(seconds));
            self.cluster.operator.submissions.clear();
            return;
        }
        for submission in std::mem::take(&mut self.cluster.operator.submissions) {
            self.continue_submission(submission);
        }
        for key in self.server.all(Kind::SparkApplication) {
            let resource = self.server.objects[&key].clone();
            if !resource["metadata"]["deletionTimestamp"].is_null() {
                self.release(&key);
            } else if self.random.chance(500) {
                self.reconcile(&key, resource);
            }
        }
    }

    fn reconcile(&mut self, key: &Key, mut resource: Value) {
        let uid = &resource["metadata"]["uid"];
        let is_submitted =
            self.cluster.operator.submissions.iter().any(|it| it.resource["metadata"]["uid"] == *uid);
        if is_submitted {
            return;
        }
        if !resource["status"].is_null() {
            return self.report_driver(key, resource);
        }
        if self.server.objects.contains_key(&driver_key(key)) {
            return self.report(key, resource, "FAILED", "driver pod already exist", 0);
        }
        if !self.cluster.is_calm && self.random.chance(30) {
            return self.report(key, resource, "FAILED", "no image", 0);
        }
        if resource["metadata"]["finalizers"].is_null() && key.name.ends_with('2') {
            resource["metadata"]["finalizers"] = json!(["operator/finalizer"]);
            resource = self.server.store(key, resource);
        }
        let submission = Submission { key: key.clone(), resource, driver: None };
        self.cluster.operator.submissions.push(submission);
    }

    /// Creates the driver's pod, then the config map without which it can't start.
    fn continue_submission(&mut self, mut submission: Submission) {
        if !self.random.chance(500) {
            return self.cluster.operator.submissions.push(submission);
        }
        let key = submission.key.clone();
        let Some(uid) = &submission.driver else {
            let created = self.server.create(&driver_key(&key), driver(&submission, "conf"));
            if created.code == 409 {
                return self.report_current(&submission, "FAILED", "driver pod already exist", 0);
            }
            submission.driver = created.body["metadata"]["uid"].as_str().map(str::to_owned);
            if !self.cluster.is_calm && self.random.chance(100) {
                let second = Key { name: format!("{}-second", key.name), ..driver_key(&key) };
                self.server.create(&second, driver(&submission, "job"));
            }
            return self.cluster.operator.submissions.push(submission);
        };
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": driver_key(&key).name, "uid": uid}]);
        let name = format!("{}-conf", key.name);
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owner},
        });
        self.server.create(&Key::new(Kind::ConfigMap, &key.namespace, &name), map);
        self.report_current(&submission, "SUBMITTED", "", 1);
    }

    /// Reports about a submission, unless the custom resource is gone.
    fn report_current(&mut self, submission: &Submission, state: &str, message: &str, attempts: u32) {
        let Some(current) = self.server.objects.get(&submission.key).cloned() else { return };
        if current["metadata"]["uid"] == submission.resource["metadata"]["uid"] {
            self.report(&submission.key, current, state, message, attempts);
        }
    }

    fn report_driver(&mut self, key: &Key, resource: Value) {
        let state = resource["status"]["applicationState"]["state"].as_str().unwrap_or_default();
        if matches!(state, "FAILED" | "COMPLETED") {
            return;
        }
        let driver = self.server.objects.get(&driver_key(key));
        let phase = driver.and_then(|driver| driver["status"]["phase"].as_str()).unwrap_or_default();
        match phase {
            "Succeeded" => self.report(key, resource, "COMPLETED", "", 1),
            "Failed" => self.report(key, resource, "FAILED", "driver container failed", 1),
            "Running" if state != "RUNNING" => self.report(key, resource, "RUNNING", "", 1),
            "" => self.report(key, resource, "FAILED", "driver pod not found", 1),
            _ => {}
        }
    }

    fn report(&mut self, key: &Key, mut resource: Value, state: &str, message: &str, attempts: u32) {
        self.note(|| format!("the operator reports {}: {state} {message}", key.name));
        resource["status"] = json!({
            "applicationState": {"state": state, "errorMessage": message}, "executionAttempts": attempts,
        });
        self.server.store(key, resource);
    }

    /// Ends the drivers of a custom resource that is to be deleted, then lets it go.
    fn release(&mut self, key: &Key) {
        let uid = self.server.objects[key]["metadata"]["uid"].clone();
        let is_owned = |pod: &Key| self.server.objects[pod]["metadata"]["ownerReferences"][0]["uid"] == uid;
        let drivers: Vec<Key> = self.server.all(Kind::Pod).into_iter().filter(is_owned).collect();
        if drivers.is_empty() {
            return self.server.remove(key);
        }
        for driver in drivers {
            self.server.delete(&driver, &Value::Null);
        }
    }
}

fn driver_key(resource: &Key) -> Key {
    Key::new(Kind::Pod, &resource.namespace, &format!("{}-driver", resource.name))
}

/// Returns a driver's pod, as the template has it.
fn driver(submission: &Submission, map: &str) -> Value {
    let resource = &submission.resource;
    let mut pod = resource["spec"]["driver"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    let name = &submission.key.name;
    let metadata = &mut pod["metadata"];
    metadata["labels"]["spark-role"] = json!("driver");
    metadata["labels"]["spark-app-selector"] = json!(format!("spark-{name}"));
    assert_eq!(metadata["labels"][APPLICATION], *name);
    metadata["ownerReferences"] = json!([{
        "apiVersion": resource["apiVersion"], "kind": "SparkApplication", "name": name,
        "uid": resource["metadata"]["uid"],
    }]);
    let volume = json!({"name": "operator", "configMap": {"name": format!("{name}-{map}")}});
    pod["spec"]["volumes"].as_array_mut().expect("the template has volumes").push(volume);
    pod
}
