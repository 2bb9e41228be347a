//! The requests that the double of the API server knows.

use std::collections::BTreeMap;

use http::Request;
use http::request::Parts;
use kube::client::Body;
use serde_json::Value;

use super::{Key, Kind};

/// The objects of a list or a watch.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) kind: Kind,
    namespace: Option<String>,
    label: String,
    value: Option<String>,
}

impl Scope {
    pub(crate) fn has(&self, key: &Key, object: &Value) -> bool {
        let label = object["metadata"]["labels"][&self.label].as_str();
        key.kind == self.kind
            && self.namespace.as_ref().is_none_or(|it| *it == key.namespace)
            && label.is_some_and(|label| self.value.as_ref().is_none_or(|value| value == label))
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Verb {
    Get(Key),
    /// A list, and the version that it has to be at least as new as.
    List(Scope, Option<u64>),
    Watch {
        scope: Scope,
        version: u64,
        seconds: u64,
    },
    Create(Key, Value),
    Replace(Key, Value),
    Patch(Key, Value),
    Delete(Key, Value),
    /// A list of the events of one object.
    Events,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
}

const GROUP: &str = "sparkoperator.k8s.io";
const VERSION: &str = "v1beta2";

/// Fields of a specification that the backend may set.
const POD_SPEC: &[&str] = &[
    "containers",
    "restartPolicy",
    "schedulingGates",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "volumes",
];
const METADATA: &[&str] = &["name", "labels", "annotations", "ownerReferences", "resourceVersion"];

impl Call {
    pub(crate) async fn read(request: Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.expect("a body is read");
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).expect("a body is JSON")
        };
        Self { verb: verb(&parts, body) }
    }

    /// Describes the request for the history.
    pub(crate) fn describe(&self) -> String {
        let object = |key: &Key| format!("{:?} {}/{}", key.kind, key.namespace, key.name);
        let scope = |it: &Scope| format!("{:?} {:?} {:?}", it.kind, it.namespace, it.value);
        match &self.verb {
            Verb::Get(key) => format!("GET {}", object(key)),
            Verb::List(it, _) => format!("LIST {}", scope(it)),
            Verb::Watch { scope: it, version, .. } => format!("WATCH {} from {version}", scope(it)),
            Verb::Create(key, _) => format!("POST {}", object(key)),
            Verb::Replace(key, body) => format!("PUT {} {}", object(key), body["data"]["record"]),
            Verb::Patch(key, body) => format!("PATCH {} {body}", object(key)),
            Verb::Delete(key, body) => format!("DELETE {} {body}", object(key)),
            Verb::Events => "LIST events".to_owned(),
        }
    }
}

/// Returns the namespace, the kind and the name of the objects of a path.
fn objects(path: &str) -> (Option<&str>, Kind, Option<&str>) {
    let path: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (["api", "v1", rest @ ..]
    | ["apis", GROUP, VERSION, rest @ ..]
    | ["apis", "networking.k8s.io", "v1", rest @ ..]) = path.as_slice()
    else {
        unreachable!("unknown path: {path:?}")
    };
    let (namespace, plural, name) = match rest {
        ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
        ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
        [plural] => (None, *plural, None),
        _ => unreachable!("unknown path: {path:?}"),
    };
    let kind = match plural {
        "configmaps" => Kind::ConfigMap,
        "networkpolicies" => Kind::NetworkPolicy,
        "secrets" => Kind::Secret,
        "pods" => Kind::Pod,
        "services" => Kind::Service,
        "sparkapplications" => Kind::SparkApplication,
        _ => unreachable!("unknown objects: {plural}"),
    };
    (namespace, kind, name)
}

