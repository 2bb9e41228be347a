//! A gRPC service and a REST router on one port, as their callers find them, the hostile ones too.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::routing::get;
use dcp_server::{Access, Call, Caller, Error, Log, Noted, Options, Services, Tls, Token, Tokens, serve};
use futures_util::stream::{self, StreamExt as _};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

const TOKEN: &str = "0123456789abcdef-tester";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Answers at once, but for `Slow`, which waits until the gate opens.
#[derive(Debug, Clone)]
struct Echo(Arc<Semaphore>);

impl NamedService for Echo {
    const NAME: &'static str = "test.v1.Echo";
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl tower_service::Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let slow = request.uri().path().ends_with("/Slow");
        let unary = Unary { gate: Arc::clone(&self.0), slow };
        let mut server = tonic::server::Grpc::new(ProstCodec::<(), ()>::default());
        Box::pin(async move { Ok(server.unary(unary, request).await) })
    }
}

struct Unary {
    gate: Arc<Semaphore>,
    slow: bool,
}

impl UnaryService<()> for Unary {
    type Response = ();
    type Future = Boxed<Result<tonic::Response<()>, Status>>;

    fn call(&mut self, request: tonic::Request<()>) -> Self::Future {
        let (gate, slow) = (Arc::clone(&self.gate), self.slow);
        Box::pin(async move {
            let Caller(name) = request.extensions().get::<Caller>().expect("somebody calls").clone();
            request.extensions().get::<Noted>().expect("there is a log").subject(format!("of {name}"));
            if slow {
                gate.acquire().await.expect("it is never closed").forget();
            }
            Ok(tonic::Response::new(()))
        })
    }
}

fn router(gate: Arc<Semaphore>) -> axum::Router {
    let who = |Extension(Caller(name)): Extension<Caller>, Extension(noted): Extension<Noted>| async move {
        noted.subject("who");
        name
    };
    let slow = |State(gate): State<Arc<Semaphore>>| async move {
        gate.acquire().await.expect("it is never closed").forget();
        "done"
    };
    let endless =
        || async { axum::body::Body::from_stream(stream::repeat("more\n").map(Ok::<_, Infallible>)) };
    let router = axum::Router::new()
        .route("/who", get(who))
        .route("/slow", get(slow))
        .route("/follow", get(slow))
        .route("/peek", get(who));
    let some = || async {
        let pieces = stream::iter(["some\n", "more\n"]).map(Ok::<_, Infallible>);
        axum::body::Body::from_stream(pieces)
    };
    router.route("/endless", get(endless)).route("/some", get(some)).with_state(gate)
}

