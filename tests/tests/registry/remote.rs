//! The registry through a control plane over gRPC, stored in SQLite.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dcp_model::primitive::{Address, Fingerprint};
use dcp_proto::control::v1::CommitRequest;
use dcp_reconciler::registry::memory::Memory;
use dcp_reconciler::registry::remote::{self, Remote};
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::registry::{Error, Registry, Result};
use dcp_reconciler::service::{self, Limits};
use dcp_reconciler::state::{Applied, Base, Commit, Head, Revision, Scope, State};
use dcp_server::client::TlsFiles;
use dcp_server::{Pem, Services, Tls, Token, Tokens};
use dcp_tests::commits::{AUTHOR, COMMIT_TIME, commit, create, scope};
use futures_util::stream::BoxStream;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::{Fixture, contract};

const TOKEN: &str = "0123456789abcdef-tester";

/// Options that a test may change.
struct Options {
    control: service::Options,
    server: dcp_server::Options,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<std::result::Result<(), dcp_server::Error>>,
}

impl Server {
    async fn start(registry: Arc<dyn Registry>, change: impl FnOnce(&mut Options)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Tokens::new(&[Token { name: AUTHOR.to_owned(), token: TOKEN.to_owned() }]).unwrap();
        let control = service::Options { clock: || COMMIT_TIME, ..service::Options::default() };
        let mut options = Options { control, server: dcp_server::Options::new(tokens) };
        change(&mut options);
        let services = service::add(Services::new(dcp_proto::DESCRIPTORS), registry, options.control);
        let (stop, stopped) = oneshot::channel();
        let served = dcp_server::serve(listener, services, options.server, async { drop(stopped.await) });
        let ended = tokio::spawn(served);
        Self { address, stop, ended }
    }

    fn client(&self) -> Remote {
        self.client_with(TOKEN)
    }

    fn client_with(&self, token: &str) -> Remote {
        client(&format!("http://{}", self.address), token)
    }
}

fn client(url: &str, token: &str) -> Remote {
    let options = remote::Options::new(url, token);
    Remote::new(remote::Options { retry_for: Duration::from_secs(2), ..options }).unwrap()
}

async fn fixture() -> Fixture {
    let folder = TempDir::new().unwrap();
    let sql = Sql::sqlite(&folder.path().join("state.db")).await.unwrap();
    let server = Server::start(Arc::new(sql), |_| {}).await;
    let (registry, other) = (Arc::new(server.client()), Arc::new(server.client()));
    Fixture { registry, other, _resources: vec![Box::new(folder), Box::new(server)] }
}

contract!(fixture());

fn first_commit() -> Commit {
    commit(&Base::default(), vec![create("a", "1")])
}

#[tokio::test]
async fn server_sets_author_and_time_of_commits() {
    let server = Server::start(Arc::new(Memory::default()), |_| {}).await;
    let claimed =
        Commit { by: "the boss".to_owned(), at: "2000-01-01T00:00:00Z".parse().unwrap(), ..first_commit() };
    let applied = server.client().commit(&scope(), claimed).await.unwrap().applied.unwrap();
    assert_eq!((applied.by.as_str(), applied.at), (AUTHOR, COMMIT_TIME));
}

#[tokio::test]
async fn invalid_token_is_denied() {
    let server = Server::start(Arc::new(Memory::default()), |_| {}).await;
    for token in ["", "wrong-secret-0123456789", &TOKEN[1..], &format!("{TOKEN}x")] {
        let client = server.client_with(token);
        let errors = [
            client.state(&scope()).await.map(drop).unwrap_err(),
            client.state_at(&scope(), 0).await.map(drop).unwrap_err(),
            client.commit(&scope(), first_commit()).await.map(drop).unwrap_err(),
            client.published(&scope(), &[1]).await.unwrap_err(),
            client.history(&scope(), None, 1).await.map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(&error, Error::Denied(_)), "{error:?}");
            let message = format!("{error} {client:?}");
            assert!(message.contains(&server.address.to_string()) && message.contains("token"), "{message}");
            assert!(token.is_empty() || !message.contains(token), "{message}");
        }
    }
    assert!(server.client().state(&scope()).await.unwrap().applied.is_none());
}

