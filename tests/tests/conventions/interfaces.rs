//! Every RPC has a row here: its REST calls or the reason why it has none, its limit, and its subject in the log. A new
//! RPC without a row fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dcp_connect::proxy::Proxy;
use dcp_connect::store::Store;
use dcp_gateway::clusters::CAPABILITIES;
use dcp_gateway::service::{self as gateway_service, ClusterSource};
use dcp_reconciler::registry::remote::{Options, Remote};
use dcp_reconciler::service;
use dcp_server::{Call, Log, Services};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::assert_none;

/// The REST calls of an RPC.
enum Rest {
    At(&'static [&'static str]),
    /// No call, for this reason.
    No(&'static str),
}

/// The limit that counts an RPC.
enum Limit {
    /// The limit of calls, as for every RPC with one response.
    Calls,
    /// The limit of long-lived calls, for a stream that costs little ([`Services::streaming`]).
    LongLived,
    /// The limit of calls, although the RPC streams, for this reason.
    CallsAlthoughStreaming(&'static str),
}

/// The subject of a call in the log.
enum Subject {
    /// The first field of the request: a scope, or the id of an execution.
    First,
    /// The handler notes it later, or there is none, for this reason.
    Other(&'static str),
    /// The call is not in the log, for this reason.
    Unlogged(&'static str),
}

use Limit::{Calls, CallsAlthoughStreaming, LongLived};
use Subject::{First, Other, Unlogged};

/// The reason of streams that read everything into memory before they send it in parts.
const IN_MEMORY: &str = "it ends by itself, and costs the memory of all that it sends";

/// The reason why calls of the Gateway have no REST calls.
const FOR_RUNNERS: &str = "only Runners call a Gateway, and people call a Runner";

/// The reason why calls about sandboxes have no REST calls.
const SANDBOXES: &str = "people use a sandbox by `dcp sandbox`, whose sessions speak Spark Connect";

const RPCS: &[(&str, Rest, Limit, Subject)] = &[
    ("dcp.connect.v1.Connect/EndSession", Rest::At(&["DELETE /api/v1/session/{id}"]), Calls, First),
    ("dcp.connect.v1.Connect/ListPools", Rest::At(&["GET /api/v1/pool"]), Calls, First),
    ("dcp.connect.v1.Connect/ListSessions", Rest::At(&["GET /api/v1/session"]), Calls, First),
    ("dcp.connect.v1.Sandboxes/CreateSandbox", Rest::No(SANDBOXES), Calls, First),
    ("dcp.connect.v1.Sandboxes/DeleteSandbox", Rest::No(SANDBOXES), Calls, First),
    (
        "dcp.connect.v1.Sandboxes/ListSandboxes",
        Rest::No(SANDBOXES),
        Calls,
        Other("it is about the caller's sandboxes in all domains"),
    ),
    ("dcp.connect.v1.Sandboxes/OpenSandbox", Rest::No(SANDBOXES), Calls, First),
    ("dcp.control.v1.Assets/Complete", Rest::At(&["POST /api/v1/asset"]), Calls, First),
    (
        "dcp.control.v1.Assets/Completed",
        Rest::At(&["GET /api/v1/asset"]),
        CallsAlthoughStreaming(IN_MEMORY),
        First,
    ),
    ("dcp.control.v1.Assets/Completions", Rest::At(&["GET /api/v1/asset/completions"]), Calls, First),
    ("dcp.control.v1.ContinuousJobs/Events", Rest::At(&["GET /api/v1/continuous/events"]), Calls, First),
    (
        "dcp.control.v1.ContinuousJobs/Jobs",
        Rest::At(&["GET /api/v1/continuous"]),
        CallsAlthoughStreaming(IN_MEMORY),
        First,
    ),
    (
        "dcp.control.v1.ContinuousJobs/Leader",
        Rest::At(&["GET /api/v1/reconciler"]),
        Calls,
        Other("one reconciler leads in all scopes"),
    ),
    (
        "dcp.control.v1.ContinuousJobs/RequestJob",
        Rest::At(&[
            "POST /api/v1/continuous/pause",
            "POST /api/v1/continuous/restart",
            "POST /api/v1/continuous/resume",
        ]),
        Calls,
        First,
    ),
    (
        "dcp.control.v1.Control/Bodies",
        Rest::At(&["GET /api/v1/applied/body"]),
        CallsAlthoughStreaming("it ends by itself, and costs the memory of 32 bodies"),
        First,
    ),
    (
        "dcp.control.v1.Control/Commit",
        Rest::No("a commit is a transaction of an apply, which plans it against a head"),
        CallsAlthoughStreaming("it ends by itself, and costs the memory of the commit"),
        Other("the scope is noted once the whole commit is read"),
    ),
    ("dcp.control.v1.Control/History", Rest::At(&["GET /api/v1/applied/history"]), Calls, First),
    (
        "dcp.control.v1.Control/Published",
        Rest::No("it is the last step of an apply, which has written the DAG files"),
        Calls,
        First,
    ),
    ("dcp.control.v1.Control/Revisions", Rest::At(&["GET /api/v1/applied/revisions"]), Calls, First),
    (
        "dcp.control.v1.Control/State",
        Rest::At(&["GET /api/v1/applied"]),
        CallsAlthoughStreaming(IN_MEMORY),
        First,
    ),
    (
        "dcp.control.v1.Control/StateAt",
        Rest::At(&["GET /api/v1/applied"]),
        CallsAlthoughStreaming(IN_MEMORY),
        First,
    ),
    (
        "dcp.gateway.v1.Clusters/List",
        Rest::No("people read it with `dcp clusters`, whose JSON is for programs"),
        Calls,
        Other("it is about all clusters"),
    ),
    (
        "dcp.gateway.v1.Gateway/Capabilities",
        Rest::No(FOR_RUNNERS),
        Calls,
        Other("it is about the Gateway itself"),
    ),
    (
        "dcp.gateway.v1.Gateway/Create",
        Rest::No(FOR_RUNNERS),
        Calls,
        Other("the name is noted once the application is read"),
    ),
    ("dcp.gateway.v1.Gateway/Delete", Rest::No(FOR_RUNNERS), Calls, First),
    ("dcp.gateway.v1.Gateway/Forget", Rest::No(FOR_RUNNERS), Calls, First),
    ("dcp.gateway.v1.Gateway/Get", Rest::No(FOR_RUNNERS), Calls, First),
    ("dcp.gateway.v1.Gateway/Logs", Rest::No(FOR_RUNNERS), Calls, First),
    ("dcp.gateway.v1.Gateway/Tail", Rest::No(FOR_RUNNERS), Calls, First),
    (
        "dcp.gateway.v1.Gateway/Validate",
        Rest::No(FOR_RUNNERS),
        Calls,
        Other("the name is noted once the application is read"),
    ),
    ("dcp.gateway.v1.Gateway/Watch", Rest::No(FOR_RUNNERS), LongLived, Other("it is about all applications")),
    (
        "dcp.identity.v1.Identity/WhoAmI",
        Rest::At(&["GET /api/v1/whoami"]),
        Calls,
        Other("it is about the caller itself"),
    ),
    (
        "dcp.identity.v1.Logins/List",
        Rest::No("`dcp login` calls it before there is a token, and pages have sessions instead"),
        Calls,
        Unlogged("strangers call it, and could fill the log"),
    ),
    ("dcp.runner.v1.Runner/Cancel", Rest::At(&["POST /api/v1/job/{id}/cancel"]), Calls, First),
    ("dcp.runner.v1.Runner/Check", Rest::At(&["GET /api/v1/job/{id}"]), Calls, First),
    (
        "dcp.runner.v1.Runner/Holders",
        Rest::No("a reconciler polls it, to compare its continuous jobs with what runs"),
        Calls,
        Other("it is about all executions"),
    ),
    (
        "dcp.runner.v1.Runner/List",
        Rest::At(&["GET /api/v1/job"]),
        Calls,
        Other("it is about many executions"),
    ),
    ("dcp.runner.v1.Runner/Logs", Rest::At(&["GET /api/v1/job/{id}/logs"]), LongLived, First),
    (
        "dcp.runner.v1.Runner/Result",
        Rest::At(&["GET /api/v1/job/{id}/result"]),
        CallsAlthoughStreaming("it ends by itself, and costs memory and CPU time"),
        First,
    ),
    (
        "dcp.runner.v1.Runner/Submit",
        Rest::At(&["POST /api/v1/job"]),
        Calls,
        Other("the execution is noted once it is stored; a token is secret"),
    ),
    ("dcp.runner.v1.Runner/Watch", Rest::At(&["GET /api/v1/job/{id}/steps"]), LongLived, First),
];

#[test]
fn every_rpc_has_a_row_and_every_row_an_rpc() {
    let rpcs: BTreeSet<String> = rpcs().into_keys().collect();
    let rows: Vec<_> = RPCS.iter().map(|(name, ..)| *name).collect();
    assert!(rows.is_sorted(), "rows are sorted by name");
    let missing: Vec<_> = rpcs.iter().filter(|name| !rows.contains(&name.as_str())).cloned().collect();
    assert_none("add a row for each of these to RPCS", &missing);
    let unknown: Vec<_> =
        rows.iter().filter(|name| !rpcs.contains(**name)).map(ToString::to_string).collect();
    assert_none("no protocol has these RPCs", &unknown);
}

#[test]
fn rest_calls_of_rpcs_are_those_of_the_document() {
    let document: serde_json::Value = serde_json::from_str(&dcp_tests::openapi()).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys();
        described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    // It executes statements by the protocol of Spark Connect.
    let mut listed = BTreeSet::from(["POST /api/v1/sql".to_owned()]);
    for (name, rest, ..) in RPCS {
        match rest {
            Rest::At(calls) => listed.extend(calls.iter().map(ToString::to_string)),
            Rest::No(reason) => assert!(reason.len() > 20, "{name} needs a reason"),
        }
    }
    let missing: Vec<_> = listed.difference(&described).cloned().collect();
    assert_none("these calls are not in the OpenAPI document", &missing);
    let unknown: Vec<_> = described.difference(&listed).cloned().collect();
    assert_none("these calls of the OpenAPI document belong to no RPC", &unknown);
}

#[tokio::test]
async fn every_streaming_rpc_has_a_limit() {
    let (services, rpcs) = (services().await, rpcs());
    let mut wrong = Vec::new();
    for (name, _, limit, _) in RPCS {
        let is_right = match limit {
            Limit::Calls => !rpcs[*name] && !services.is_long_lived(&format!("/{name}")),
            Limit::LongLived => rpcs[*name] && services.is_long_lived(&format!("/{name}")),
            Limit::CallsAlthoughStreaming(reason) => {
                rpcs[*name] && !services.is_long_lived(&format!("/{name}")) && reason.len() > 20
            }
        };
        wrong.extend((!is_right).then(|| (*name).to_owned()));
    }
    assert_none("each stream is registered as long-lived, or has a reason why it is not", &wrong);
}

#[tokio::test]
async fn every_rpc_is_logged_with_its_subject() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let logged = Arc::new(Mutex::new(BTreeMap::new()));
    let calls = Arc::clone(&logged);
    let write = move |call: &Call| {
        let name = format!("{}/{}", call.service, call.method);
        calls.lock().unwrap().insert(name, call.subject.clone());
    };
    let options = dcp_server::Options { log: Some(Log::new(write)), ..dcp_tests::server_options("ada") };
    tokio::spawn(dcp_server::serve(listener, services().await, options, std::future::pending()));
    let channel = Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    for (name, _, _, subject) in RPCS {
        if let Subject::Unlogged(reason) = subject {
            assert!(reason.len() > 20, "{name} needs a reason");
            continue;
        }
        // A text is a message whose first field has it.
        let mut request = tonic::Request::new("shop".to_owned());
        let token = format!("Bearer {}", dcp_tests::TOKEN).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let mut client = Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = format!("/{name}").parse().unwrap();
        // The stores behind the services are away, so the calls fail.
        let _ = client.unary(request, path, ProstCodec::<String, ()>::default()).await;
        let deadline = Instant::now() + Duration::from_mins(1);
        let found = loop {
            if let Some(found) = logged.lock().unwrap().get(*name) {
                break found.clone();
            }
            assert!(Instant::now() < deadline, "{name} is not in the log");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        match subject {
            Subject::First => assert_eq!(found.as_deref(), Some("shop"), "{name}"),
            Subject::Other(reason) => assert!(found.is_none() && reason.len() > 20, "{name}: {found:?}"),
            Subject::Unlogged(_) => unreachable!("{name} is left out above"),
        }
    }
}

/// Returns the RPCs of all protocols, and whether each one streams.
fn rpcs() -> BTreeMap<String, bool> {
    let files = FileDescriptorSet::decode(dcp_proto::DESCRIPTORS).expect("they are descriptors").file;
    let mut rpcs = BTreeMap::new();
    for file in &files {
        for service in &file.service {
            for method in &service.method {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                rpcs.insert(name, method.client_streaming() || method.server_streaming());
            }
        }
    }
    rpcs
}

/// Returns all services of dcp, over stores that can't be reached.
async fn services() -> Services {
    let away =
        || Options { retry_for: Duration::ZERO, ..Options::new("http://127.0.0.1:1", dcp_tests::TOKEN) };
    let control = Arc::new(Remote::new(away()).expect("the options are good"));
    let runner = Arc::new(dcp_runner::remote::Remote::new(away()).expect("the options are good"));
    let clock = dcp_server::clock;
    let services = dcp_identity::service::add(Services::new(dcp_proto::DESCRIPTORS), Vec::new());
    let services = service::add(services, Arc::<Remote>::clone(&control), service::Options::default());
    let services = service::add_assets(services, Arc::<Remote>::clone(&control), clock);
    let services = service::add_jobs(services, control, clock);
    let services = dcp_runner::service::add(services, runner);
    let services = dcp_connect::service::add(services, proxy().await);
    let gateway = dcp_gateway::remote::Remote::new(away(), CAPABILITIES).expect("the options are good");
    let services = gateway_service::add_clusters(services, ClusterSource::Remote(Box::new(gateway.clone())));
    gateway_service::add(services, Arc::new(gateway), tokio::sync::watch::channel(false).1)
}

/// Returns a proxy without pools.
async fn proxy() -> Proxy {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = Store::sqlite(&folder.path().join("state.db")).await.expect("the database can be made");
    Proxy::start(store, Arc::new(|_| None), dcp_server::clock).await.expect("the database can be read")
}