struct Server {
    address: SocketAddr,
    gate: Arc<Semaphore>,
    calls: Mutex<UnboundedReceiver<Call>>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Server {
    async fn start(change: impl FnOnce(&mut Options)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it works");
        let address = listener.local_addr().expect("it works");
        let tokens =
            Tokens::new(&[Token { name: "ada".to_owned(), token: TOKEN.to_owned() }]).expect("it works");
        let mut options = Options::new(tokens);
        let (sender, calls) = unbounded_channel();
        options.log = Some(Log::new(move |call| drop(sender.send(call.clone()))));
        change(&mut options);
        let gate = Arc::new(Semaphore::new(0));
        let services = services(&gate);
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(serve(listener, services, options, async { drop(stopped.await) }));
        Self { address, gate, calls: Mutex::new(calls), stop: Some(stop), ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it works")
    }

    /// An answer in HTTP/1, over a connection of its own.
    async fn get(&self, path: &str, headers: &str) -> String {
        ask(&mut self.connect().await, path, headers).await
    }

    async fn grpc(&self, method: &str, token: Option<&str>) -> Result<(), Status> {
        let path = format!("/test.v1.Echo/{method}");
        call(self.address, &path, token).await
    }

    /// Waits until a call is under way that leaves no room; before it is, others may be answered.
    async fn full(&self) {
        let full = async { while !self.get("/who", &bearer()).await.starts_with("HTTP/1.1 503 ") {} };
        timeout(LONG, full).await.expect("there is no room");
    }

    async fn healthy(&self) {
        let endpoint = tonic::transport::Endpoint::new(format!("http://{}", self.address)).expect("it works");
        let mut health = HealthClient::new(endpoint.connect().await.expect("it works"));
        let request = HealthCheckRequest { service: "test.v1.Echo".to_owned() };
        assert_eq!(health.check(request).await.expect("it works").into_inner().status, 1);
    }

    /// The next call that ended: service, method, by, subject, code.
    async fn told(&self) -> String {
        let mut calls = self.calls.lock().await;
        let call = timeout(LONG, calls.recv()).await.expect("a call ends").expect("the log is there");
        let Call { service, method, by, subject, code, good, .. } = call;
        assert_eq!(good, matches!(code.as_str(), "Ok" | "200"), "{code}");
        let (by, subject) = (by.unwrap_or_default(), subject.unwrap_or_default());
        format!("{service}|{method}|{by}|{subject}|{code}")
    }
}

fn services(gate: &Arc<Semaphore>) -> Services {
    let descriptors = tonic_health::pb::FILE_DESCRIPTOR_SET;
    Services::new(descriptors)
        .with(Echo(Arc::clone(gate)))
        .rest(router(Arc::clone(gate)))
        .lasting(&["/follow", "/peek"])
}

async fn call(address: SocketAddr, path: &str, token: Option<&str>) -> Result<(), Status> {
    let channel =
        tonic::transport::Endpoint::new(format!("http://{address}")).expect("it works").connect().await;
    let mut client =
        tonic::client::Grpc::new(channel.map_err(|error| Status::unavailable(error.to_string()))?);
    client.ready().await.expect("it works");
    let mut request = tonic::Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("it works"));
    }
    let answer =
        client.unary(request, path.parse().expect("it works"), ProstCodec::<(), ()>::default()).await;
    answer.map(tonic::Response::into_inner)
}

fn bearer() -> String {
    format!("authorization: Bearer {TOKEN}\r\n")
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), path: &str, headers: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it works");
}

/// Asks, and reads the head of the answer with as much of the body as its length says.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str, headers: &str) -> String {
    send(stream, path, headers).await;
    answer(stream).await
}

async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    let reading = async {
        loop {
            let mut some = [0; 1_024];
            let count = stream.read(&mut some).await.unwrap_or(0);
            text.push_str(&String::from_utf8_lossy(&some[..count]));
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                if head.contains("transfer-encoding: chunked") {
                    return body.ends_with("\r\n0\r\n\r\n") || body.len() > 1 << 20;
                }
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                length.is_none_or(|length| body.len() >= length.parse().expect("it works"))
            });
            if whole || count == 0 {
                return;
            }
        }
    };
    timeout(LONG, reading).await.expect("there is an answer");
    text
}

/// Waits until the other side ends the connection.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut rest)).await.expect("it is ended");
}