#[tokio::test]
async fn unreachable_server_is_reported_with_its_address() {
    let address = dcp_tests::free_address();
    let began = Instant::now();
    let error = client(&format!("http://{address}"), TOKEN).state(&scope()).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_)), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(&address) && message.contains("refused") && message.contains("see that"),
        "{message}"
    );
    assert!((1..5).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn server_that_is_no_control_plane_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.writable().await.unwrap();
            let _ = stream.try_write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let error = client(&format!("http://{address}"), TOKEN).state(&scope()).await.unwrap_err();
    assert!(error.to_string().contains("not as a control plane does"), "{error:?}");

    let (_, health) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming));
    let error = client(&format!("http://{address}"), TOKEN).state(&scope()).await.unwrap_err();
    assert!(error.to_string().contains("does not speak dcp.control.v1"), "{error:?}");

    // A server that accepts connections and never responds.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = remote::Options::new(format!("http://{}", listener.local_addr().unwrap()), TOKEN);
    options.deadline = Duration::from_millis(300);
    let error = Remote::new(options).unwrap().state(&scope()).await.unwrap_err();
    assert!(error.to_string().contains("did not answer within 300ms"), "{error:?}");
}

#[tokio::test]
async fn invalid_addresses_are_rejected_at_once() {
    for url in ["", "localhost:7420", "ftp://localhost", "http://", "not a url"] {
        let error = Remote::new(remote::Options::new(url, TOKEN)).unwrap_err();
        assert!(matches!(&error, Error::Invalid(_)), "{url}: {error:?}");
    }
    let error = Remote::new(remote::Options::new("http://localhost", "secret-token\n")).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn commits_beyond_the_limits_are_rejected() {
    let limits = Limits { changes: 10, body: 1_000, commit: 3_000 };
    let server = Server::start(Arc::new(Memory::default()), |options| options.control.limits = limits).await;
    let client = server.client();
    let many = |count: usize, bytes: usize| {
        let text = |index| format!("{index}{}", "x".repeat(bytes));
        commit(&Base::default(), (0..count).map(|it| create(&format!("job-{it}"), &text(it))).collect())
    };
    for (commit, expected) in [
        (many(11, 1), "11 changes, and 10 may be"),
        (many(1, 1_000), "1001 bytes, and 1000 may be"),
        (many(4, 900), "more than 3000 bytes"),
    ] {
        let error = client.commit(&scope(), commit).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(_)) && error.to_string().contains(expected), "{error:?}");
    }
    assert_eq!(client.state(&scope()).await.unwrap(), State::default());
    client.commit(&scope(), many(10, 200)).await.unwrap();
}

