//! Every method of every protocol, and every path of REST, called by callers of each role: `tests/golden/access.txt`.

mod identity;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use dcp_model::primitive::Fingerprint;
use dcp_proto::control::v1 as control;
use dcp_proto::gateway::v1 as gateway;
use dcp_proto::runner::v1 as runner;
use dcp_runner::request::CanonicalJob;
use dcp_tests::cluster::kubeconfig_of_nobody;
use dcp_tests::fake_spark::{FakeSpark, wait_until};
use futures_util::{TryStreamExt as _, stream};
use prost::Message;
use prost_types::FileDescriptorSet;
use serde_json::{Value, json};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::continuous::Process;
use crate::harness::{CommandOutput, DCP, Sandbox};

/// The domain of the callers with a role, and another one.
const DOMAINS: [&str; 2] = ["sales", "finance"];

/// The callers: without a binding, with each role for [`DOMAINS`]`[0]`, and with a role for everything.
const CALLERS: [&str; 7] =
    ["nobody", "viewer", "operator", "developer", "admin", "viewer-of-all", "developer-of-all"];

const POLICY: &str = "\
bindings:
- {role: viewer, users: [viewer], scopes: [\"*\"], domains: [sales]}
- {role: operator, users: [operator], scopes: [\"*\"], domains: [sales]}
- {role: developer, users: [developer], scopes: [\"*\"], domains: [sales]}
- {role: admin, users: [admin], scopes: [\"*\"], domains: [sales]}
- {role: viewer, users: [viewer-of-all], scopes: [\"*\"], domains: [\"*\"]}
- {role: developer, users: [developer-of-all], scopes: [\"*\"], domains: [\"*\"]}
";

const CLUSTERS: &str =
    "clusters:\n  north:\n    kind: kubernetes\n    credentials: {kubeconfig: kubeconfig}\n";

/// A job that ends, and a stream that runs.
const SCRIPT: &str = r#"case "${@: -1}" in done) exit 0;; esac; while :; do sleep 0.05; done"#;

fn manifest(domain: &str, name: &str, argument: &str, run: &str) -> String {
    format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: {domain}, owner: data@example.com}}\n\
         spec:\n  engine: {{version: \"4.1\"}}\n  job: {{pyspark: {{main: main.py, args: [{argument}]}}}}\n  \
         outputs: [{{table: lake.{domain}_{name}}}]\n  run: {run}\n"
    )
}

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The caller may do it.
    Ok,
    /// As if it did not exist.
    Hidden,
    Denied,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Hidden => "-",
            Self::Denied => "DENIED",
        }
    }
}

/// A control plane with a Runner, and a Gateway. Two domains have a job that was run, and a stream.
struct World {
    url: String,
    gateway_url: String,
    tokens: BTreeMap<&'static str, String>,
    /// The ended execution, the fingerprint and the body of the job of each domain.
    executions: BTreeMap<&'static str, String>,
    jobs: BTreeMap<&'static str, (Fingerprint, String)>,
    _processes: [Process; 2],
    sandbox: Sandbox,
    fake_spark: FakeSpark,
}

impl World {
    fn start() -> Self {
        let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", SCRIPT));
        write_project(&sandbox, &fake_spark);
        let listen = ["--listen", "127.0.0.1:0", "--policy", "policy.yaml", "--quiet"];
        let up = Process::start(
            command(&sandbox, &fake_spark, &[&["up", "--audit-log", "audit.jsonl"][..], &listen].concat()),
            "up",
            sandbox.join("up.log"),
        );
        let serve =
            ["serve", "gateway", "--clusters", "clusters/clusters.yaml", "--database", ".dcp/state.db"];
        let gateway = Process::start(
            command(&sandbox, &fake_spark, &[&serve[..], &listen].concat()),
            "gateway",
            sandbox.join("gateway.log"),
        );
        let mut world = Self {
            url: up.url.clone(),
            gateway_url: gateway.url.clone(),
            tokens: BTreeMap::new(),
            executions: BTreeMap::new(),
            jobs: BTreeMap::new(),
            _processes: [up, gateway],
            sandbox,
            fake_spark,
        };
        world.prepare();
        world
    }

    /// Creates tokens, applies the project and runs a job of each domain, as the user of the machine.
    fn prepare(&mut self) {
        for name in CALLERS {
            let token = self.run(&["token", "create", name]).exits_with(0).stdout;
            self.tokens.insert(name, token.trim().to_owned());
        }
        self.run(&["apply", "--auto-approve"]).exits_with(0).prints("applied serial 1");
        for domain in DOMAINS {
            let id = self.run(&["run", &format!("{domain}/orders")]).exits_with(0).stdout.trim().to_owned();
            wait_until(|| self.run(&["runs", &id]).stdout.to_uppercase().contains("SUCCEEDED").then_some(()));
            self.executions.insert(domain, id);
            let body = self.run(&["show", &format!("CoreEtlJob/{domain}/orders")]).exits_with(0).json();
            let job = CanonicalJob::parse(&body["body"].to_string()).expect("the body is that of a job");
            self.jobs.insert(domain, (job.fingerprint().clone(), job.text().to_string()));
            let report = json!({
                "scope": "shop", "assets": [format!("table:lake.{domain}_orders")], "run": "1",
                "job": format!("{domain}/orders"), "origin": "test",
            });
            let (status, text) = self.http("developer-of-all", "POST", "/api/v1/asset", Some(&report));
            assert!((200..300).contains(&status), "{status}: {text}");
            let events = ["events", &format!("{domain}/clicks"), "--output", "json"].map(str::to_owned);
            let events = events.each_ref().map(String::as_str);
            wait_until(|| (self.run(&events).exits_with(0).stdout.trim() != "[]").then_some(()));
        }
    }

    fn run(&self, args: &[&str]) -> CommandOutput {
        let output = command(&self.sandbox, &self.fake_spark, args).output().expect("the binary can be run");
        self.sandbox.capture(args, &output)
    }

    /// Sends a request of REST, and returns the status and the body.
    fn http(&self, caller: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let address = self.url.trim_start_matches("http://");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(address).expect("the server listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.tokens[caller],
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("the request can be sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the server responds");
        let status =
            response.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("there is a status");
        (status, response)
    }

    /// Calls a method with these messages, and returns all messages of the response. Of an endless response, it returns
    /// none.
    async fn call<Req, Res>(
        &self,
        caller: &str,
        method: &'static str,
        messages: Vec<Req>,
    ) -> Result<Vec<Res>, Status>
    where
        Req: Message + 'static,
        Res: Message + Default + 'static,
    {
        let is_gateway = method.starts_with("/dcp.gateway.v1.Gateway/");
        let url = if is_gateway { &self.gateway_url } else { &self.url };
        let channel = Channel::from_shared(url.clone()).expect("the URL is valid").connect().await;
        let mut client = Grpc::new(channel.expect("the server listens"));
        client.ready().await.expect("the connection is open");
        let mut request = Request::new(stream::iter(messages));
        let bearer = format!("Bearer {}", self.tokens[caller]).parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", bearer);
        let codec = tonic_prost::ProstCodec::<Req, Res>::default();
        let response = client.streaming(request, method.parse().expect("the path is valid"), codec).await?;
        match method {
            "/dcp.gateway.v1.Gateway/Watch" => Ok(Vec::new()),
            _ => response.into_inner().try_collect().await,
        }
    }

    /// Returns the outcome of a call by gRPC. The call found what it is about if a message of the response satisfies
    /// `is_found`.
    async fn rpc<Req, Res>(
        &self,
        caller: &str,
        method: &'static str,
        message: Req,
        is_found: impl Fn(&Res) -> bool,
    ) -> Outcome
    where
        Req: Message + 'static,
        Res: Message + Default + 'static,
    {
        match self.call::<Req, Res>(caller, method, vec![message]).await {
            Ok(messages) if messages.iter().any(is_found) => Outcome::Ok,
            Ok(_) => Outcome::Hidden,
            Err(status) => rejected(&status),
        }
    }

    fn rest(&self, caller: &str, method: &str, path: &str, body: Option<&Value>, found: &str) -> Outcome {
        let (status, text) = self.http(caller, method, path, body);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        match status {
            200..300 if body.contains(found) => Outcome::Ok,
            200..300 => Outcome::Hidden,
            403 => Outcome::Denied,
            404 if !is_without_result(body) => Outcome::Hidden,
            404 | 409 => Outcome::Ok,
            _ => unreachable!("{method} {path} as {caller}: {text}"),
        }
    }
}

/// Writes a project with a job and a stream in each domain, a policy and a file of clusters.
fn write_project(sandbox: &Sandbox, fake_spark: &FakeSpark) {
    let checkpoint = |domain: &str| {
        let folder = fake_spark.path("checkpoint").join(domain);
        format!("{{continuous: {{checkpoint: \"file://{}\", stateVersion: 1}}}}", folder.display())
    };
    for domain in DOMAINS {
        sandbox.write(
            &format!("manifests/{domain}-orders.yaml"),
            manifest(domain, "orders", "done", "{manual: {}}"),
        );
        sandbox.write(
            &format!("manifests/{domain}-clicks.yaml"),
            manifest(domain, "clicks", "forever", &checkpoint(domain)),
        );
    }
    sandbox
        .write("dcp.yaml", "project: shop\nmanifests: [manifests]\n")
        .write("main.py", "")
        .write("manifests/main.py", "")
        .write("policy.yaml", POLICY)
        .write("clusters/clusters.yaml", CLUSTERS);
    kubeconfig_of_nobody(&sandbox.join("clusters"));
}

fn command(sandbox: &Sandbox, fake_spark: &FakeSpark, args: &[&str]) -> std::process::Command {
    let mut command = sandbox.command(&DCP);
    command.args(args).env("SPARK_HOME", fake_spark.path("spark")).env("DCP_USER", "owner");
    command.stdin(Stdio::null());
    command
}

/// Returns the outcome of a rejected call. Other reasons come after the check of the role.
fn rejected(status: &Status) -> Outcome {
    match status.code() {
        Code::PermissionDenied => Outcome::Denied,
        Code::NotFound if !is_without_result(status.message()) => Outcome::Hidden,
        Code::Unauthenticated | Code::Unimplemented | Code::Internal => unreachable!("{status:?}"),
        _ => Outcome::Ok,
    }
}

/// Returns true if an execution is visible, and its job returns no rows.
fn is_without_result(message: &str) -> bool {
    message.contains("result") && !message.contains("there is no execution")
}

fn always<T>(_: &T) -> bool {
    true
}

/// Calls a method of the Runner.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
async fn call_runner(world: &World, caller: &str, domain: &str, method: &'static str) -> Outcome {
    let id = world.executions[domain].clone();
    let token = || format!("{caller}-{domain}-{method}").replace(' ', "-");
    let submit = |job: runner::submit_request::Job| runner::SubmitRequest {
        token: token(),
        job: Some(job),
        ..Default::default()
    };
    let of_domain = |execution: &runner::Execution| execution.domain == domain;
    let path = method.split(' ').next().map_or(method, |_| method);
    match method {
        "/dcp.runner.v1.Runner/Submit" => {
            let reference = runner::Reference {
                scope: "shop".to_owned(),
                domain: domain.to_owned(),
                name: "orders".to_owned(),
                fingerprint: None,
            };
            let job = runner::submit_request::Job::Reference(reference);
            world.rpc(caller, path, submit(job), always::<runner::SubmitResponse>).await
        }
        "/dcp.runner.v1.Runner/Submit of another job" => {
            let job = runner::submit_request::Job::Definition(world.jobs[domain].1.clone());
            let path = "/dcp.runner.v1.Runner/Submit";
            world.rpc(caller, path, submit(job), always::<runner::SubmitResponse>).await
        }
        "/dcp.runner.v1.Runner/Check" => {
            world.rpc(caller, path, runner::CheckRequest { id }, always::<runner::CheckResponse>).await
        }
        "/dcp.runner.v1.Runner/Cancel" => {
            world.rpc(caller, path, runner::CancelRequest { id }, always::<runner::CancelResponse>).await
        }
        "/dcp.runner.v1.Runner/List" => {
            let found = |it: &runner::ListResponse| it.executions.iter().any(of_domain);
            world.rpc(caller, path, runner::ListRequest::default(), found).await
        }
        "/dcp.runner.v1.Runner/Holders" => {
            world
                .rpc(caller, path, runner::HoldersRequest::default(), always::<runner::HoldersResponse>)
                .await
        }
        "/dcp.runner.v1.Runner/Watch" => {
            let request = runner::WatchRequest { id, from: 0 };
            world.rpc(caller, path, request, always::<runner::WatchResponse>).await
        }
        "/dcp.runner.v1.Runner/Logs" => {
            let request = runner::LogsRequest { id, ..Default::default() };
            // The driver writes nothing.
            match world.call::<_, runner::LogsResponse>(caller, path, vec![request]).await {
                Ok(_) => Outcome::Ok,
                Err(status) => rejected(&status),
            }
        }
        "/dcp.runner.v1.Runner/Result" => {
            let request = runner::ResultRequest { id, format: runner::Format::Json.into() };
            world.rpc(caller, path, request, always::<runner::ResultResponse>).await
        }
        _ => unreachable!("no call of {method}"),
    }
}

/// Calls a method of the control plane.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
async fn call_control(world: &World, caller: &str, domain: &str, method: &'static str) -> Outcome {
    let scope = || "shop".to_owned();
    let (fingerprint, body) = &world.jobs[domain];
    let stream = || format!("ContinuousJob/{domain}/clicks");
    let has_domain = |it: &control::StateResponse| it.entries.iter().any(|it| it.address.contains(domain));
    match method {
        "/dcp.control.v1.Control/State" => {
            world.rpc(caller, method, control::StateRequest { scope: scope() }, has_domain).await
        }
        "/dcp.control.v1.Control/StateAt" => {
            let request = control::StateAtRequest { scope: scope(), serial: 1 };
            world.rpc(caller, method, request, has_domain).await
        }
        "/dcp.control.v1.Control/Bodies" => {
            let fingerprints = vec![fingerprint.as_str().to_owned()];
            let request = control::BodiesRequest { scope: scope(), fingerprints };
            let found = |it: &control::BodiesResponse| it.texts.contains(body);
            world.rpc(caller, method, request, found).await
        }
        "/dcp.control.v1.Control/Revisions" => {
            let address = format!("CoreEtlJob/{domain}/orders");
            let request = control::RevisionsRequest { scope: scope(), address };
            let found = |it: &control::RevisionsResponse| !it.revisions.is_empty();
            world.rpc(caller, method, request, found).await
        }
        "/dcp.control.v1.Control/History" => {
            let request = control::HistoryRequest { scope: scope(), before: None, limit: 10 };
            world.rpc(caller, method, request, |it: &control::HistoryResponse| !it.applied.is_empty()).await
        }
        "/dcp.control.v1.Control/Commit" => commit(world, caller, domain, method).await,
        "/dcp.control.v1.Control/Published" => {
            let request = control::PublishedRequest { scope: scope(), serials: vec![1] };
            world.rpc(caller, method, request, always::<control::PublishedResponse>).await
        }
        "/dcp.control.v1.ContinuousJobs/Leader" => {
            world.rpc(caller, method, control::LeaderRequest {}, always::<control::LeaderResponse>).await
        }
        "/dcp.control.v1.ContinuousJobs/Jobs" => {
            let found = |it: &control::JobsResponse| it.jobs.iter().any(|it| it.address.contains(domain));
            world.rpc(caller, method, control::JobsRequest { scope: scope(), address: None }, found).await
        }
        "/dcp.control.v1.ContinuousJobs/RequestJob" => {
            let request = control::RequestJobRequest {
                scope: scope(),
                address: stream(),
                request: control::JobRequest::Resume.into(),
            };
            world.rpc(caller, method, request, always::<control::RequestJobResponse>).await
        }
        "/dcp.control.v1.ContinuousJobs/Events" => {
            let request = control::EventsRequest { scope: scope(), address: stream(), limit: 10 };
            world.rpc(caller, method, request, |it: &control::EventsResponse| !it.events.is_empty()).await
        }
        "/dcp.control.v1.Assets/Complete" => {
            let request = control::CompleteRequest {
                scope: scope(),
                assets: vec![format!("table:lake.{domain}_orders")],
                run: "1".to_owned(),
                job: Some(format!("{domain}/orders")),
                origin: "test".to_owned(),
                ..Default::default()
            };
            world.rpc(caller, method, request, always::<control::CompleteResponse>).await
        }
        "/dcp.control.v1.Assets/Completions" => {
            let request = control::CompletionsRequest { scope: scope(), limit: 10, ..Default::default() };
            let found = |it: &control::CompletionsResponse| has_job(&it.completions, domain);
            world.rpc(caller, method, request, found).await
        }
        "/dcp.control.v1.Assets/Completed" => {
            let found = |it: &control::CompletedResponse| {
                it.completed.iter().any(|it| has_job(it.last.as_slice(), domain))
            };
            world.rpc(caller, method, control::CompletedRequest { scope: scope() }, found).await
        }
        _ => unreachable!("no call of {method}"),
    }
}

/// Returns true if a completion has the job of a domain. Its asset is known to all callers in the scope.
fn has_job(completions: &[control::Completion], domain: &str) -> bool {
    completions.iter().any(|it| it.job.as_ref().is_some_and(|job| job.starts_with(domain)))
}

/// Commits a new job of a domain.
async fn commit(world: &World, caller: &str, domain: &str, method: &'static str) -> Outcome {
    let request = control::StateRequest { scope: "shop".to_owned() };
    let state = world
        .call::<_, control::StateResponse>("developer-of-all", "/dcp.control.v1.Control/State", vec![request])
        .await
        .expect("the caller may read everything");
    let head = state.into_iter().find_map(|it| it.head).expect("there is a head");
    let (fingerprint, body) = &world.jobs[domain];
    let header = control::CommitHeader {
        scope: "shop".to_owned(),
        id: format!("{caller}-{domain}"),
        base: head.base,
        commit: None,
        changes: 1,
    };
    let body = control::Body { fingerprint: fingerprint.as_str().to_owned(), text: body.clone() };
    let change = control::Change {
        address: format!("CoreEtlJob/{domain}/by-{caller}"),
        action: control::Action::Create.into(),
        body: Some(body),
    };
    let changes = control::Changes { changes: vec![change] };
    let part = |part| control::CommitRequest { part: Some(part) };
    let messages = vec![
        part(control::commit_request::Part::Header(header)),
        part(control::commit_request::Part::Changes(changes)),
    ];
    match world.call::<_, control::CommitResponse>(caller, method, messages).await {
        Ok(_) => Outcome::Ok,
        Err(status) => rejected(&status),
    }
}

/// Calls a method of the Gateway. Its cluster does not respond.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
async fn call_gateway(world: &World, caller: &str, method: &'static str) -> Outcome {
    let name = || "dcp-nothing-1".to_owned();
    match method {
        "/dcp.gateway.v1.Gateway/Validate" => {
            let request = gateway::ValidateRequest { application: "{}".to_owned() };
            world.rpc(caller, method, request, always::<gateway::ValidateResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Create" => {
            let request = gateway::CreateRequest { application: "{}".to_owned() };
            world.rpc(caller, method, request, always::<gateway::CreateResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Get" => {
            world
                .rpc(caller, method, gateway::GetRequest { name: name() }, always::<gateway::GetResponse>)
                .await
        }
        "/dcp.gateway.v1.Gateway/Watch" => {
            match world
                .call::<_, gateway::WatchResponse>(caller, method, vec![gateway::WatchRequest {}])
                .await
            {
                Ok(_) => Outcome::Ok,
                Err(status) => rejected(&status),
            }
        }
        "/dcp.gateway.v1.Gateway/Delete" => {
            let request = gateway::DeleteRequest { name: name(), grace_millis: 1 };
            world.rpc(caller, method, request, always::<gateway::DeleteResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Logs" => {
            let request = gateway::LogsRequest { name: name(), ..Default::default() };
            world.rpc(caller, method, request, always::<gateway::LogsResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Tail" => {
            let request = gateway::TailRequest { name: name(), limit: 1 };
            world.rpc(caller, method, request, always::<gateway::TailResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Forget" => {
            let request = gateway::ForgetRequest { name: name() };
            world.rpc(caller, method, request, always::<gateway::ForgetResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Capabilities" => {
            let request = gateway::CapabilitiesRequest {};
            world.rpc(caller, method, request, always::<gateway::CapabilitiesResponse>).await
        }
        "/dcp.gateway.v1.Clusters/List" => {
            world.rpc(caller, method, gateway::ListRequest {}, always::<gateway::ListResponse>).await
        }
        _ => unreachable!("no call of {method}"),
    }
}

/// Calls a path of REST.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
fn call_rest(world: &World, caller: &str, domain: &str, operation: &str) -> Outcome {
    let id = &world.executions[domain];
    let (fingerprint, body) = &world.jobs[domain];
    let address = json!({"scope": "shop", "address": format!("ContinuousJob/{domain}/clicks")});
    let get = |path: &str, found: &str| world.rest(caller, "GET", path, None, found);
    let post = |path: &str, body: &Value| world.rest(caller, "POST", path, Some(body), "");
    let token = format!("{caller}-{domain}-{operation}").replace(' ', "-");
    let in_domain = format!("\"{domain}\"");
    let has_address = format!("/{domain}/");
    match operation {
        "POST /api/v1/job" => {
            let reference = json!({"scope": "shop", "domain": domain, "name": "orders"});
            post("/api/v1/job", &json!({"token": token, "reference": reference}))
        }
        "POST /api/v1/job of another job" => {
            let definition: Value = serde_json::from_str(body).expect("the body is JSON");
            post("/api/v1/job", &json!({"token": token, "definition": definition}))
        }
        "GET /api/v1/job" => get("/api/v1/job", &in_domain),
        "GET /api/v1/job/{id}" => get(&format!("/api/v1/job/{id}"), ""),
        "POST /api/v1/job/{id}/cancel" => {
            world.rest(caller, "POST", &format!("/api/v1/job/{id}/cancel"), None, "")
        }
        "GET /api/v1/job/{id}/logs" => get(&format!("/api/v1/job/{id}/logs"), ""),
        "GET /api/v1/job/{id}/steps" => get(&format!("/api/v1/job/{id}/steps"), ""),
        "GET /api/v1/job/{id}/result" => get(&format!("/api/v1/job/{id}/result"), ""),
        "GET /api/v1/applied" => get("/api/v1/applied?scope=shop", &has_address),
        "GET /api/v1/applied/revisions" => {
            get(&format!("/api/v1/applied/revisions?scope=shop&address=CoreEtlJob/{domain}/orders"), "")
        }
        "GET /api/v1/applied/history" => get("/api/v1/applied/history?scope=shop", ""),
        "GET /api/v1/applied/body" => {
            get(&format!("/api/v1/applied/body?scope=shop&fingerprint={}", fingerprint.as_str()), "")
        }
        "GET /api/v1/reconciler" => get("/api/v1/reconciler", ""),
        "GET /api/v1/continuous" => get("/api/v1/continuous?scope=shop", &has_address),
        "POST /api/v1/continuous/pause" => {
            let outcome = post("/api/v1/continuous/pause", &address);
            world.http("developer-of-all", "POST", "/api/v1/continuous/resume", Some(&address));
            outcome
        }
        "POST /api/v1/continuous/resume" => post("/api/v1/continuous/resume", &address),
        "POST /api/v1/continuous/restart" => post("/api/v1/continuous/restart", &address),
        "GET /api/v1/continuous/events" => {
            let path = format!("/api/v1/continuous/events?scope=shop&address=ContinuousJob/{domain}/clicks");
            get(&path, "message")
        }
        "POST /api/v1/asset" => {
            let (asset, job) = (format!("table:lake.{domain}_orders"), format!("{domain}/orders"));
            post(
                "/api/v1/asset",
                &json!({"scope": "shop", "assets": [asset], "run": "1", "job": job, "origin": "test"}),
            )
        }
        "GET /api/v1/asset" => get("/api/v1/asset?scope=shop", &format!("\"{domain}/orders\"")),
        "GET /api/v1/asset/completions" => {
            get("/api/v1/asset/completions?scope=shop", &format!("\"{domain}/orders\""))
        }
        _ => unreachable!("no call of {operation}"),
    }
}

/// Returns the paths of all methods of dcp's protocols.
fn methods() -> BTreeSet<String> {
    let descriptors = FileDescriptorSet::decode(dcp_proto::DESCRIPTORS).expect("the descriptors are valid");
    let files = descriptors.file.iter().filter(|file| file.package().starts_with("dcp."));
    files
        .flat_map(|file| {
            file.service.iter().flat_map(move |service| {
                let path = move |name: &str| format!("/{}.{}/{name}", file.package(), service.name());
                service.method.iter().map(move |method| path(method.name()))
            })
        })
        .collect()
}

/// Returns the operations of REST.
fn operations() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&dcp_tests::openapi()).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("the document has paths");
    let of_path = |(path, operations): (&String, &Value)| {
        let verbs = operations.as_object().into_iter().flatten().map(|(verb, _)| verb.to_uppercase());
        verbs.map(|verb| format!("{verb} {path}")).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).filter(|it| it.contains("/api/")).collect()
}

async fn outcome(world: &World, caller: &str, domain: &str, call: &'static str) -> Outcome {
    match call.strip_prefix("/dcp.").and_then(|rest| rest.split('.').next()) {
        Some("runner") => call_runner(world, caller, domain, call).await,
        Some("control") => call_control(world, caller, domain, call).await,
        Some("gateway") => call_gateway(world, caller, call).await,
        _ => call_rest(world, caller, domain, call),
    }
}

/// Returns a line of the table.
fn row(name: &str, columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!("{column:<17}")).collect();
    format!("{}\n", format!("{name:<45} {}", columns.join(" ")).trim_end())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_has_the_outcome_that_the_role_of_its_caller_gives() {
    let world = World::start();
    let mut calls: Vec<String> = methods().into_iter().chain(operations()).collect();
    calls.extend(
        ["/dcp.runner.v1.Runner/Submit of another job", "POST /api/v1/job of another job"].map(str::to_owned),
    );
    calls.sort();
    let mut rows = vec![row("method", CALLERS.map(str::to_owned).as_slice())];
    for call in calls {
        let mut outcomes = Vec::new();
        // A method needs a static path.
        let call: &'static str = call.leak();
        for caller in CALLERS {
            let own = outcome(&world, caller, DOMAINS[0], call).await;
            let other = outcome(&world, caller, DOMAINS[1], call).await;
            outcomes.push(format!("{} {}", own.as_str(), other.as_str()));
        }
        rows.push(row(call.trim_start_matches('/'), &outcomes));
    }
    let table = rows.concat();
    let path = dcp_tests::workspace().join("tests/golden/access.txt");
    if dcp_tests::update_golden() {
        std::fs::write(&path, &table).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
    assert!(expected == table, "the outcomes differ from tests/golden/access.txt:\n{table}");
}

/// Returns the caller, the action, the place and the decision of an entry of the audit log.
fn decision(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let allowed = entry["allowed"].as_bool().expect("it is decided");
    let (place, reason) = (format!("{} {}", text("scope"), text("domain")), text("reason"));
    format!("{} {} {place} {allowed} {reason}", text("caller"), text("action"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_refusals_are_in_the_audit_log() {
    let world = World::start();
    let submit = "/dcp.runner.v1.Runner/Submit";
    let check = "/dcp.runner.v1.Runner/Check";
    let calls = [
        ("operator", "sales", submit, Outcome::Ok),
        ("viewer", "sales", submit, Outcome::Denied),
        ("viewer", "sales", check, Outcome::Ok),
        ("viewer", "finance", check, Outcome::Hidden),
        ("developer", "sales", "/dcp.control.v1.Control/Commit", Outcome::Ok),
    ];
    for (caller, domain, call, expected) in calls {
        assert_eq!(outcome(&world, caller, domain, call).await, expected, "{call} as {caller}");
    }
    let lines = world.run(&["audit", "--output", "json"]).exits_with(0).stdout;
    assert_eq!(lines, world.sandbox.read("audit.jsonl"), "the file has the entries of the database");
    let entries: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("the line is JSON")).collect();
    let id = &world.executions["finance"];
    let found: Vec<String> =
        entries.iter().filter(|entry| entry["caller"] != "developer-of-all").map(decision).collect();
    let expected = [
        "operator submit shop sales true binding 2",
        "viewer submit shop sales false needs the role `operator`",
        "viewer check shop finance false no role",
        "developer commit shop sales true binding 3",
    ];
    assert_eq!(found, expected);
    let refused =
        entries.iter().find(|entry| entry["subject"] == id.as_str()).expect("the refused call is about it");
    let credential = refused["credential"].as_str().expect("it is known");
    assert!(credential.starts_with("token ") && refused["peer"] == "127.0.0.1", "{refused}");
    assert_eq!(refused["trace"].as_str().map(str::len), Some(32), "{refused}");
    assert!(world.tokens.values().all(|token| !lines.contains(token.as_str())), "no entry has a token");
    let table = world.run(&["audit", "--refused", "--domain", "sales"]).exits_with(0);
    table.prints("refused: needs the role `operator`");
}

#[test]
fn a_revoked_token_is_rejected() {
    let world = World::start();
    let (status, _) = world.http("viewer", "GET", "/api/v1/job", None);
    assert_eq!(status, 200);
    let list = world.run(&["token", "list", "--output", "json"]).exits_with(0).json();
    let tokens = list["tokens"].as_array().expect("there are tokens");
    let viewer = tokens.iter().find(|token| token["name"] == "viewer").expect("it was created");
    world
        .run(&["token", "revoke", viewer["id"].as_str().expect("it has an id")])
        .exits_with(0)
        .prints("10 seconds");
    wait_until(|| (world.http("viewer", "GET", "/api/v1/job", None).0 == 401).then_some(()));
    world.run(&["token", "list"]).exits_with(0).prints("revoked");
    world.run(&["token", "revoke", "nothing"]).exits_with(1).prints("there is no token `nothing`");
}

#[test]
fn a_changed_policy_is_in_force_and_one_with_a_failing_test_is_not() {
    let world = World::start();
    let status = |caller: &str| {
        world.http(caller, "GET", &format!("/api/v1/job/{}", world.executions["sales"]), None).0
    };
    assert_eq!((status("nobody"), status("viewer")), (404, 200));
    let nobody = "- {role: viewer, users: [nobody], scopes: [\"*\"], domains: [sales]}\n";
    let tests = "tests:\n- {user: nobody, domain: sales, role: none}\n";
    world.sandbox.write("policy.yaml", format!("{POLICY}{nobody}{tests}"));
    wait_until(|| world.sandbox.read("up.log").contains("the old content stays in force").then_some(()));
    assert_eq!(status("nobody"), 404);
    world.sandbox.write("policy.yaml", format!("{POLICY}{nobody}"));
    wait_until(|| (status("nobody") == 200).then_some(()));
    world.sandbox.write("policy.yaml", POLICY);
    wait_until(|| (status("nobody") == 404).then_some(()));
}
