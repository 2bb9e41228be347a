//! The REST API of a Runner, over HTTP.

mod http;
mod schemathesis;
mod services;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dcp_runner::api::Runner;
use dcp_runner::in_process::InProcessRunner;
use dcp_runner::results::Results;
use dcp_runner::store::Store;
use dcp_runner::{rest, service};
use dcp_server::{Services, Token, Tokens};
use dcp_tests::fake_spark::FakeSpark;
use http::{PendingCall, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{DRIVER_SCRIPT, job, options};
use services::{control_plane, proxy};

const TOKEN: &str = "0123456789abcdef-tester";

/// A Runner with its server and its machine, beside a control plane as in `dcp up`.
struct TestServer {
    fake_spark: FakeSpark,
    address: SocketAddr,
}

impl TestServer {
    async fn new() -> Self {
        let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
        let store = Store::sqlite(&fake_spark.path("runs.db")).await.unwrap();
        let mut options = options(&fake_spark);
        options.lock_folder = Some(fake_spark.path("locks"));
        options.lease = Duration::from_hours(1);
        std::fs::create_dir(fake_spark.path("results")).unwrap();
        let results = format!("file://{}", fake_spark.path("results").display());
        options.results = Some(Results::open(&results).unwrap());
        let runner: Arc<dyn Runner> = Arc::new(InProcessRunner::start(store, options).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Tokens::new(&[Token { name: "tester".to_owned(), token: TOKEN.to_owned() }]).unwrap();
        let services = service::add(Services::new(dcp_proto::DESCRIPTORS), Arc::clone(&runner));
        let plane = control_plane(&fake_spark).await;
        let api = rest::api(runner).merge(dcp_reconciler::rest::api(plane)).merge(dcp_identity::rest::api());
        let api = api.merge(dcp_connect::rest::api(proxy(&fake_spark).await));
        let services = services.rest(api.into_router());
        let options = dcp_server::Options::new(tokens);
        tokio::spawn(dcp_server::serve(listener, services, options, std::future::pending()));
        Self { fake_spark, address }
    }

    async fn open(&self, line: &str, more: &str, body: &str) -> PendingCall {
        let head = format!("authorization: Bearer {TOKEN}\r\n{more}");
        PendingCall::new(self.address, line, &head, body).await
    }

    async fn get(&self, path: &str) -> Response {
        self.open(&format!("GET {path}"), "", "").await.end().await
    }

    async fn post(&self, path: &str, body: &str) -> Response {
        let json = "content-type: application/json; charset=utf-8\r\n";
        self.open(&format!("POST {path}"), json, body).await.end().await
    }

    /// Submits a job, and returns its path.
    async fn submit_and_get_path(&self, token: &str, what: &str) -> String {
        let response = self.post("/api/v1/job", &submit(token, what).to_string()).await.expect_status(201);
        response.header("location").unwrap().to_owned()
    }

    /// Waits until a job is in a phase.
    async fn wait_for_phase(&self, path: &str, phase: &str) -> Value {
        let deadline = std::time::Instant::now() + Duration::from_mins(1);
        loop {
            let reported = self.get(path).await.expect_status(200).json();
            if reported["phase"] == phase {
                return reported;
            }
            assert!(std::time::Instant::now() < deadline, "the job is not {phase}: {reported:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn submit(token: &str, what: &str) -> Value {
    json!({"token": token, "definition": job(), "parameters": {"do": what}})
}

#[tokio::test(flavor = "multi_thread")]
async fn submitted_job_is_reported_until_its_end() {
    let served = TestServer::new().await;
    let submit_body = submit("secret-token-of-one", "twice").to_string();
    let first = served.post("/api/v1/job", &submit_body).await.expect_status(201);
    let path = first.header("location").unwrap().to_owned();
    let reported = first.json();
    assert_eq!(path, format!("/api/v1/job/{}", reported["id"].as_str().unwrap()));
    assert_eq!(
        (&reported["by"], &reported["domain"], &reported["name"]),
        (&"tester".into(), &"tests".into(), &"job".into())
    );
    let again = served.post("/api/v1/job", &submit_body).await.expect_status(200);
    assert_eq!(
        (again.json()["id"].clone(), again.header("location")),
        (reported["id"].clone(), Some(&*path))
    );

    let steps = served
        .get(&format!("{path}/steps"))
        .await
        .expect_status(200)
        .expect_content_type("application/x-ndjson")
        .lines();
    let ended = served.wait_for_phase(&path, "SUCCEEDED").await;
    assert_eq!(ended["history"].as_array().unwrap(), &steps, "{ended:#}");
    assert_eq!(steps[0]["number"], 0);
    let rest = served.get(&format!("{path}/steps?from=2")).await.expect_status(200).lines();
    assert_eq!(rest, steps[2..]);

    let attempts = ended["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{ended:#}");
    assert!(attempts[0]["diagnosis"]["summary"].as_str().unwrap().contains("killed"), "{ended:#}");
    assert_eq!(attempts[1]["end"]["succeeded"], true);
    assert_eq!(ended["policy"]["attempts"], 3);
    assert_logs_of_first_attempt(&served, &path).await;

    let late = served.post(&format!("{path}/cancel"), "").await.expect_status(200).json();
    assert_eq!(late["phase"], "SUCCEEDED");
    // The token gives access to the job, so responses omit it.
    for response in [&reported, &ended, &late, &served.get("/api/v1/job").await.json()] {
        assert!(!response.to_string().contains("secret-token"), "{response:#}");
    }
}

/// Checks the log of a job `twice` as text and as parts with cursors.
async fn assert_logs_of_first_attempt(served: &TestServer, path: &str) {
    let line = "the driver says twice\n";
    let log = served.get(&format!("{path}/logs?follow=true&attempt=1")).await.expect_status(200);
    assert_eq!(log.expect_content_type("text/plain; charset=utf-8").text(), line);
    let accept = "accept: application/x-ndjson\r\n";
    let parts =
        served.open(&format!("GET {path}/logs?attempt=1"), accept, "").await.end().await.expect_status(200);
    let parts = parts.expect_content_type("application/x-ndjson").lines();
    assert_eq!((parts.len(), &parts[0]["attempt"]), (1, &json!(1)), "{parts:?}");
    assert_eq!(parts[0]["data"], "dGhlIGRyaXZlciBzYXlzIHR3aWNlCg==");
    let cursor = parts[0]["cursor"].as_str().unwrap();
    assert_eq!(
        served.get(&format!("{path}/logs?attempt=1&cursor={cursor}")).await.expect_status(200).text(),
        ""
    );
    let wrong =
        served.get(&format!("{path}/logs?attempt=1&cursor=elsewhere")).await.expect_status(400).json();
    assert_eq!(wrong["error"]["metadata"]["field"], "cursor", "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_and_logs_are_streamed_live() {
    let served = TestServer::new().await;
    let path = served.submit_and_get_path("one", "wait").await;
    let mut log = served.open(&format!("GET {path}/logs?follow=true"), "", "").await;
    let mut lines = served.open(&format!("GET {path}/steps"), "", "").await;
    let events = "accept: text/event-stream\r\n";
    let mut events = served.open(&format!("GET {path}/steps"), events, "").await;
    log.wait_until("the driver says wait\n").await;
    lines.wait_until("\"to\":\"RUNNING\"").await;
    events.wait_until("\"to\":\"RUNNING\"").await;
    let cancelled = served.post(&format!("{path}/cancel"), "").await.expect_status(200).json();
    assert_eq!(cancelled["stopping"], json!({"cancelled": {"by": "tester"}}));
    // All three streams end with the job.
    let lines = lines.end().await.expect_status(200).lines();
    let events = events.end().await.expect_status(200).expect_content_type("text/event-stream");
    let reported: Vec<Value> = events
        .text()
        .split_terminator("\n\n")
        .filter_map(|event| event.strip_prefix("event: step\ndata: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(reported, lines);
    assert!(lines.iter().any(|step| step["to"] == "CANCELLING"), "{lines:#?}");
    let log = log.end().await.expect_status(200).text();
    assert!(log.starts_with("the driver says wait\n"), "{log}");
    assert_eq!(served.fake_spark.lines("stopped"), ["wait"]);
}

/// Copies a result that was written by a real Spark to the first attempt of a job, and returns its folder.
fn place_result(served: &TestServer, id: &str) -> PathBuf {
    let from = dcp_tests::workspace().join("runner/tests/results/snappy/1");
    let to = served.fake_spark.path("results").join(id);
    std::fs::create_dir_all(&to).unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to.join("1")).status();
    assert!(copied.unwrap().success());
    to.join("1")
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_served_as_json_and_avro() {
    let served = TestServer::new().await;
    let path = served.submit_and_get_path("one", "wait").await;
    let early = served.get(&format!("{path}/result")).await.expect_status(409).json();
    assert_eq!(early["error"]["reason"], "NOT_NOW", "{early}");
    std::fs::write(served.fake_spark.path("go-wait"), "").unwrap();
    let id = served.wait_for_phase(&path, "SUCCEEDED").await["id"].as_str().unwrap().to_owned();
    let none = served.get(&format!("{path}/result")).await.expect_status(404).json();
    assert!(none["error"]["message"].as_str().unwrap().contains("returnResult"), "{none}");

    place_result(&served, &id);
    let rows = served
        .get(&format!("{path}/result"))
        .await
        .expect_status(200)
        .expect_content_type("application/json")
        .json();
    assert!(
        rows.as_array().is_some_and(|rows| !rows.is_empty() && rows.iter().all(Value::is_object)),
        "{rows}"
    );
    assert_eq!(served.get(&format!("{path}/result?format=json")).await.json(), rows);
    let avro = served
        .get(&format!("{path}/result?format=avro"))
        .await
        .expect_status(200)
        .expect_content_type("avro/binary");
    assert!(avro.body.starts_with(b"Obj\x01"));
    let accept = "accept: avro/binary\r\n";
    let accepted = served
        .open(&format!("GET {path}/result"), accept, "")
        .await
        .end()
        .await
        .expect_content_type("avro/binary");
    assert_eq!(accepted.body, avro.body);
}

/// A response that has begun can't become an error. It breaks off, so that clients notice that it is incomplete.
#[tokio::test(flavor = "multi_thread")]
async fn response_with_a_damaged_result_breaks_off() {
    let served = TestServer::new().await;
    let path = served.submit_and_get_path("one", "work").await;
    let id = served.wait_for_phase(&path, "SUCCEEDED").await["id"].as_str().unwrap().to_owned();
    let result = place_result(&served, &id);
    for entry in std::fs::read_dir(&result).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|it| it == "avro") {
            let whole = std::fs::read(&file).unwrap();
            std::fs::write(&file, &whole[..whole.len() - 3]).unwrap();
        }
    }
    let open = served.open(&format!("GET {path}/result"), "", "").await;
    let broken = open.end().await;
    assert!(broken.status == 500 || !broken.is_complete, "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_in_pages() {
    let served = TestServer::new().await;
    let mut paths = Vec::new();
    for number in 0..3 {
        paths.insert(0, served.submit_and_get_path(&format!("t{number}"), "work").await);
        // Ids of the same millisecond have no order.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for path in &paths {
        served.wait_for_phase(path, "SUCCEEDED").await;
    }
    let page =
        async |query: &str| served.get(&format!("/api/v1/job?{query}")).await.expect_status(200).json();
    let ids = |page: &Value| -> Vec<String> {
        let jobs = page["jobs"].as_array().unwrap();
        jobs.iter().map(|it| format!("/api/v1/job/{}", it["id"].as_str().unwrap())).collect()
    };
    let first = page("limit=2&domain=tests&name=job&phase=SUCCEEDED&phase=FAILED").await;
    assert_eq!(ids(&first), paths[..2]);
    let second = page(&format!("limit=2&page={}", first["nextPage"].as_str().unwrap())).await;
    assert_eq!((ids(&second), second.get("nextPage")), (paths[2..].to_vec(), None));
    for none in ["scope=shop", "name=another", "domain=another", "phase=RUNNING"] {
        assert_eq!(page(none).await, json!({"jobs": []}), "{none}");
    }
}

/// Returns bodies of a submit, each with the status, the reason and the field of its rejection. The token `one` is used.
fn invalid_bodies() -> Vec<(String, u16, &'static str, &'static str)> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = submit("two", "work");
        change(&mut body);
        body.to_string()
    };
    vec![
        ("not JSON".to_owned(), 400, "INVALID", "body"),
        (with(&|body| body["shout"] = true.into()), 400, "INVALID", "shout"),
        (with(&|body| body["token"] = 7.into()), 400, "INVALID", "token"),
        (with(&|body| body["token"] = "".into()), 400, "INVALID", "token"),
        (
            with(&|body| body["definition"]["retry"]["attempts"] = "x".into()),
            400,
            "INVALID",
            "definition.retry.attempts",
        ),
        (
            with(&|body| body["reference"] = json!({"scope": "a", "domain": "b", "name": "c"})),
            400,
            "INVALID",
            "definition",
        ),
        (
            with(&|body| drop(body.as_object_mut().unwrap().remove("definition"))),
            400,
            "INVALID",
            "definition",
        ),
        (with(&|body| body["fence"] = json!({"lease": "a", "epoch": -1})), 400, "INVALID", "fence.epoch"),
        (with(&|body| body["parameters"]["day"] = "x".into()), 400, "INVALID", "parameters.day"),
        (with(&|_| {}) + "}", 400, "INVALID", "body"),
        (submit("one", "other").to_string(), 409, "TOKEN_REUSED", ""),
        (" ".repeat(5 << 20), 413, "TOO_LARGE", ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_submits_are_rejected_with_the_field_name() {
    let served = TestServer::new().await;
    served.submit_and_get_path("one", "work").await;
    let malformed = served.post("/api/v1/job", "{bad").await.expect_status(400).json();
    let message = malformed["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("the body is not JSON: ") && message.ends_with("at line 1 column 2"),
        "{message}"
    );
    for (body, code, reason, field) in invalid_bodies() {
        assert_rejected(&served.post("/api/v1/job", &body).await, code, reason, field);
    }
    let plain = served.open("POST /api/v1/job", "", "{}").await.end().await;
    assert_rejected(&plain, 415, "NOT_JSON", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_are_rejected_with_the_field_name() {
    let served = TestServer::new().await;
    let path = served.submit_and_get_path("one", "work").await;
    for (query, field) in [
        ("shout=1", "shout"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("page=NO", "page"),
        ("scope=", "scope"),
        ("name=a%00b", "name"),
        ("phase=GONE", "phase"),
    ] {
        let response = served.get(&format!("/api/v1/job?{query}")).await.expect_status(400).json();
        assert!(response["error"]["message"].as_str().unwrap().contains(field), "{query}: {response}");
    }
    for (below, code, reason, field) in [
        ("/logs?attempt=0", 400, "INVALID", "attempt"),
        ("/logs?follow=perhaps", 400, "INVALID", "follow"),
        ("/logs?attempt=9", 404, "NOT_FOUND", ""),
        ("/steps?from=-1", 400, "INVALID", "from"),
        ("/result?format=csv", 400, "INVALID", "format"),
        ("/nothing", 404, "NO_SUCH_PATH", ""),
    ] {
        served.wait_for_phase(&path, "SUCCEEDED").await;
        assert_rejected(&served.get(&format!("{path}{below}")).await, code, reason, field);
    }
    for below in ["", "/logs", "/steps", "/result"] {
        assert_rejected(&served.get(&format!("/api/v1/job/NO%2Fid{below}")).await, 400, "INVALID", "id");
        assert_rejected(&served.get(&format!("/api/v1/job/0nothing{below}")).await, 404, "NOT_FOUND", "");
    }
    let wrong = served.open("DELETE /api/v1/job/a1", "", "").await.end().await;
    assert_rejected(&wrong, 405, "NO_SUCH_METHOD", "");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
    let stranger = PendingCall::new(served.address, "GET /api/v1/job", "", "").await.end().await;
    assert_rejected(&stranger, 401, "UNAUTHENTICATED", "");
}

#[track_caller]
fn assert_rejected(response: &Response, code: u16, reason: &str, field: &str) {
    assert_eq!(response.header("content-type"), Some("application/json"), "{}", response.text());
    let error = response.json()["error"].clone();
    assert_eq!((response.status, &error["code"]), (code, &code.into()), "{error}");
    assert_eq!(error["reason"], reason, "{error}");
    let found = error["metadata"]["field"].as_str().unwrap_or_default();
    let named = found == field || error["message"].as_str().unwrap().contains(&format!("`{field}`"));
    assert!(field.is_empty() || named, "{field}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exclusive_keys_and_leases_work_over_rest() {
    let served = TestServer::new().await;
    let submit_body = |token: &str, epoch: u64| {
        let mut body = submit(token, "wait");
        body["exclusive"] = "s3://c".into();
        body["fence"] = json!({"lease": "reconciler", "epoch": epoch});
        body.to_string()
    };
    let first = served.post("/api/v1/job", &submit_body("one", 3)).await.expect_status(201).json();
    assert_eq!((&first["exclusive"], &first["fence"]["epoch"]), (&"s3://c".into(), &3.into()));
    let held = served.post("/api/v1/job", &submit_body("two", 3)).await;
    assert_rejected(&held, 409, "HELD", "");
    assert_eq!(held.json()["error"]["metadata"]["execution"], first["id"]);
    let fenced = served.post("/api/v1/job", &submit_body("three", 2)).await;
    assert_rejected(&fenced, 409, "FENCED", "");
    assert_eq!(fenced.json()["error"]["metadata"]["newest"], "3");
    std::fs::write(served.fake_spark.path("go-wait"), "").unwrap();
    served.wait_for_phase(&format!("/api/v1/job/{}", first["id"].as_str().unwrap()), "SUCCEEDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_document_is_served_unchanged() {
    let served = TestServer::new().await;
    let document =
        served.get("/openapi.json").await.expect_status(200).expect_content_type("application/json");
    assert_eq!(document.text(), dcp_tests::openapi());
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_asks_for_a_driver_of_a_size() {
    let served = TestServer::new().await;
    let query = |more: &str| format!("{{\"sql\": \"SELECT 1\", \"domain\": \"sales\", {more}}}");
    let none = served.post("/api/v1/sql", &query("\"cores\": 16, \"memory\": \"64g\"")).await;
    assert!(none.text().contains("16 cores with at least 65536 MiB of memory"), "{}", none.text());
    for wrong in ["\"cores\": 0", "\"cores\": null", "\"memory\": \"64\"", "\"memory\": 64, \"cores\": 1"] {
        served.post("/api/v1/sql", &query(wrong)).await.expect_status(400);
    }
}
