//! The start, the run and the end of pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{NODES, Process, Run, SIDECAR, node_name, node_of};
use crate::server::{Key, Kind};
use crate::world::{State, time};

const APPLICATION: &str = "dcp/application";
const MAX_EXECUTORS: u32 = 3;

impl State {
    pub(super) fn step_pod(&mut self, key: &Key) {
        let Some(pod) = self.server.objects.get(key).cloned() else { return };
        let uid = pod["metadata"]["uid"].as_str().expect("an object has a UID").to_owned();
        let Some(node) = node_of(&pod) else { return self.schedule(key, pod) };
        let is_up = self.cluster.is_up(node);
        if !self.cluster.processes.contains_key(&uid) {
            if is_up && self.random.chance(400) {
                self.start_pod(key, pod, &uid, node);
            }
            return;
        }
        self.run(&pod, &uid);
        if !is_up {
            return;
        }
        let process = self.cluster.processes[&uid].clone();
        if !process.is_reported && process.main != Run::Running && self.random.chance(600) {
            self.report_end(key, pod, &uid, &process);
        } else if process.is_reported
            && !process.runs()
            && !pod["metadata"]["deletionTimestamp"].is_null()
            && self.random.chance(500)
        {
            self.cluster.processes.remove(&uid);
            self.server.remove(key);
        }
    }

    fn schedule(&mut self, key: &Key, mut pod: Value) {
        let is_gated = pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
        if is_gated || !self.random.chance(400) {
            return;
        }
        let node = self.random.index(NODES);
        if self.cluster.is_up(node) {
            pod["spec"]["nodeName"] = json!(node_name(node));
            self.server.store(key, pod);
        }
    }

