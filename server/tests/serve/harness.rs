//! A server with a gRPC service and a REST router on one port, and its callers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::routing::get;
use dcp_server::{Call, CallNotes, Caller, Error, Log, Options, Pem, Services, Token, Tokens, serve};
use futures_util::stream::{self, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

pub(crate) const TOKEN: &str = "0123456789abcdef-tester";
/// Timeout of a test step; every step takes less.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Answers at once, except `Slow`, which waits until the gate opens.
#[derive(Debug, Clone)]
pub(crate) struct Echo(Arc<Semaphore>);

impl NamedService for Echo {
    const NAME: &'static str = "test.v1.Echo";
}

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl tower::Service<Request<Body>> for Echo {
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

pub(crate) struct Unary {
    pub(crate) gate: Arc<Semaphore>,
    slow: bool,
}

impl UnaryService<()> for Unary {
    type Response = ();
    type Future = Boxed<Result<tonic::Response<()>, Status>>;

    fn call(&mut self, request: tonic::Request<()>) -> Self::Future {
        let (gate, slow) = (Arc::clone(&self.gate), self.slow);
        Box::pin(async move {
            let name = Caller::of(&request).expect("somebody calls").name.clone();
            request.extensions().get::<CallNotes>().expect("there is a log").subject(format!("of {name}"));
            if slow {
                gate.acquire().await.expect("it is never closed").forget();
            }
            Ok(tonic::Response::new(()))
        })
    }
}

pub(crate) fn router(gate: Arc<Semaphore>) -> axum::Router {
    let who = |Extension(caller): Extension<Caller>, Extension(notes): Extension<CallNotes>| async move {
        notes.subject("who");
        caller.name.to_string()
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

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) calls: Mutex<UnboundedReceiver<Call>>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) ended: JoinHandle<Result<(), Error>>,
}

impl Server {
    pub(crate) async fn start(change: impl FnOnce(&mut Options)) -> Self {
        Self::start_with(|services| services, change).await
    }

    pub(crate) async fn start_with(
        add: impl FnOnce(Services) -> Services,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it works");
        let address = listener.local_addr().expect("it works");
        let tokens =
            Tokens::new(&[Token { name: "ada".to_owned(), token: TOKEN.to_owned() }]).expect("it works");
        let mut options = Options::new(tokens);
        let (sender, calls) = unbounded_channel();
        options.log = Some(Log::new(move |call| drop(sender.send(call.clone()))));
        change(&mut options);
        let gate = Arc::new(Semaphore::new(0));
        let services = add(services(&gate));
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(serve(listener, services, options, async { drop(stopped.await) }));
        Self { address, gate, calls: Mutex::new(calls), stop: Some(stop), ended }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it works")
    }

    /// Returns an HTTP/1 response, over a connection of its own.
    pub(crate) async fn get(&self, path: &str, headers: &str) -> String {
        send_and_read(&mut self.connect().await, path, headers).await
    }

    pub(crate) async fn grpc(&self, method: &str, token: Option<&str>) -> Result<(), Status> {
        let path = format!("/test.v1.Echo/{method}");
        call(self.address, &path, token).await
    }

    /// Waits until a call takes the last permit; until then, other calls may succeed.
    pub(crate) async fn wait_until_full(&self) {
        let full = async { while !self.get("/who", &bearer()).await.starts_with("HTTP/1.1 503 ") {} };
        timeout(LONG, full).await.expect("there is no room");
    }

    pub(crate) async fn assert_healthy(&self) {
        let endpoint = tonic::transport::Endpoint::new(format!("http://{}", self.address)).expect("it works");
        let mut health = HealthClient::new(endpoint.connect().await.expect("it works"));
        let request = HealthCheckRequest { service: "test.v1.Echo".to_owned() };
        assert_eq!(health.check(request).await.expect("it works").into_inner().status, 1);
    }

    /// Returns the next call that ended: service, method, by, subject, code.
    pub(crate) async fn next_logged_call(&self) -> String {
        let mut calls = self.calls.lock().await;
        let call = timeout(LONG, calls.recv()).await.expect("a call ends").expect("the log is there");
        let Call { service, method, by, subject, code, is_success, .. } = call;
        assert_eq!(is_success, matches!(code.as_str(), "Ok" | "200" | "303"), "{code}");
        let (by, subject) = (by.unwrap_or_default(), subject.unwrap_or_default());
        format!("{service}|{method}|{by}|{subject}|{code}")
    }
}

pub(crate) fn services(gate: &Arc<Semaphore>) -> Services {
    let descriptors = tonic_health::pb::FILE_DESCRIPTOR_SET;
    Services::new(descriptors)
        .with(Echo(Arc::clone(gate)))
        .rest(router(Arc::clone(gate)))
        .streaming(&["/follow", "/peek"])
}

pub(crate) async fn call(address: SocketAddr, path: &str, token: Option<&str>) -> Result<(), Status> {
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

pub(crate) fn bearer() -> String {
    format!("authorization: Bearer {TOKEN}\r\n")
}

pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), path: &str, headers: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it works");
}

/// Sends a request and reads the response: its head, and as much of the body as its length says.
pub(crate) async fn send_and_read(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
    headers: &str,
) -> String {
    send(stream, path, headers).await;
    read_response(stream).await
}

pub(crate) async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> String {
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

/// Waits until the peer closes the connection.
pub(crate) async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut rest)).await.expect("it is ended");
}

pub(crate) fn certificate() -> (Pem, rcgen::Certificate) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it can be created");
    let (certificate, key) = (cert.pem().into(), signing_key.serialize_pem().into());
    (Pem { certificate, key, client_authorities: None }, cert)
}

/// Opens an HTTP/2 connection. It answers pings automatically.
pub(crate) async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).expect("it works").connect().await.expect("it works")
}

pub(crate) async fn call_over(channel: &Channel, method: &str, token: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("it works");
    let mut request = tonic::Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("it works"));
    }
    let path = format!("/test.v1.Echo/{method}").parse().expect("it works");
    client.unary(request, path, ProstCodec::<(), ()>::default()).await.map(tonic::Response::into_inner)
}
