//! A server that reports its callers, over gRPC and over REST.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Extension;
use axum::routing::get;
use dcp_server::{Access, Caller, Options, Services, Verifier, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Debug, Clone)]
struct WhoAmI;

impl NamedService for WhoAmI {
    const NAME: &'static str = "test.v1.WhoAmI";
}

impl tower::Service<Request<Body>> for WhoAmI {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut server = tonic::server::Grpc::new(ProstCodec::<String, ()>::default());
        Box::pin(async move { Ok(server.unary(Self, request).await) })
    }
}

impl UnaryService<()> for WhoAmI {
    type Response = String;
    type Future = Boxed<Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<()>) -> Self::Future {
        let caller = Caller::of(&request).map(shown);
        Box::pin(async move { caller.map(tonic::Response::new) })
    }
}

/// Returns the name, the groups and the credential of a caller.
fn shown(caller: &Caller) -> String {
    format!("{} [{}] by {}", caller.name, caller.groups.join(", "), caller.credential)
}

pub(crate) struct Server(SocketAddr);

impl Server {
    /// Serves until the test ends.
    pub(crate) async fn start(verifiers: Vec<Arc<dyn Verifier>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let route = get(|Extension(caller): Extension<Caller>| async move { shown(&caller) });
        let router = Router::new().route("/whoami", route);
        let services = Services::new(dcp_proto::DESCRIPTORS).with(WhoAmI).rest(router);
        let options = Options::new(Access::new(verifiers));
        tokio::spawn(serve(listener, services, options, std::future::pending()));
        Self(address)
    }

    /// Returns the caller that both interfaces identify by a token.
    pub(crate) async fn caller(&self, token: &str) -> String {
        let caller = self.grpc(token).await.expect("the token is accepted");
        assert_eq!(self.rest(token).await, (200, caller.clone()));
        caller
    }

    /// Returns the reason why both interfaces reject a token.
    pub(crate) async fn rejected(&self, token: &str) -> String {
        self.refused(token, Code::Unauthenticated, 401).await
    }

    /// Returns the reason why both interfaces can't decide about a token.
    pub(crate) async fn undecided(&self, token: &str) -> String {
        self.refused(token, Code::Unavailable, 503).await
    }

    async fn refused(&self, token: &str, code: Code, http: u16) -> String {
        let status = self.grpc(token).await.expect_err("the token is not accepted");
        assert_eq!(status.code(), code, "{status:?}");
        let (found, body) = self.rest(token).await;
        assert_eq!(found, http, "{body}");
        status.message().to_owned()
    }

    async fn grpc(&self, token: &str) -> Result<String, Status> {
        let endpoint = Endpoint::new(format!("http://{}", self.0)).expect("the address is valid");
        let mut client = tonic::client::Grpc::new(endpoint.connect().await.expect("the server listens"));
        client.ready().await.expect("the server listens");
        let mut request = tonic::Request::new(());
        let header = format!("Bearer {token}").parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", header);
        let path = "/test.v1.WhoAmI/Get".parse().expect("the path is valid");
        let response = client.unary(request, path, ProstCodec::<(), String>::default()).await;
        response.map(tonic::Response::into_inner)
    }

    /// Returns the status and the body of a response.
    async fn rest(&self, token: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.0).await.expect("the server listens");
        let request = format!(
            "GET /whoami HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("the server responds");
        let (head, body) = response.split_once("\r\n\r\n").expect("a response has an end of its head");
        let status = head.split(' ').nth(1).expect("a response has a status");
        (status.parse().expect("a status is a number"), body.to_owned())
    }
}
