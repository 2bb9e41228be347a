//! The REST API of a control plane, over HTTP, stored in SQLite.

#[path = "../runner/rest/http.rs"]
#[expect(dead_code, reason = "the tests of the Runner use all of it")]
mod http;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dcp_model::primitive::{Address, Fingerprint};
use dcp_reconciler::reconcile::lease::Lease;
use dcp_reconciler::reconcile::store::{Key, Store};
use dcp_reconciler::reconcile::{Executions, LocalJobs};
use dcp_reconciler::registry::Registry as _;
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::rest::{self, ControlPlane};
use dcp_reconciler::state::{Action, Base, Change};
use dcp_server::{Log, Services};
use dcp_tests::commits::{AUTHOR, COMMIT_TIME, body, commit, create, scope, update};
use http::{PendingCall, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

const CLICKS: &str = "ContinuousJob/logistics/clicks";
const TIME: &str = "2025-10-09T08:53:20.123Z";

/// A control plane with its server. `shop/prod` has two commits.
struct Served {
    address: SocketAddr,
    store: Store,
    log: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Served {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state.db");
        let (registry, store) = (Sql::sqlite(&path).await.unwrap(), Store::sqlite(&path).await.unwrap());
        let clicks: Address = CLICKS.parse().unwrap();
        let clicks = Change { address: clicks, action: Action::Create, body: Some(body("{\"clicks\":1}")) };
        let first = commit(&Base::default(), vec![create("orders", "{\"orders\":1}"), clicks]);
        let head = registry.commit(&scope(), first).await.unwrap();
        let second = commit(&head.base, vec![update("orders", "{\"orders\":2}")]);
        registry.commit(&scope(), second).await.unwrap();
        registry.published(&scope(), &[1]).await.unwrap();
        let jobs = LocalJobs {
            registry: registry.clone(),
            store: store.clone(),
            executions: Executions::None,
            clock: Timestamp::now,
        };
        let plane = ControlPlane {
            registry: Arc::new(registry.clone()),
            jobs: Arc::new(jobs),
            assets: Arc::new(registry),
            clock: || COMMIT_TIME,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let services = Services::new(dcp_proto::DESCRIPTORS).rest(rest::api(plane).into_router());
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let write = move |call: &dcp_server::Call| {
            let subject = call.subject.as_deref().unwrap_or("-");
            lines.lock().unwrap().push(format!("{} {subject} {}", call.method, call.code));
        };
        let options = dcp_server::Options { log: Some(Log::new(write)), ..dcp_tests::server_options(AUTHOR) };
        tokio::spawn(dcp_server::serve(listener, services, options, std::future::pending()));
        Self { address, store, log, _folder: folder }
    }

    async fn call(&self, line: &str, headers: &str, body: &str) -> Response {
        let headers = format!("authorization: Bearer {}\r\n{headers}", dcp_tests::TOKEN);
        PendingCall::new(self.address, line, &headers, body).await.end().await
    }

    async fn get(&self, path: &str) -> Response {
        self.call(&format!("GET /api/v1/{path}"), "", "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        let json = "content-type: application/json\r\n";
        self.call(&format!("POST /api/v1/{path}"), json, &body.to_string()).await
    }

    /// Returns the method, the path and the description of each operation of the document.
    async fn operations(&self) -> Vec<(String, String, Value)> {
        let document = self.call("GET /openapi.json", "", "").await.expect_status(200).json();
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                operations.push((method.to_uppercase(), path.clone(), operation.clone()));
            }
        }
        operations
    }

    /// Waits for a line of the log, which is written a moment after the response.
    async fn until_logged(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.log.lock().unwrap().iter().any(|logged| logged == line) {
            assert!(Instant::now() < deadline, "`{line}` is not in {:?}", self.log);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Checks lines of JSON, of which schemathesis knows no format, with a schema of the document.
#[track_caller]
fn match_schema(lines: &[Value], name: &str) {
    let mut document: Value = serde_json::from_str(&dcp_tests::openapi()).unwrap();
    document["$ref"] = format!("#/components/schemas/{name}").into();
    let schema = jsonschema::validator_for(&document).unwrap();
    for line in lines {
        schema.validate(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[track_caller]
fn rejected(answer: &Response, code: u16, reason: &str, field: &str) {
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["reason"]), (code, &reason.into()), "{error}");
    assert_eq!(error["domain"], "dcp.control.v1");
    let is_named = error["message"].as_str().unwrap().contains(&format!("`{field}`"));
    assert!(is_named || error["metadata"]["field"] == field, "{field}: {error}");
}

#[tokio::test]
async fn applied_state_has_its_head_and_its_entries() {
    let served = Served::new().await;
    let lines = served
        .get("applied?scope=shop/prod")
        .await
        .expect_status(200)
        .expect_content_type("application/x-ndjson")
        .lines();
    let [head, clicks, orders] = &lines[..] else { panic!("{lines:?}") };
    match_schema(&lines, "AppliedLine");
    let head = &head["head"];
    assert_eq!((&head["serial"], &head["unpublished"]), (&json!(2), &json!([2])), "{head}");
    let applied = &head["applied"];
    assert_eq!((&applied["by"], &applied["at"]), (&json!(AUTHOR), &json!(TIME)), "{head}");
    assert_eq!((&applied["counts"], &applied["commit"]), (&json!({"update": 1}), &json!("0123abc")));
    let entry = |address: &str, text: &str, number: u64| {
        let fingerprint = Fingerprint::of(text).as_str().to_owned();
        json!({"entry": {"address": address, "fingerprint": fingerprint, "revision": number, "serial": number}})
    };
    assert_eq!(*clicks, entry(CLICKS, "{\"clicks\":1}", 1));
    assert_eq!(*orders, entry("CoreEtlJob/sales/orders", "{\"orders\":2}", 2));

    let first = served.get("applied?scope=shop/prod&serial=1").await.expect_status(200).lines();
    assert_eq!((first.len(), &first[0]["head"]["serial"]), (3, &json!(1)));
    assert_eq!(first[2], entry("CoreEtlJob/sales/orders", "{\"orders\":1}", 1));
    rejected(&served.get("applied?scope=shop/prod&serial=3").await, 404, "NOT_FOUND", "shop/prod");
}

#[tokio::test]
async fn history_is_returned_in_pages() {
    let served = Served::new().await;
    let page = async |query: &str| {
        served.get(&format!("applied/history?scope=shop/prod{query}")).await.expect_status(200).json()
    };
    let serials = |page: &Value| -> Vec<u64> {
        page["commits"].as_array().unwrap().iter().map(|it| it["serial"].as_u64().unwrap()).collect()
    };
    assert_eq!(serials(&page("").await), [2, 1]);
    let first = page("&limit=1").await;
    assert_eq!((serials(&first), &first["nextBefore"]), (vec![2], &json!(2)));
    let last = page("&limit=1&before=2").await;
    assert_eq!((serials(&last), last.get("nextBefore")), (vec![1], None));
    assert_eq!(page("&before=1").await, json!({"commits": []}));
}

#[tokio::test]
async fn revisions_and_bodies_of_an_address_are_returned() {
    let served = Served::new().await;
    let path = "applied/revisions?scope=shop/prod&address=CoreEtlJob/sales/orders";
    let found = served.get(path).await.expect_status(200).json();
    let revision = |number: u64, action: &str| {
        let fingerprint = Fingerprint::of(&format!("{{\"orders\":{number}}}")).as_str().to_owned();
        json!({"revision": number, "serial": number, "action": action, "fingerprint": fingerprint})
    };
    assert_eq!(found, json!({"revisions": [revision(2, "update"), revision(1, "create")]}));
    let fingerprint = found["revisions"][1]["fingerprint"].as_str().unwrap();
    let path = format!("applied/body?scope=shop/prod&fingerprint={fingerprint}");
    assert_eq!(
        served.get(&path).await.expect_status(200).expect_content_type("application/json").text(),
        "{\"orders\":1}"
    );
}

#[tokio::test]
async fn requests_about_a_continuous_job_are_recorded() {
    let served = Served::new().await;
    let job = json!({"scope": "shop/prod", "address": CLICKS});
    for (request, is_paused, restarts) in
        [("pause", true, 0), ("restart", true, 1), ("resume", false, 1), ("resume", false, 1)]
    {
        let recorded = served.post(&format!("continuous/{request}"), &job).await.expect_status(200).json();
        let mut expected = job.clone();
        (expected["request"], expected["by"], expected["at"]) = (request.into(), AUTHOR.into(), TIME.into());
        assert_eq!(recorded, expected);
        let stored = served.store.requests(0).await.unwrap();
        let [(_, requested, _)] = &stored[..] else { panic!("{stored:?}") };
        assert_eq!((requested.paused, requested.restarts), (is_paused, restarts), "{request}");
    }
    let other = json!({"scope": "shop/prod", "address": "CoreEtlJob/sales/orders"});
    rejected(&served.post("continuous/pause", &other).await, 404, "NOT_FOUND", "sales/orders");
}

#[tokio::test]
async fn events_are_returned_newest_first() {
    let served = Served::new().await;
    let path = format!("continuous/events?scope=shop/prod&address={CLICKS}");
    assert_eq!(served.get(&path).await.expect_status(200).json(), json!({"events": []}));
    let key = Key { scope: "shop/prod".to_owned(), address: CLICKS.to_owned() };
    let mut stored = served.store.job(&key).await.unwrap();
    let events = ["run 1 is started".to_owned(), "run 1 is healthy".to_owned()];
    assert!(served.store.save(&key, &mut stored, &events, COMMIT_TIME).await.unwrap());
    let event = |message: &str| json!({"at": TIME, "message": message});
    let all = json!({"events": [event("run 1 is healthy"), event("run 1 is started")]});
    assert_eq!(served.get(&path).await.expect_status(200).json(), all);
    let last = served.get(&format!("{path}&limit=1")).await.expect_status(200).json();
    assert_eq!(last, json!({"events": [event("run 1 is healthy")]}));
}

#[tokio::test]
async fn reconciler_with_the_lease_is_returned() {
    let served = Served::new().await;
    assert_eq!(served.get("reconciler").await.expect_status(200).json(), json!({}));
    let mut lease = Lease::new(&served.store, "reconciler", Duration::from_mins(1), || COMMIT_TIME);
    assert_eq!(lease.renew_or_take().await.unwrap(), Some(1));
    let leader = served.get("reconciler").await.expect_status(200).json();
    assert_eq!(leader, json!({"epoch": 1, "heartbeat": TIME}));
}

fn report(run: &str) -> Value {
    json!({
        "scope": "shop/prod", "assets": ["table:Lake.Orders", "topic:orders"], "partition": "day=2026-11-20",
        "run": run, "job": "logistics/orders", "origin": "airflow",
    })
}

#[tokio::test]
async fn completions_are_recorded_once_and_listed() {
    let served = Served::new().await;
    let empty = json!({"completions": [], "seen": 0});
    assert_eq!(served.get("asset/completions?scope=shop/prod").await.expect_status(200).json(), empty);
    let first = served.post("asset", &report("run-1")).await.expect_status(200).json();
    assert_eq!(served.post("asset", &report("run-1")).await.expect_status(200).json(), first);
    let completion = json!({
        "number": 1, "asset": "table:lake.orders", "partition": "day=2026-11-20", "run": "run-1",
        "job": "logistics/orders", "origin": "airflow", "by": AUTHOR, "at": TIME,
    });
    assert_eq!(first["completions"][0], completion);
    served.post("asset", &report("run-2")).await.expect_status(200);

    let page = async |query: &str| {
        let page =
            served.get(&format!("asset/completions?scope=shop/prod{query}")).await.expect_status(200).json();
        let completions = page["completions"].as_array().unwrap().iter();
        let numbers = completions.map(|it| it["number"].as_u64().unwrap()).collect::<Vec<_>>();
        (numbers, page["seen"].as_u64().unwrap())
    };
    assert_eq!(page("").await, (vec![4, 3, 2, 1], 4));
    assert_eq!(page("&after=1&limit=2").await, (vec![2, 3], 3));
    assert_eq!(page("&after=0&asset=table:lake.Orders").await, (vec![1, 3], 4));
    let completed = served
        .get("asset?scope=shop/prod")
        .await
        .expect_status(200)
        .expect_content_type("application/x-ndjson")
        .lines();
    match_schema(&completed, "Completed");
    let times: Vec<_> = completed.iter().map(|it| (&it["last"]["asset"], &it["times"])).collect();
    assert_eq!(times, [(&json!("table:lake.orders"), &json!(2)), (&json!("topic:orders"), &json!(2))]);
}

#[tokio::test]
async fn invalid_parameters_are_rejected_by_name() {
    let served = Served::new().await;
    for (path, field) in [
        ("applied", "scope"),
        ("applied?scope=Shop", "scope"),
        ("applied?scope=shop&serial=0", "serial"),
        ("applied?scope=shop&shout=1", "shout"),
        ("applied/revisions?scope=shop", "address"),
        ("applied/revisions?scope=shop&address=Nonsense/sales/a", "address"),
        ("applied/revisions?scope=shop&address=CoreEtlJob/sales/A%20b", "address"),
        ("applied/history?scope=shop&limit=1001", "limit"),
        ("applied/history?scope=shop&before=x", "before"),
        ("applied/body?scope=shop&fingerprint=abc", "fingerprint"),
        ("continuous/events?scope=shop&address=clicks", "address"),
        ("continuous/events?scope=../etc&address=ContinuousJob/a/b", "scope"),
        ("asset?scope=", "scope"),
        ("asset/completions?scope=shop&asset=orders", "asset"),
        ("asset/completions?scope=shop&after=-1", "after"),
    ] {
        rejected(&served.get(path).await, 400, "INVALID", field);
    }
}

#[tokio::test]
async fn invalid_fields_are_rejected_by_name() {
    let served = Served::new().await;
    for (field, value) in [
        ("scope", json!("a/b/c")),
        ("assets", json!([])),
        ("assets", json!(["orders"])),
        ("partition", json!("a\u{0}")),
        ("run", json!("")),
        ("job", json!("orders")),
        ("origin", json!("two words")),
        ("shout", json!(1)),
    ] {
        let mut body = report("run-1");
        body[field] = value;
        rejected(&served.post("asset", &body).await, 400, "INVALID", field);
    }
    for request in ["pause", "resume", "restart"] {
        let path = format!("continuous/{request}");
        let body = json!({"scope": "shop/prod", "address": "clicks"});
        rejected(&served.post(&path, &body).await, 400, "INVALID", "address");
        rejected(&served.post(&path, &json!({"address": CLICKS})).await, 400, "INVALID", "scope");
        let plain = served.call(&format!("POST /api/v1/{path}"), "", "{}").await;
        rejected(&plain, 415, "NOT_JSON", "content-type: application/json");
    }
}

#[tokio::test]
async fn unknown_scope_or_address_is_not_found() {
    let served = Served::new().await;
    let fingerprint = Fingerprint::of("no body");
    let body = format!("applied/body?scope=shop/prod&fingerprint={}", fingerprint.as_str());
    for (path, named) in [
        ("applied?scope=other", "other"),
        ("applied/history?scope=other", "other"),
        ("applied/history?scope=other&before=7", "other"),
        ("applied/revisions?scope=shop/prod&address=CoreEtlJob/sales/none", "CoreEtlJob/sales/none"),
        ("continuous?scope=other", "other"),
        ("continuous/events?scope=other&address=ContinuousJob/logistics/clicks", CLICKS),
        ("continuous/events?scope=shop/prod&address=CoreEtlJob/sales/orders", "CoreEtlJob/sales/orders"),
        ("asset?scope=other", "other"),
        ("asset/completions?scope=other", "other"),
    ] {
        rejected(&served.get(path).await, 404, "NOT_FOUND", named);
    }
    let missing = served.get(&body).await.expect_status(404).json();
    assert!(missing["error"]["message"].as_str().unwrap().contains(fingerprint.as_str()), "{missing}");
    for request in ["pause", "resume", "restart"] {
        let job = json!({"scope": "other", "address": CLICKS});
        rejected(&served.post(&format!("continuous/{request}"), &job).await, 404, "NOT_FOUND", "other");
    }
}

#[tokio::test]
async fn every_operation_needs_a_token() {
    let served = Served::new().await;
    let operations = served.operations().await;
    assert_eq!(operations.len(), 13);
    for (method, path, _) in operations {
        let answer =
            PendingCall::new(served.address, &format!("{method} {path}"), "", "{}").await.end().await;
        assert_eq!(answer.expect_status(401).json()["error"]["reason"], "UNAUTHENTICATED", "{method} {path}");
    }
}

#[tokio::test]
async fn calls_are_logged_with_their_scope() {
    let served = Served::new().await;
    for (method, path, operation) in served.operations().await {
        let values = |name: &str| match name {
            "scope" => "shop/prod".to_owned(),
            "address" => CLICKS.to_owned(),
            "fingerprint" => Fingerprint::of("{\"clicks\":1}").as_str().to_owned(),
            other => panic!("a value for `{other}` is missing here"),
        };
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let required = parameters.filter(|it| it["required"] == true);
        let names = required.map(|it| it["name"].as_str().unwrap());
        let mut query: Vec<_> = names.map(|name| format!("{name}={}", values(name))).collect();
        if path == "/api/v1/continuous" {
            // The bodies of the other jobs are not those of jobs.
            query.push("address=ContinuousJob/logistics/other".to_owned());
        }
        let body = match path.as_str() {
            "/api/v1/asset" => report("run-1"),
            _ => json!({"scope": "shop/prod", "address": CLICKS}),
        };
        let line = format!("{method} {path}?{}", query.join("&"));
        served.call(&line, "content-type: application/json\r\n", &body.to_string()).await.expect_status(200);
        let subject = if path == "/api/v1/reconciler" { "-" } else { "shop/prod" };
        served.until_logged(&format!("{method} {path} {subject} 200")).await;
    }
}
