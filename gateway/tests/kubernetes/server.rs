//! A double of the API server: its objects, their versions and the events of watches.
//!
//! It knows what the backend uses of config maps, secrets, network policies, pods, services and custom resources, and panics
//! on everything else.

mod call;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

pub(crate) use call::{Call, Scope, Verb};

use crate::world::time;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConfigMap,
    NetworkPolicy,
    Pod,
    Secret,
    Service,
    SparkApplication,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::ConfigMap => "ConfigMap",
            Kind::NetworkPolicy => "NetworkPolicy",
            Kind::Pod => "Pod",
            Kind::Secret => "Secret",
            Kind::Service => "Service",
            Kind::SparkApplication => "SparkApplication",
        }
    }

    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Kind::ConfigMap | Kind::Pod | Kind::Secret | Kind::Service => "v1",
            Kind::NetworkPolicy => "networking.k8s.io/v1",
            Kind::SparkApplication => "sparkoperator.k8s.io/v1beta2",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// A change of an object.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) change: Change,
    pub(crate) object: Arc<Value>,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

impl Answer {
    fn found(body: Value) -> Self {
        Self { code: 200, body }
    }

    pub(crate) fn failure(code: u16, reason: &str) -> Self {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("{reason} (double)"), "reason": reason, "code": code,
        });
        Self { code, body }
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) version: u64,
    pub(crate) objects: BTreeMap<Key, Value>,
    pub(crate) events: Vec<Event>,
    /// Watches can't start before this version.
    pub(crate) compacted: u64,
    /// The number of lists from the cache.
    cached_lists: u64,
    /// Wakes watches. Unlike other channels of tokio, it wakes them in order.
    pub(crate) changed: Arc<Notify>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let changed = Arc::default();
        let (objects, events) = (BTreeMap::new(), Vec::new());
        Self { version: 1, objects, events, compacted: 0, cached_lists: 0, changed }
    }

    fn notify(&mut self, key: &Key, change: Change, object: Value) {
        let event = Event { version: self.version, key: key.clone(), change, object: Arc::new(object) };
        self.events.push(event);
        self.changed.notify_waiters();
    }

    /// Stores an object with the next version.
    pub(crate) fn store(&mut self, key: &Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(key.clone(), object.clone());
        let change = if before.is_some() { Change::Modified } else { Change::Added };
        self.notify(key, change, object.clone());
        object
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        let Some(mut object) = self.objects.remove(key) else { return };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.notify(key, Change::Deleted, object);
    }

    /// Returns the keys of all objects of a kind.
    pub(crate) fn all(&self, kind: Kind) -> Vec<Key> {
        self.objects.keys().filter(|key| key.kind == kind).cloned().collect()
    }

    /// Returns the UIDs of the pods of an application, except those that are being deleted.
    pub(crate) fn pods_of(&self, application: &str) -> BTreeSet<String> {
        let is_own = |(key, object): &(&Key, &Value)| {
            key.kind == Kind::Pod
                && object["metadata"]["labels"]["dcp/application"] == application
                && object["metadata"]["deletionTimestamp"].is_null()
        };
        let uid = |object: &Value| object["metadata"]["uid"].as_str().map(str::to_owned);
        self.objects.iter().filter(is_own).filter_map(|(_, object)| uid(object)).collect()
    }

    pub(crate) fn has_uid(&self, uid: &str) -> bool {
        self.objects.values().any(|object| object["metadata"]["uid"] == uid)
    }

    /// Performs a request other than a watch.
    pub(crate) fn apply(&mut self, call: &Call) -> Answer {
        match &call.verb {
            Verb::Get(key) => match self.objects.get(key) {
                Some(object) => Answer::found(object.clone()),
                None => Answer::failure(404, "NotFound"),
            },
            Verb::List(scope, None) => self.list(scope, self.version),
            Verb::List(scope, Some(version)) => {
                let version = self.cached_version(*version);
                self.list(scope, version)
            }
            Verb::Create(key, object) => self.create(key, object.clone()),
            Verb::Replace(key, object) => self.replace(key, object.clone()),
            Verb::Patch(key, patch) => self.patch(key, patch),
            Verb::Delete(key, options) => self.delete(key, options),
            Verb::Events => Answer::found(json!({
                "kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": [],
            })),
            Verb::Watch { .. } => unreachable!("a watch is no single answer"),
        }
    }

    /// Returns the version of the cache for a list that may be as old as a version. It is often older than the newest.
    fn cached_version(&mut self, not_older_than: u64) -> u64 {
        assert!(not_older_than <= self.version, "the version is of no object");
        self.cached_lists += 1;
        // The second factor is coprime to most ranges, so that all versions of a range occur.
        let range = self.version - not_older_than + 1;
        not_older_than + self.cached_lists.wrapping_mul(7919) % range
    }

    /// Lists the objects as they were at a version.
    fn list(&self, scope: &Scope, version: u64) -> Answer {
        let mut items: BTreeMap<&Key, &Value> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.version <= version) {
            match event.change {
                Change::Added | Change::Modified => drop(items.insert(&event.key, &event.object)),
                Change::Deleted => drop(items.remove(&event.key)),
            }
        }
        let items: Vec<&Value> =
            items.iter().filter(|(key, object)| scope.has(key, object)).map(|it| *it.1).collect();
        Answer::found(json!({
            "kind": format!("{}List", scope.kind.name()), "apiVersion": scope.kind.api_version(),
            "metadata": {"resourceVersion": version.to_string()}, "items": items,
        }))
    }

    pub(crate) fn create(&mut self, key: &Key, mut object: Value) -> Answer {
        if self.objects.contains_key(key) {
            return Answer::failure(409, "AlreadyExists");
        }
        let metadata = &mut object["metadata"];
        assert!(metadata.get("resourceVersion").is_none(), "a new object has a version: {metadata}");
        metadata["name"] = json!(key.name);
        metadata["namespace"] = json!(key.namespace);
        metadata["uid"] = json!(format!("uid-{}", self.version + 1));
        metadata["creationTimestamp"] = json!(time());
        if key.kind == Kind::Pod {
            object["status"] = json!({"phase": "Pending"});
        }
        Answer { code: 201, body: self.store(key, object) }
    }

    fn replace(&mut self, key: &Key, mut object: Value) -> Answer {
        assert_eq!(key.kind, Kind::ConfigMap, "only config maps are replaced");
        let Some(before) = self.objects.get(key) else { return Answer::failure(404, "NotFound") };
        let version = &object["metadata"]["resourceVersion"];
        if !version.is_null() && *version != before["metadata"]["resourceVersion"] {
            return Answer::failure(409, "Conflict");
        }
        for field in ["namespace", "uid", "creationTimestamp", "resourceVersion"] {
            object["metadata"][field] = before["metadata"][field].clone();
        }
        if object == *before {
            return Answer::found(object);
        }
        Answer::found(self.store(key, object))
    }

    /// Removes scheduling gates, the only patch that the backend sends.
    fn patch(&mut self, key: &Key, patch: &Value) -> Answer {
        assert_eq!(key.kind, Kind::Pod, "only pods are patched");
        let Some(mut object) = self.objects.get(key).cloned() else {
            return Answer::failure(404, "NotFound");
        };
        for field in ["uid", "resourceVersion"] {
            let expected = &patch["metadata"][field];
            if !expected.is_null() && *expected != object["metadata"][field] {
                return Answer::failure(409, "Conflict");
            }
        }
        let spec = object["spec"].as_object_mut().expect("a pod has a spec");
        match &patch["spec"]["schedulingGates"] {
            Value::Null => drop(spec.remove("schedulingGates")),
            gates => {
                let before = spec.insert("schedulingGates".to_owned(), gates.clone());
                let before = before.expect("gates are only removed");
                let all = before.as_array().expect("gates are a list");
                assert!(gates.as_array().is_some_and(|it| it.iter().all(|gate| all.contains(gate))));
            }
        }
        Answer::found(self.store(key, object))
    }

    pub(crate) fn delete(&mut self, key: &Key, options: &Value) -> Answer {
        let Some(mut object) = self.objects.get(key).cloned() else {
            return Answer::failure(404, "NotFound");
        };
        for field in ["uid", "resourceVersion"] {
            let expected = &options["preconditions"][field];
            if !expected.is_null() && *expected != object["metadata"][field] {
                return Answer::failure(409, "Conflict");
            }
        }
        let has_finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if has_finalizers {
            if object["metadata"]["deletionTimestamp"].is_null() {
                object["metadata"]["deletionTimestamp"] = json!(time());
                object = self.store(key, object);
            }
            return Answer::found(object);
        }
        let grace = if key.kind == Kind::Pod { grace_of(&object, options) } else { 0 };
        if grace == 0 {
            self.remove(key);
            return Answer::found(object);
        }
        let pending = object["metadata"]["deletionGracePeriodSeconds"].as_u64();
        // A grace period is only shortened.
        if pending.is_none_or(|pending| grace < pending) {
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            let seconds = i64::try_from(grace).expect("a grace period fits");
            let deadline = time() + jiff::SignedDuration::from_secs(seconds);
            object["metadata"]["deletionTimestamp"] = json!(deadline);
            object = self.store(key, object);
        }
        Answer::found(object)
    }
}

/// Returns the grace period of a pod: none if it was not scheduled, or is over.
fn grace_of(pod: &Value, options: &Value) -> u64 {
    let is_over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if pod["spec"]["nodeName"].is_null() || is_over {
        return 0;
    }
    let own = &pod["spec"]["terminationGracePeriodSeconds"];
    options["gracePeriodSeconds"].as_u64().or(own.as_u64()).unwrap_or(30)
}
