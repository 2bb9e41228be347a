//! A control plane with a Runner and a Gateway, callers of each role, and work in two domains.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use dcp_connect::session::{Driver, Pool, PoolKey, SessionKey, Share, Size};
use dcp_connect::store::Store;
use dcp_model::primitive::Fingerprint;
use dcp_runner::request::CanonicalJob;
use dcp_tests::cluster::kubeconfig_of_nobody;
use dcp_tests::fake_spark::{FakeSpark, wait_until};
use futures_util::{TryStreamExt as _, stream};
use jiff::Timestamp;
use prost::Message;
use serde_json::{Value, json};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::continuous::Process;
use crate::harness::{CommandOutput, DCP, Sandbox};

/// The domain of the callers with a role, and another one.
pub(super) const DOMAINS: [&str; 2] = ["sales", "finance"];

/// The callers: without a binding, with each role for [`DOMAINS`]`[0]`, and with a role for everything.
pub(super) const CALLERS: [&str; 7] =
    ["nobody", "viewer", "operator", "developer", "admin", "viewer-of-all", "developer-of-all"];

pub(super) const POLICY: &str = "\
bindings:
- {role: viewer, users: [viewer], scopes: [\"*\"], domains: [sales]}
- {role: operator, users: [operator], scopes: [\"*\"], domains: [sales]}
- {role: developer, users: [developer], scopes: [\"*\"], domains: [sales]}
- {role: admin, users: [admin], scopes: [\"*\"], domains: [sales]}
- {role: viewer, users: [viewer-of-all], scopes: [\"*\"], domains: [\"*\"]}
- {role: developer, users: [developer-of-all], scopes: [\"*\"], domains: [\"*\"]}
";

pub(super) const CLUSTERS: &str =
    "clusters:\n  north:\n    kind: kubernetes\n    credentials: {kubeconfig: kubeconfig}\n";

/// A job that ends, and a stream that runs.
pub(super) const SCRIPT: &str = r#"case "${@: -1}" in done) exit 0;; esac; while :; do sleep 0.05; done"#;

pub(super) fn manifest(domain: &str, name: &str, argument: &str, run: &str) -> String {
    format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: {domain}, owner: data@example.com}}\n\
         spec:\n  engine: {{version: \"4.1\"}}\n  job: {{pyspark: {{main: main.py, args: [{argument}]}}}}\n  \
         outputs: [{{table: lake.{domain}_{name}}}]\n  run: {run}\n"
    )
}

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The caller may do it.
    Ok,
    /// As if it did not exist.
    Hidden,
    Denied,
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Hidden => "-",
            Self::Denied => "DENIED",
        }
    }
}

/// A control plane with a Runner, and a Gateway. Two domains have a job that was run, and a stream.
pub(super) struct World {
    pub(super) url: String,
    pub(super) gateway_url: String,
    pub(super) tokens: BTreeMap<&'static str, String>,
    /// The ended execution, the fingerprint and the body of the job of each domain.
    pub(super) executions: BTreeMap<&'static str, String>,
    pub(super) jobs: BTreeMap<&'static str, (Fingerprint, String)>,
    _processes: [Process; 2],
    pub(super) sandbox: Sandbox,
    pub(super) fake_spark: FakeSpark,
}

impl World {
    pub(super) fn start() -> Self {
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

    /// Stores a pool of each domain without drivers, and a session on a driver that does not respond.
    fn add_pools(&self) {
        let pool = |domain: &&str| Pool {
            key: PoolKey { scope: "shop".to_owned(), domain: (*domain).to_owned(), name: "small".to_owned() },
            engine: "4.1".to_owned(),
            share: Share::Domain,
            size: Size::default(),
            starts: true,
            min_idle: 1,
            revision: 1,
        };
        let pools: Vec<Pool> = DOMAINS.iter().map(pool).collect();
        let path = self.sandbox.join(".dcp/state.db");
        let stored = async move {
            let store = Store::sqlite(&path).await.expect("the database can be opened");
            store.set_pools(true, &pools).await.expect("the database can be written");
            for domain in DOMAINS {
                add_session(&store, domain).await.expect("the database can be written");
            }
        };
        std::thread::spawn(|| tokio::runtime::Runtime::new().expect("it starts").block_on(stored))
            .join()
            .expect("the pools are stored");
    }

    /// Creates tokens, applies the project and runs a job of each domain, as the user of the machine.
    pub(super) fn prepare(&mut self) {
        for name in CALLERS {
            let token = self.run(&["token", "create", name]).exits_with(0).stdout;
            self.tokens.insert(name, token.trim().to_owned());
        }
        self.run(&["apply", "--auto-approve"]).exits_with(0).prints("applied serial 1");
        self.add_pools();
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

    pub(super) fn run(&self, args: &[&str]) -> CommandOutput {
        let output = command(&self.sandbox, &self.fake_spark, args).output().expect("the binary can be run");
        self.sandbox.capture(args, &output)
    }

    /// Sends a request of REST, and returns the status and the body.
    pub(super) fn http(&self, caller: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
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
    pub(super) async fn call<Req, Res>(
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
    pub(super) async fn rpc<Req, Res>(
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

    pub(super) fn rest(
        &self,
        caller: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
        found: &str,
    ) -> Outcome {
        let (status, text) = self.http(caller, method, path, body);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        match status {
            200..300 if body.contains(found) => Outcome::Ok,
            200..300 => Outcome::Hidden,
            403 => Outcome::Denied,
            404 if !is_without_result(body) => Outcome::Hidden,
            404 | 409 | 503 => Outcome::Ok,
            _ => unreachable!("{method} {path} as {caller}: {text}"),
        }
    }
}

/// Returns the id of the session in a domain.
pub(super) fn session(domain: &str) -> String {
    let digit = DOMAINS.iter().position(|of| *of == domain).unwrap_or_default();
    format!("00000000-0000-4000-8000-00000000000{digit}")
}

async fn add_session(store: &Store, domain: &str) -> Result<(), dcp_connect::store::Error> {
    let driver = Driver {
        id: format!("fixed:{domain}"),
        pool: PoolKey { scope: String::new(), domain: domain.to_owned(), name: "fixed".to_owned() },
        address: "127.0.0.1:1".to_owned(),
        engine: "4.1".to_owned(),
        share: Share::Domain,
        size: Size::default(),
        max_sessions: 1,
        started: Timestamp::now(),
    };
    let key = SessionKey { domain: domain.to_owned(), user: "grace".to_owned(), session: session(domain) };
    store.report(&driver, Timestamp::now()).await?;
    store.set_open(&driver.id, Timestamp::now()).await?;
    store.bind(&key, &driver.id, Timestamp::now()).await.map(|_| ())
}

/// Writes a project with a job and a stream in each domain, a policy and a file of clusters.
pub(super) fn write_project(sandbox: &Sandbox, fake_spark: &FakeSpark) {
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

pub(super) fn command(sandbox: &Sandbox, fake_spark: &FakeSpark, args: &[&str]) -> std::process::Command {
    let mut command = sandbox.command(&DCP);
    command.args(args).env("SPARK_HOME", fake_spark.path("spark")).env("DCP_USER", "owner");
    command.stdin(Stdio::null());
    command
}

/// Returns the outcome of a rejected call. Other reasons come after the check of the role.
pub(super) fn rejected(status: &Status) -> Outcome {
    match status.code() {
        Code::PermissionDenied => Outcome::Denied,
        Code::NotFound if !is_without_result(status.message()) => Outcome::Hidden,
        Code::Unauthenticated | Code::Unimplemented | Code::Internal => unreachable!("{status:?}"),
        _ => Outcome::Ok,
    }
}

/// Returns true if an execution is visible, and its job returns no rows.
pub(super) fn is_without_result(message: &str) -> bool {
    message.contains("result") && !message.contains("there is no execution")
}

pub(super) fn always<T>(_: &T) -> bool {
    true
}