#[tokio::test]
async fn client_splits_requests_to_fit_the_limits() {
    use dcp_proto::control::v1::control_client::ControlClient;
    use dcp_proto::control::v1::{BodiesRequest, PublishedRequest};
    let memory = Arc::new(Memory::default());
    let mut base = Base::default();
    for index in 0..1_100 {
        let change = create(&format!("job-{index}"), &index.to_string());
        base = memory.commit(&scope(), commit(&base, vec![change])).await.unwrap().base;
    }
    let server = Server::start(memory, |_| {}).await;
    let client = server.client();
    let history = client.history(&scope(), None, 5_000).await.unwrap();
    assert!(history.iter().map(|it| it.serial).eq((1..=1_100).rev()));
    let fingerprints: Vec<_> = (0..1_100).map(|index| Fingerprint::of(&index.to_string())).collect();
    assert_eq!(client.bodies(&scope(), &fingerprints).await.unwrap().len(), 1_100);
    client.published(&scope(), &(0..10_001).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(client.state(&scope()).await.unwrap().unpublished, [0; 0]);
    let largest = "x".repeat(4 << 20);
    client.commit(&scope(), commit(&base, vec![create("largest", &largest)])).await.unwrap();
    assert_eq!(client.bodies(&scope(), &[Fingerprint::of(&largest)]).await.unwrap(), [largest]);

    let channel = tonic::transport::Endpoint::new(format!("http://{}", server.address)).unwrap();
    let mut raw = ControlClient::with_interceptor(
        channel.connect().await.unwrap(),
        |mut request: tonic::Request<()>| {
            request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
            Ok(request)
        },
    );
    let fingerprints = fingerprints.iter().map(|it| it.as_str().to_owned()).collect();
    let bodies = raw.bodies(BodiesRequest { scope: "shop".to_owned(), fingerprints }).await.map(drop);
    let serials = (0..10_001).collect();
    let published = raw.published(PublishedRequest { scope: "shop".to_owned(), serials }).await.map(drop);
    for refused in [bodies, published] {
        assert_eq!(refused.unwrap_err().code(), tonic::Code::ResourceExhausted);
    }
}

/// Returns messages that no dcp client sends, each with a part of the error.
fn malformed_commits() -> Vec<(BoxStream<'static, CommitRequest>, &'static str)> {
    use dcp_proto::control::v1::commit_request::Part;
    use dcp_proto::control::v1::{Action, Body, Change, Changes, CommitHeader};
    use futures_util::stream::{self, StreamExt as _};
    let header = |scope: &str, changes| {
        let header =
            CommitHeader { scope: scope.to_owned(), id: "x".to_owned(), changes, ..CommitHeader::default() };
        CommitRequest { part: Some(Part::Header(header)) }
    };
    let change = |address: &str, action: i32, text: &str| {
        let body =
            Some(Body { fingerprint: Fingerprint::of(text).as_str().to_owned(), text: text.to_owned() });
        Change { address: address.to_owned(), action, body }
    };
    let part =
        |change: Change| CommitRequest { part: Some(Part::Changes(Changes { changes: vec![change] })) };
    let create = i32::from(Action::Create);
    let good = change("CoreEtlJob/sales/a", create, "1");
    let few = |requests: Vec<CommitRequest>| stream::iter(requests).boxed();
    vec![
        (few(vec![]), "begins with its header"),
        (few(vec![part(good.clone())]), "begins with its header"),
        (few(vec![CommitRequest { part: None }]), "begins with its header"),
        (few(vec![header("shop", 1), header("shop", 1)]), "changes only"),
        (few(vec![header("shop", 2), part(good.clone())]), "cut off"),
        (few(vec![header("shop", 1), part(good.clone()), part(good.clone())]), "more changes came"),
        (
            stream::once(async move { header("shop", 9) }).chain(stream::repeat(part(good.clone()))).boxed(),
            "more changes",
        ),
        (few(vec![header("../etc", 1), part(good.clone())]), "no scope"),
        (few(vec![header("shop", 1), part(change("Nonsense/sales/a", create, "1"))]), "kind"),
        (few(vec![header("shop", 1), part(change("CoreEtlJob/sales/A b", create, "1"))]), "no address"),
        (few(vec![header("shop", 1), part(change("CoreEtlJob/sales/a", 99, "1"))]), "not known"),
        (few(vec![header("shop", 1), part(change("CoreEtlJob/sales/a", 0, "1"))]), "not known"),
    ]
}

#[tokio::test]
async fn malformed_commit_stream_is_rejected() {
    use dcp_proto::control::v1::control_client::ControlClient;
    let server = Server::start(Arc::new(Memory::default()), |_| {}).await;
    let channel = tonic::transport::Endpoint::new(format!("http://{}", server.address)).unwrap();
    let channel = channel.connect().await.unwrap();
    for (requests, expected) in malformed_commits() {
        let mut request = tonic::Request::new(requests);
        request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let status = ControlClient::new(channel.clone()).commit(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{expected}: {status:?}");
        assert!(status.message().contains(expected), "{expected}: {status:?}");
    }
    let shop = Scope::new("shop", None);
    assert_eq!(server.client().state(&shop).await.unwrap(), State::default());
}

/// A registry that executes the first commit, and loses the response.
#[derive(Debug, Default)]
struct ResponseLosingRegistry {
    registry: Memory,
    lost: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl Registry for ResponseLosingRegistry {
    async fn state(&self, scope: &Scope) -> Result<State> {
        self.registry.state(scope).await
    }

    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State> {
        self.registry.state_at(scope, serial).await
    }

    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>> {
        self.registry.bodies(scope, fingerprints).await
    }

    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        self.registry.revisions(scope, address).await
    }

    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>> {
        self.registry.history(scope, before, limit).await
    }

    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head> {
        let done = self.registry.commit(scope, commit).await;
        match self.lost.swap(true, std::sync::atomic::Ordering::Relaxed) {
            true => done,
            false => Err(Error::Unavailable("the response was lost".to_owned())),
        }
    }

    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        self.registry.published(scope, serials).await
    }
}

#[tokio::test]
async fn commit_with_a_lost_response_is_applied_once() {
    let server = Server::start(Arc::new(ResponseLosingRegistry::default()), |_| {}).await;
    let only = first_commit();
    assert_eq!(server.client().commit(&scope(), only.clone()).await.unwrap(), only.head());
    assert_eq!(server.client().history(&scope(), None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn client_verifies_the_certificate_of_the_server() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (cert.pem().into(), signing_key.serialize_pem().into());
    let pem = Pem { certificate, key, client_authorities: None };
    assert!(!format!("{pem:?}").contains("PRIVATE"));
    let tls = Tls::new(&pem).unwrap();
    let server = Server::start(Arc::new(Memory::default()), |options| options.server.tls = Some(tls)).await;
    let authorities = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authorities.path(), cert.pem()).unwrap();
    let url = |scheme: &str| format!("{scheme}://localhost:{}", server.address.port());
    let ask = async |options: remote::Options| Remote::new(options).unwrap().state(&scope()).await;

    let tls = TlsFiles { authorities: Some(authorities.path().to_owned()), identity: None };
    ask(remote::Options { tls, ..remote::Options::new(url("https"), TOKEN) }).await.unwrap();
    let began = Instant::now();
    let unverified = ask(remote::Options::new(url("https"), TOKEN)).await.unwrap_err().to_string();
    assert!(unverified.contains("https://localhost") && unverified.contains("certificate"), "{unverified}");
    assert!(began.elapsed() < Duration::from_secs(5), "a rejected certificate is not retried");
    let retry_for = Duration::from_millis(500);
    let plain =
        ask(remote::Options { retry_for, ..remote::Options::new(url("http"), TOKEN) }).await.unwrap_err();
    assert!(plain.to_string().contains("http://localhost"), "{plain}");
}

#[tokio::test]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_response::MessageResponse};
    let server = Server::start(Arc::new(Memory::default()), |_| {}).await;
    let channel = tonic::transport::Endpoint::new(format!("http://{}", server.address)).unwrap();
    let mut client = ServerReflectionClient::new(channel.connect().await.unwrap());
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let mut responses =
        client.server_reflection_info(futures_util::stream::iter([request])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        responses.message().await.unwrap().unwrap().message_response
    else {
        panic!("the response has no services");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(
        names.contains(&"dcp.control.v1.Control") && names.contains(&"grpc.health.v1.Health"),
        "{names:?}"
    );
}

#[tokio::test]
async fn health_check_needs_no_token_and_shutdown_ends_the_server() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    let server = Server::start(Arc::new(Memory::default()), |_| {}).await;
    let channel = tonic::transport::Endpoint::new(format!("http://{}", server.address)).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let request = HealthCheckRequest { service: "dcp.control.v1.Control".to_owned() };
    let status = health.check(request).await.unwrap().into_inner().status;
    assert_eq!(status, ServingStatus::Serving as i32);
    server.stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.ended).await;
    ended.expect("the server ends soon").unwrap().unwrap();
}
