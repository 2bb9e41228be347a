//! A Gateway over gRPC: its failures, its limits, and what a client without dcp's own library gets.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_gateway::application::ConfigMapSpec;
use dcp_gateway::clusters::CAPABILITIES;
use dcp_gateway::local::Local;
use dcp_gateway::remote::{Options, Remote};
use dcp_gateway::{Compute as _, Cursor, Error, WatchEvent};
use dcp_proto::gateway::v1 as proto;
use dcp_proto::gateway::v1::gateway_client::GatewayClient;
use dcp_tests::TOKEN;
use dcp_tests::fake_spark::FakeSpark;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tonic::Code;

use crate::contract::{client, serve, serve_guarded};
use crate::local::{SUPERVISOR, application, name};

fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, Error>, expected: &str) {
    let is_expected = matches!(result, Err(Error::Unavailable(why)) if why.contains(expected));
    assert!(is_expected, "something else was concluded: {result:?}");
}

/// Makes each call, and checks that nothing is concluded about the application.
async fn all_calls_conclude_nothing(remote: &Remote, expected: &str) {
    calls_of_runners_conclude_nothing(remote, expected).await;
    is_unavailable(&remote.report().await, expected);
}

async fn calls_of_runners_conclude_nothing(remote: &Remote, expected: &str) {
    let name = name("a-1");
    is_unavailable(&remote.validate(&application("a-1")).await, expected);
    is_unavailable(&remote.create(&application("a-1")).await, expected);
    is_unavailable(&remote.get(&name).await, expected);
    is_unavailable(&remote.watch().next().await.expect("it fails"), expected);
    is_unavailable(&remote.delete(&name, Duration::ZERO).await, expected);
    is_unavailable(&remote.logs(&name, &Cursor::default(), 1).await, expected);
    is_unavailable(&remote.tail(&name, 1).await, expected);
    is_unavailable(&remote.forget(&name).await, expected);
    is_unavailable(&remote.check().await, expected);
}

#[tokio::test]
async fn an_unreachable_gateway_concludes_nothing_and_is_not_called_again() {
    let address = dcp_tests::free_address();
    let remote =
        Remote::new(Options::new(format!("http://{address}"), TOKEN), CAPABILITIES).expect("it is valid");
    let begin = Instant::now();
    all_calls_conclude_nothing(&remote, "see that the address is right and that the Gateway runs").await;
    assert!(begin.elapsed() < Duration::from_secs(5), "the calls were retried");
}

#[tokio::test]
async fn a_gateway_that_accepts_connections_only_concludes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let deadline = Duration::from_millis(300);
    let options = Options { deadline, ..Options::new(format!("http://{address}"), TOKEN) };
    let remote = Remote::new(options, CAPABILITIES).expect("it is valid");
    all_calls_conclude_nothing(&remote, "did not answer within 300ms").await;
}

#[tokio::test]
async fn an_unknown_token_concludes_nothing() {
    let gateway = Gateway::start();
    let stranger = client(gateway.address, "0123456789abcdef-stranger", &*gateway.local);
    all_calls_conclude_nothing(&stranger, "token").await;
}

#[tokio::test]
async fn a_gateway_with_another_database_concludes_nothing() {
    let fake_spark = FakeSpark::new("exit 0");
    let local = Arc::new(fake_spark.local_backend(SUPERVISOR));
    let (address, _stop) = serve_guarded(Arc::clone(&local) as _, Some("p1".to_owned()));
    let runner = || client(address, TOKEN, &*local);
    let other = runner().with_control_plane("p2").expect("it is an identity");
    let expected = "has the database of the control plane `p1`, and the Runner that of `p2`";
    calls_of_runners_conclude_nothing(&other, expected).await;
    // An older Runner sends no identity.
    for remote in [runner(), runner().with_control_plane("p1").expect("it is an identity")] {
        assert_eq!(remote.get(&name("a-1")).await, Ok(None));
        assert_eq!(remote.check().await, Ok(()));
    }
    runner().with_control_plane("a\nb").expect_err("it is no identity");
}

#[tokio::test]
async fn another_service_concludes_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let services = dcp_server::Services::new(dcp_proto::DESCRIPTORS);
    let options = dcp_tests::server_options("runner");
    tokio::spawn(dcp_server::serve(listener, services, options, std::future::pending()));
    let remote =
        Remote::new(Options::new(format!("http://{address}"), TOKEN), CAPABILITIES).expect("it is valid");
    all_calls_conclude_nothing(&remote, "it is no Gateway").await;
}