#[tokio::test]
async fn grpc_and_rest_share_a_port_and_who_may_come_in() {
    let server = Server::start(|_| {}).await;
    let refused = server.get("/who?token=secret", "").await;
    assert!(
        refused.starts_with("HTTP/1.1 401 ") && refused.contains("www-authenticate: Bearer"),
        "{refused}"
    );
    let error: serde_json::Value = serde_json::from_str(refused.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(error["error"]["status"], "UNAUTHENTICATED");
    assert_eq!(error["error"]["reason"], "UNAUTHENTICATED");
    assert_eq!(server.told().await, "http|GET /who|||401");
    let wrong = server.get("/who", "authorization: Bearer 0123456789abcdef-wrong\r\n").await;
    assert!(wrong.starts_with("HTTP/1.1 401 ") && !wrong.contains("wrong"), "{wrong}");
    assert_eq!(server.told().await, "http|GET /who|||401");
    let answer = server.get("/who", &bearer()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ada"), "{answer}");
    assert_eq!(server.told().await, "http|GET /who|ada|who|200");
    assert!(server.get("/nowhere", &bearer()).await.starts_with("HTTP/1.1 404 "));
    assert_eq!(server.told().await, "http|GET /nowhere|ada||404");

    let status = server.grpc("Say", None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("test.v1", "UNAUTHENTICATED"));
    assert_eq!(server.told().await, "test.v1.Echo|Say|||Unauthenticated");
    server.grpc("Say", Some(TOKEN)).await.unwrap();
    assert_eq!(server.told().await, "test.v1.Echo|Say|ada|of ada|Ok");
    let nobody = call(server.address, "/other.v1.Other/Say", Some(TOKEN)).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unimplemented);
    assert_eq!(server.told().await, "unknown|Say|ada||Unimplemented");
    server.healthy().await;
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_served() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let anyone = || Access::Anyone { name: "ada".to_owned() };
    let gate = Arc::new(Semaphore::new(0));
    let refused = serve(listener, services(&gate), Options::new(anyone()), std::future::pending()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("0.0.0.0") && refused.contains("give tokens"), "{refused}");

    let server = Server::start(|options| options.access = anyone()).await;
    assert!(server.get("/who", "").await.ends_with("ada"));
    server.grpc("Say", None).await.unwrap();
    let page = server.get("/who", "origin: http://evil.example\r\n").await;
    assert!(page.starts_with("HTTP/1.1 401 ") && page.contains("browser"), "{page}");
}

#[tokio::test]
async fn where_there_is_no_room_it_is_said_and_health_goes_on() {
    let server = Server::start(|options| options.limits.calls = 1).await;
    let mut first = server.connect().await;
    send(&mut first, "/slow", &bearer()).await;
    server.full().await;
    let status = server.grpc("Say", Some(TOKEN)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    server.healthy().await;
    server.gate.add_permits(1);
    assert!(answer(&mut first).await.ends_with("done"));
    server.grpc("Say", Some(TOKEN)).await.unwrap();
}

#[tokio::test]
async fn what_lasts_has_a_room_of_its_own() {
    let server = Server::start(|options| (options.limits.calls, options.limits.lasting) = (1, 2)).await;
    let mut lasting = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        send(&mut stream, "/follow", &bearer()).await;
        lasting.push(stream);
    }
    let full = async { while !server.get("/peek", &bearer()).await.starts_with("HTTP/1.1 503 ") {} };
    timeout(LONG, full).await.expect("there is no room for more");
    // All others have theirs, and the other way round.
    assert!(server.get("/who", &bearer()).await.ends_with("ada"));
    server.gate.add_permits(2);
    for stream in &mut lasting {
        assert!(answer(stream).await.ends_with("done"));
    }
    let mut slow = server.connect().await;
    send(&mut slow, "/slow", &bearer()).await;
    server.full().await;
    let mut follows = server.connect().await;
    send(&mut follows, "/follow", &bearer()).await;
    server.gate.add_permits(2);
    assert!(answer(&mut follows).await.ends_with("done"));
    assert!(answer(&mut slow).await.ends_with("done"));
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_ended_and_told_of() {
    let server = Server::start(|options| options.limits.time = Duration::from_millis(100)).await;
    let late = server.get("/slow", &bearer()).await;
    assert!(late.starts_with("HTTP/1.1 504 ") && late.contains("TOO_LATE"), "{late}");
    assert_eq!(server.told().await, "http|GET /slow|ada||504");
    let status = server.grpc("Slow", Some(TOKEN)).await.unwrap_err();
    assert_eq!(status.get_details_error_info().map(|info| info.reason), Some("TOO_LATE".to_owned()));
    assert_eq!(server.told().await, "test.v1.Echo|Slow|ada|of ada|DeadlineExceeded");
}

#[tokio::test]
async fn who_goes_away_is_in_the_log_as_gone() {
    let server = Server::start(|_| {}).await;
    let mut stream = server.connect().await;
    send(&mut stream, "/slow", &bearer()).await;
    drop(stream);
    assert_eq!(server.told().await, "http|GET /slow|ada||Cancelled");
    assert!(server.get("/some", &bearer()).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.told().await, "http|GET /some|ada||200");
    let mut stream = server.connect().await;
    assert!(ask(&mut stream, "/endless", &bearer()).await.starts_with("HTTP/1.1 200 "));
    drop(stream);
    assert_eq!(server.told().await, "http|GET /endless|ada||Cancelled");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = Arc::new(Server::start(|options| options.limits.connections = 1).await);
    let mut first = server.connect().await;
    assert!(ask(&mut first, "/who", &bearer()).await.ends_with("ada"));
    let second = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.get("/second", &bearer()).await }
    });
    for _ in 0..50 {
        assert!(ask(&mut first, "/who", &bearer()).await.ends_with("ada"));
    }
    for _ in 0..51 {
        assert_eq!(server.told().await, "http|GET /who|ada|who|200");
    }
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_ended() {
    let server = Server::start(|options| options.limits.head = Duration::from_millis(300)).await;
    let mut working = server.connect().await;
    send(&mut working, "/slow", &bearer()).await;
    for begin in ["", "PRI * HTT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /who HTTP/1.1\r\nhost: loc"] {
        let mut silent = server.connect().await;
        silent.write_all(begin.as_bytes()).await.unwrap();
        ended(&mut silent).await;
    }
    // The one that did ask is still there.
    server.gate.add_permits(1);
    assert!(answer(&mut working).await.ends_with("done"));
    ended(&mut working).await;

    let (tls, _) = certificate();
    let server = Server::start(|options| {
        options.limits.head = Duration::from_millis(300);
        options.tls = Some(tls);
    });
    ended(&mut server.await.connect().await).await;
}