fn verb(parts: &Parts, body: Value) -> Verb {
    let mut query = query(parts);
    if parts.uri.path().ends_with("/events") {
        return Verb::Events;
    }
    let (namespace, kind, name) = objects(parts.uri.path());
    let content = parts.headers.get(http::header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let verb = match (parts.method.as_str(), namespace, name) {
        ("GET", _, None) => collection(kind, namespace, &mut query),
        (method, Some(namespace), name) => {
            let named = name.or(body["metadata"]["name"].as_str()).expect("an object has a name");
            let key = Key::new(kind, namespace, named);
            let merge = Some("application/merge-patch+json");
            match (method, name) {
                ("GET", Some(_)) => {
                    assert!(
                        kind != Kind::Secret || is_for_metadata(parts),
                        "the content of a secret is read"
                    );
                    Verb::Get(key)
                }
                ("POST", None) => {
                    let validation = query.remove("fieldValidation");
                    let expected = (kind == Kind::SparkApplication).then_some("Strict");
                    assert_eq!(validation.as_deref(), expected, "{}", parts.uri);
                    Verb::Create(key, checked(kind, body))
                }
                ("PUT", Some(_)) => Verb::Replace(key, checked(kind, body)),
                ("PATCH", Some(_)) if content == merge => Verb::Patch(key, checked_patch(body)),
                ("DELETE", Some(_)) => Verb::Delete(key, checked_options(body)),
                _ => unreachable!("unknown request: {method} {}", parts.uri),
            }
        }
        (method, ..) => unreachable!("unknown request: {method} {}", parts.uri),
    };
    assert!(query.is_empty(), "unknown parameters of {}: {query:?}", parts.uri);
    verb
}

fn query(parts: &Parts) -> BTreeMap<String, String> {
    let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| text.replace("%2F", "/").replace("%3D", "=");
    pairs
        .map(|pair| pair.split_once('=').expect("a parameter has a value"))
        .map(|(key, value)| (key.to_owned(), decoded(value)))
        .collect()
}

fn collection(kind: Kind, namespace: Option<&str>, query: &mut BTreeMap<String, String>) -> Verb {
    let selector = query.remove("labelSelector").expect("lists and watches have a selector");
    let (label, value) = match selector.split_once('=') {
        Some((label, value)) => (label.to_owned(), Some(value.to_owned())),
        None => (selector, None),
    };
    let scope = Scope { kind, namespace: namespace.map(str::to_owned), label, value };
    if query.remove("watch").is_none() {
        // All objects fit into one page.
        assert!(query.remove("limit").is_none_or(|limit| limit == "500"));
        let version = query.remove("resourceVersion").map(|text| text.parse().expect("it is a number"));
        let rule = query.remove("resourceVersionMatch");
        assert_eq!(rule.as_deref(), version.map(|_| "NotOlderThan"));
        return Verb::List(scope, version);
    }
    assert_eq!(query.remove("allowWatchBookmarks").as_deref(), Some("true"));
    let mut number = |key: &str| {
        let text = query.remove(key).expect("a watch has a version and a timeout");
        text.parse().expect("it is a number")
    };
    Verb::Watch { scope, version: number("resourceVersion"), seconds: number("timeoutSeconds") }
}

/// Returns true if the answer has only the metadata of an object.
fn is_for_metadata(parts: &Parts) -> bool {
    let accepted = parts.headers.get(http::header::ACCEPT).and_then(|it| it.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("as=PartialObjectMetadata"))
}

fn assert_fields(object: &Value, known: &[&str]) {
    for field in object.as_object().into_iter().flat_map(serde_json::Map::keys) {
        assert!(known.contains(&field.as_str()), "unknown field `{field}` of {object}");
    }
}

fn checked(kind: Kind, object: Value) -> Value {
    assert_eq!((&object["apiVersion"], &object["kind"]), (&kind.api_version().into(), &kind.name().into()));
    let namespace = (kind == Kind::SparkApplication).then_some("namespace");
    assert_fields(&object["metadata"], &[METADATA, namespace.as_slice()].concat());
    match kind {
        Kind::ConfigMap => assert_fields(&object, &["apiVersion", "kind", "metadata", "data"]),
        Kind::Secret => {
            assert_fields(&object, &["apiVersion", "kind", "metadata", "stringData", "immutable"]);
        }
        Kind::NetworkPolicy | Kind::Pod | Kind::Service | Kind::SparkApplication => {
            assert_fields(&object, &["apiVersion", "kind", "metadata", "spec"]);
        }
    }
    match kind {
        Kind::Pod => assert_fields(&object["spec"], POD_SPEC),
        Kind::Service => assert_fields(&object["spec"], &["clusterIP", "selector", "ports"]),
        Kind::NetworkPolicy => assert_fields(&object["spec"], &["ingress", "podSelector", "policyTypes"]),
        Kind::ConfigMap | Kind::Secret | Kind::SparkApplication => {}
    }
    object
}

fn checked_patch(patch: Value) -> Value {
    assert_fields(&patch, &["metadata", "spec"]);
    assert_fields(&patch["metadata"], &["uid", "resourceVersion"]);
    assert_fields(&patch["spec"], &["schedulingGates"]);
    patch
}

fn checked_options(options: Value) -> Value {
    assert_fields(&options, &["gracePeriodSeconds", "preconditions", "propagationPolicy"]);
    assert_fields(&options["preconditions"], &["uid", "resourceVersion"]);
    options
}