#[tokio::test]
async fn a_gateway_without_an_expected_ability_is_reported() {
    let gateway = Gateway::start();
    gateway.client().check().await.expect("it has its own abilities");
    let options = Options::new(format!("http://{}", gateway.address), TOKEN);
    let remote = Remote::new(options, CAPABILITIES).expect("it is valid");
    is_unavailable(&remote.check().await, "lacks abilities of this dcp (pods)");
}

#[tokio::test]
async fn a_watch_ends_when_its_gateway_stops() {
    let gateway = Gateway::start();
    let mut events = gateway.client().watch();
    assert_eq!(events.next().await, Some(Ok(WatchEvent::Listed)));
    gateway.stop.send(true).expect("the Gateway runs");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_field_that_the_backend_ignores_is_rejected_by_its_name() {
    let gateway = Gateway::start();
    let remote = gateway.client();
    let mut of = application("a-1");
    of.placement.regions.push("eu".to_owned());
    remote.accepts(&of).expect("it is small, and its name is valid");
    let expected = gateway.local.accepts(&of).expect_err("`local` has no regions");
    assert!(matches!(&expected, Error::Field { field, .. } if field == "placement.regions"));
    assert_eq!(remote.validate(&of).await, Err(expected.clone()));
    assert_eq!(remote.create(&of).await, Err(expected));
}

#[tokio::test]
async fn an_application_above_the_limit_is_rejected_before_it_is_sent() {
    let gateway = Gateway::start();
    let remote = gateway.client();
    let with_bytes = |bytes: usize| {
        let mut of = application("a-1");
        let data = [("a".to_owned(), "x".repeat(bytes))].into();
        of.spec.config_map_specs.push(ConfigMapSpec { name: "files".to_owned(), data });
        of
    };
    let is_too_large = |result: Result<(), Error>| {
        assert!(matches!(&result, Err(Error::Invalid(why)) if why.contains("are allowed")), "{result:?}");
    };
    is_too_large(remote.accepts(&with_bytes(4 << 20)));
    is_too_large(remote.create(&with_bytes(4 << 20)).await);
    // The largest one is sent, and read by the Gateway.
    let room = (4 << 20) - serde_json::to_string(&with_bytes(0)).expect("it is data").len();
    remote.validate(&with_bytes(room)).await.expect("it is accepted");
    is_too_large(remote.validate(&with_bytes(room + 1)).await);
}

/// The gRPC status codes that a client without dcp's own library gets.
#[tokio::test]
async fn rejections_have_their_status_codes() {
    let gateway = Gateway::start();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", gateway.address));
    let channel = channel.expect("it is valid");
    let bearer = |mut request: tonic::Request<()>| {
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {TOKEN}").parse().expect("it is text"));
        Ok(request)
    };
    let channel = channel.connect().await.expect("it listens");
    let mut client = GatewayClient::with_interceptor(channel, bearer);
    let json = serde_json::to_string(&application("a-1")).expect("it is data");
    for (application, says) in [
        (String::new(), "can't read the application"),
        ("{}".to_owned(), "missing field"),
        (json.replace("\"spec\"", "\"spek\""), "unknown field `spek`"),
        (json.replace("a-1", "../../etc"), "is no name of an application"),
    ] {
        let request = proto::CreateRequest { application };
        let status = client.create(request).await.expect_err(says);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(says), "{status:?}");
    }
    let status =
        client.get(proto::GetRequest { name: "../../etc".to_owned() }).await.expect_err("it is a path");
    assert_eq!(status.code(), Code::InvalidArgument);
    let cursor = "x".repeat(Cursor::MAX_LENGTH + 1);
    let request = proto::LogsRequest { name: "a-1".to_owned(), cursor, limit: 1 };
    assert_eq!(client.logs(request).await.expect_err("it is long").code(), Code::InvalidArgument);
    let huge = proto::CreateRequest { application: " ".repeat(5 << 20) };
    assert_eq!(client.create(huge).await.expect_err("it is large").code(), Code::OutOfRange);
    let nothing =
        client.get(proto::GetRequest { name: "nothing-1".to_owned() }).await.expect("it is no error");
    assert_eq!(nothing.into_inner().status, None);
    let grace_millis = u64::MAX;
    let request = proto::DeleteRequest { name: "nothing-1".to_owned(), grace_millis };
    client.delete(request).await.expect("a long grace period is cut");
}

/// A Gateway with the backend of this machine.
struct Gateway {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    local: Arc<Local>,
    _fake_spark: FakeSpark,
}

impl Gateway {
    fn start() -> Self {
        let fake_spark = FakeSpark::new("exit 0");
        let local = Arc::new(fake_spark.local_backend(SUPERVISOR));
        let (address, stop) = serve(Arc::<Local>::clone(&local));
        Self { address, stop, local, _fake_spark: fake_spark }
    }

    fn client(&self) -> Remote {
        client(self.address, TOKEN, &*self.local)
    }
}