/// An HTTP/2 connection. It answers pings by itself.
async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).expect("it works").connect().await.expect("it works")
}

async fn call_by(channel: &Channel, method: &str, token: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("it works");
    let mut request = tonic::Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("it works"));
    }
    let path = format!("/test.v1.Echo/{method}").parse().expect("it works");
    client.unary(request, path, ProstCodec::<(), ()>::default()).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn connections_with_rejected_calls_only_are_closed() {
    let server = Server::start(|options| {
        options.limits.connections = 4;
        options.limits.head = Duration::from_millis(500);
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let channel = channel(server.address).await;
        assert_eq!(call_by(&channel, "Say", None).await.unwrap_err().code(), Code::Unauthenticated);
        held.push(channel);
    }
    // There is room for this one once one of them is closed.
    timeout(LONG, server.grpc("Say", Some(TOKEN))).await.expect("they are closed").unwrap();
    drop(held);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_with_a_call_under_way_is_not() {
    let server = Arc::new(
        Server::start(|options| {
            options.limits.connections = 2;
            options.limits.idle = Duration::from_millis(50);
        })
        .await,
    );
    let working = channel(server.address).await;
    let slow = tokio::spawn(async move { call_by(&working, "Slow", Some(TOKEN)).await });
    // Each is idle after its call, so that the next one finds room, and all the while the slow call goes on.
    let mut held = Vec::new();
    for _ in 0..4 {
        let idle = timeout(LONG, async {
            let channel = channel(server.address).await;
            call_by(&channel, "Say", Some(TOKEN)).await.unwrap();
            channel
        });
        held.push(idle.await.expect("the idle one before is closed"));
    }
    assert!(!slow.is_finished());
    server.gate.add_permits(1);
    timeout(LONG, slow).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn streams_without_a_token_are_limited() {
    let server = Server::start(|options| options.limits.open_streams = 6).await;
    let watch = |channel: &Channel| {
        let mut health = HealthClient::new(channel.clone());
        async move { health.watch(HealthCheckRequest::default()).await.map(tonic::Response::into_inner) }
    };
    let (one, two) = (channel(server.address).await, channel(server.address).await);
    let mut streams = Vec::new();
    for (channel, most) in [(&one, 4), (&two, 2)] {
        for _ in 0..most {
            streams.push(watch(channel).await.unwrap());
        }
        assert_eq!(watch(channel).await.unwrap_err().code(), Code::ResourceExhausted);
    }
    server.healthy().await;
    drop(streams);
    let again = async { while watch(&two).await.is_err() {} };
    timeout(LONG, again).await.expect("streams that have ended make room");
}

#[tokio::test]
async fn connections_of_one_peer_beyond_its_share_are_closed() {
    let server = Server::start(|options| options.limits.connections = 8).await;
    let mut held = Vec::new();
    for _ in 0..7 {
        let mut stream = server.connect().await;
        assert!(ask(&mut stream, "/who", &bearer()).await.ends_with("ada"));
        held.push(stream);
    }
    ended(&mut server.connect().await).await;
    for stream in &mut held {
        assert!(ask(stream, "/who", &bearer()).await.ends_with("ada"));
    }
    held.pop();
    let again = async { while !server.get("/who", &bearer()).await.ends_with("ada") {} };
    timeout(LONG, again).await.expect("there is a share again");
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_server_and_not_for_ever() {
    // Nothing but the stop ends a connection here.
    let mut server = Server::start(|options| {
        options.limits.calls = 1;
        options.limits.head = LONG * 10;
        options.limits.grace = LONG * 10;
    })
    .await;
    let mut stream = server.connect().await;
    send(&mut stream, "/slow", &bearer()).await;
    server.full().await;
    let mut idle = server.connect().await;
    assert!(ask(&mut idle, "/nowhere", "").await.starts_with("HTTP/1.1 401 "));
    drop(server.stop.take());
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    timeout(LONG, refused).await.expect("nobody comes in any more");
    server.gate.add_permits(1);
    assert!(answer(&mut stream).await.ends_with("done"));
    timeout(LONG, server.ended).await.expect("it ends").unwrap().unwrap();

    let mut server = Server::start(|options| {
        options.limits.calls = 1;
        options.limits.grace = Duration::from_millis(100);
    })
    .await;
    let mut stream = server.connect().await;
    send(&mut stream, "/slow", &bearer()).await;
    server.full().await;
    drop(server.stop.take());
    timeout(LONG, server.ended).await.expect("it ends").unwrap().unwrap();
    ended(&mut stream).await;
}

fn certificate() -> (Tls, rcgen::Certificate) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it can be made");
    (Tls { certificate: cert.pem().into(), key: signing_key.serialize_pem().into() }, cert)
}

#[tokio::test]
async fn with_tls_there_is_http_1_for_those_who_speak_nothing_else() {
    let (tls, certificate) = certificate();
    let server = Server::start(|options| options.tls = Some(tls)).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, server.connect().await).await.unwrap();
    assert!(ask(&mut stream, "/who", &bearer()).await.ends_with("ada"));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_not_repeated() {
    let (good, _) = certificate();
    let (other, _) = certificate();
    for (certificate, key, said) in [
        (b"secret".to_vec(), good.key.clone(), "no certificate"),
        (good.certificate.clone(), b"secret".to_vec(), "no key"),
        (good.certificate.clone(), other.key.clone(), "belong together"),
    ] {
        let server = Server::start(|options| options.tls = Some(Tls { certificate, key })).await;
        let error = server.ended.await.unwrap().unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn whatever_is_sent_the_server_goes_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|options| options.limits.head = Duration::from_millis(200)));
    let begins = prop::sample::select(vec![
        &b""[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /who HTTP/1.1\r\n",
        b"GET /who HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
        b"\x16\x03\x01",
    ]);
    let sent = (begins, prop::collection::vec(any::<u8>(), 0..400));
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&sent, |(begin, rest)| {
        runtime.block_on(async {
            let mut stream = server.connect().await;
            let _ = stream.write_all(begin).await;
            let _ = stream.write_all(&rest).await;
            let _ = stream.shutdown().await;
            ended(&mut stream).await;
            prop_assert!(server.get("/who", &bearer()).await.ends_with("ada"));
            Ok(())
        })
    });
    ran.unwrap();
}