    fn start_pod(&mut self, key: &Key, mut pod: Value, uid: &str, node: usize) {
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if pod["status"]["phase"] == "Failed" || self.random.chance(500) {
                return self.server.remove(key);
            }
            // A kubelet reports the containers that it does not find, before it removes the pod.
            set_missing(&mut pod);
            self.server.store(key, pod);
            return;
        }
        let label = |key: &str| pod["metadata"]["labels"][key].as_str().expect("pods have labels").to_owned();
        let (application, is_driver) = (label(APPLICATION), label("spark-role") == "driver");
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let mut maps = volumes.filter_map(|volume| volume["configMap"]["name"].as_str());
        let exists = |map| self.server.objects.contains_key(&Key::new(Kind::ConfigMap, &key.namespace, map));
        // A volume of a config map that does not exist can't be mounted.
        if !maps.all(exists) || !self.has_secrets(key, &pod) {
            return;
        }
        self.note(|| format!("{} starts", key.name));
        self.checks.starts(&application, &key.name);
        let has_sidecar = pod["spec"]["containers"][1]["name"] == SIDECAR;
        let process = Process {
            application,
            is_driver,
            key: key.clone(),
            node,
            started: time(),
            main: Run::Running,
            sidecar: has_sidecar.then_some(Run::Running),
            is_stubborn: self.random.chance(300),
            is_reported: false,
            executors: 0,
        };
        pod["status"]["phase"] = json!("Running");
        pod["status"]["podIP"] = json!("10.0.0.1");
        set_containers(&mut pod, &process);
        self.cluster.processes.insert(uid.to_owned(), process);
        self.server.store(key, pod);
    }

    /// Returns true if the secrets of a pod's variables exist, and belong to the pod. With the secret of an earlier pod, the
    /// container would lack it after a restart of its node. The driver of a pool never starts without its policy.
    fn has_secrets(&self, key: &Key, pod: &Value) -> bool {
        let variables = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
        let mut secrets =
            variables.filter_map(|variable| variable["valueFrom"]["secretKeyRef"]["name"].as_str());
        secrets.all(|name| {
            let is_own = |kind| {
                let object = self.server.objects.get(&Key::new(kind, &key.namespace, name));
                object.is_some_and(|it| it["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"])
            };
            assert!(is_own(Kind::NetworkPolicy), "{} starts without its policy", key.name);
            is_own(Kind::Secret)
        })
    }

    /// Continues or ends the containers of a pod.
    fn run(&mut self, pod: &Value, uid: &str) {
        let mut process = self.cluster.processes[uid].clone();
        let deletion = pod["metadata"]["deletionTimestamp"].as_str();
        if let Some(deadline) = deletion.filter(|_| self.cluster.is_up(process.node)) {
            let deadline: Timestamp = deadline.parse().expect("it is a time");
            self.terminate(&mut process, deadline <= time());
        } else if process.main == Run::Running {
            self.run_main(pod, &mut process);
        }
        if self.cluster.processes[uid].main != process.main {
            self.note(|| format!("{} ends: {:?}", process.key.name, process.main));
        }
        self.cluster.processes.insert(uid.to_owned(), process);
    }

    fn terminate(&mut self, process: &mut Process, is_late: bool) {
        let runs = [Some(&mut process.main), process.sidecar.as_mut()];
        for run in runs.into_iter().flatten().filter(|run| **run == Run::Running) {
            if is_late {
                *run = Run::Ended(137);
            } else if self.random.chance(200) {
                *run = Run::Ended(self.random.pick(&[0, 143, 143]));
            }
        }
    }

    fn run_main(&mut self, pod: &Value, process: &mut Process) {
        if process.is_driver {
            if !self.cluster.is_calm && self.random.chance(20) {
                process.main = Run::Ended(self.random.pick(&[0, 0, 0, 1, 137]));
            } else if process.executors < MAX_EXECUTORS && self.random.chance(50) {
                process.executors += 1;
                self.create_executor(pod, process);
            }
            return;
        }
        let owner = pod["metadata"]["ownerReferences"][0]["uid"].as_str().expect("executors have owners");
        let has_driver = self.cluster.processes.get(owner).is_some_and(|driver| driver.main == Run::Running);
        if !has_driver && !process.is_stubborn && self.random.chance(150) {
            process.main = Run::Ended(self.random.pick(&[0, 1, 143]));
        } else if has_driver && self.random.chance(5) {
            process.main = Run::Ended(137);
        }
    }

    fn create_executor(&mut self, driver: &Value, process: &Process) {
        let number = process.executors.to_string();
        let name = format!("{}-exec-{number}", process.application);
        let key = Key::new(Kind::Pod, &process.key.namespace, &name);
        let executor = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {APPLICATION: process.application, "spark-role": "executor", "spark-exec-id": number},
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Pod", "name": process.key.name, "uid": driver["metadata"]["uid"],
                }],
            },
            "spec": {"containers": [{"name": "spark-kubernetes-executor"}]},
        });
        self.server.create(&key, executor);
    }

    /// Tells the API server that the container of Spark has ended.
    fn report_end(&mut self, key: &Key, mut pod: Value, uid: &str, process: &Process) {
        set_containers(&mut pod, process);
        if !process.runs() {
            let has_failed = process.main != Run::Ended(0);
            pod["status"]["phase"] = json!(if has_failed { "Failed" } else { "Succeeded" });
            self.cluster.processes.get_mut(uid).expect("the process is known").is_reported = true;
        }
        if self.server.objects[key] != pod {
            self.server.store(key, pod);
        }
    }
}

/// Sets the status of a pod that is deleted before its containers were created.
fn set_missing(pod: &mut Value) {
    let state = json!({"terminated": {
        "exitCode": 137, "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
    }});
    let container = &pod["spec"]["containers"][0]["name"];
    let status = json!({"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    pod["status"]["containerStatuses"] = json!([status]);
    pod["status"]["phase"] = json!("Failed");
}

fn set_containers(pod: &mut Value, process: &Process) {
    let state = |run: Run| match run {
        Run::Running => json!({"running": {"startedAt": process.started}}),
        Run::Ended(code) => json!({"terminated": {
            "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
            "startedAt": process.started, "finishedAt": process.started,
        }}),
    };
    let status = |name: &Value, run: Run| {
        json!({
            "name": name, "image": "i", "imageID": "i", "ready": true, "restartCount": 0, "state": state(run),
        })
    };
    let containers = &pod["spec"]["containers"];
    let mut all = vec![status(&containers[0]["name"], process.main)];
    all.extend(process.sidecar.map(|run| status(&containers[1]["name"], run)));
    pod["status"]["containerStatuses"] = json!(all);
}
