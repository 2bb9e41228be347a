//! A Runner over gRPC, stored in SQLite.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dcp_proto::runner::v1::runner_client::RunnerClient;
use dcp_proto::runner::v1::{CheckRequest, ListRequest, SubmitRequest, submit_request};
use dcp_runner::api::{Error, Filter, Runner};
use dcp_runner::execution::Id;
use dcp_runner::remote::{Options, Remote};
use dcp_runner::request::Submit;
use dcp_runner::service;
use dcp_server::{Services, Token, Tokens};
use dcp_tests::fake_spark::FakeSpark;
use tokio::net::TcpListener;
use tonic::Code;

use crate::{DRIVER_SCRIPT, Fixture, contract, sqlite, submit, wait_for_end};

const TOKEN: &str = "0123456789abcdef-tester";

async fn serve(runner: Arc<dyn Runner>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tokens = Tokens::new(&[Token { name: "tester".to_owned(), token: TOKEN.to_owned() }]).unwrap();
    let services = service::add(Services::new(dcp_proto::DESCRIPTORS), runner);
    let options = dcp_server::Options::new(tokens);
    tokio::spawn(dcp_server::serve(listener, services, options, std::future::pending()));
    address
}

fn client(address: SocketAddr, token: &str) -> Remote {
    let mut options = Options::new(format!("http://{address}"), token);
    options.retry_for = Duration::from_secs(2);
    Remote::new(options).unwrap()
}

async fn fixture() -> Fixture {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let one = serve(Arc::new(sqlite::start(&fake_spark).await)).await;
    let other = serve(Arc::new(sqlite::start(&fake_spark).await)).await;
    Fixture { fake_spark, runner: Arc::new(client(one, TOKEN)), other: Arc::new(client(other, TOKEN)) }
}

contract!(fixture());

#[tokio::test(flavor = "multi_thread")]
async fn caller_is_identified_by_the_token() {
    let fixture = fixture().await;
    let claimed = Submit { by: "the boss".to_owned(), ..submit("one", "work") };
    let record = fixture.runner.submit(claimed).await.unwrap().record;
    assert_eq!(record.request.by, "tester");
    let record_at_end = wait_for_end(&*fixture.runner, record.id()).await;
    // The token gives access to the execution, so responses omit it.
    assert_eq!(record_at_end.request.token, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_token_is_denied() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let address = serve(Arc::new(sqlite::start(&fake_spark).await)).await;
    let unknown_caller = client(address, "0123456789abcdef-stranger");
    let error = unknown_caller.list(&Filter::default(), None, 10).await.unwrap_err();
    assert!(matches!(&error, Error::Denied(said) if said.contains("token")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_server_is_reported() {
    let address = dcp_tests::free_address().parse().unwrap();
    let error = client(address, TOKEN).check(&Id::parse("a1").unwrap()).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(said) if said.contains("that the Runner runs")), "{error:?}");
}

/// The gRPC status codes that a client without dcp's own library gets.
#[tokio::test(flavor = "multi_thread")]
async fn rejections_have_their_status_codes() {
    let fake_spark = FakeSpark::with_version("4.1.1", DRIVER_SCRIPT);
    let address = serve(Arc::new(sqlite::start(&fake_spark).await)).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let bearer = |mut request: tonic::Request<()>| {
        request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        Ok(request)
    };
    let mut client = RunnerClient::with_interceptor(channel.connect().await.unwrap(), bearer);
    for (request, says) in [
        (SubmitRequest::default(), "there is no `definition`"),
        (definition("{}"), "`definition` is not what it has to be: missing field"),
        (definition("{\"metadata\": 7}"), "`definition` is not what it has to be"),
    ] {
        let status = client.submit(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(says), "{status:?}");
    }
    let status = client.check(CheckRequest { id: "../../etc".to_owned() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = client.check(CheckRequest { id: "nothing".to_owned() }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let page = ListRequest { page: "NO PAGE".to_owned(), ..ListRequest::default() };
    assert_eq!(client.list(page).await.unwrap_err().code(), Code::InvalidArgument);
    let phases = ListRequest { phases: vec![99], ..ListRequest::default() };
    assert_eq!(client.list(phases).await.unwrap_err().code(), Code::InvalidArgument);
    let huge = client.submit(definition(&" ".repeat(5 << 20))).await.unwrap_err();
    assert_eq!(huge.code(), Code::OutOfRange, "{huge:?}");
}

fn definition(text: &str) -> SubmitRequest {
    let job = Some(submit_request::Job::Definition(text.to_owned()));
    SubmitRequest { token: "one".to_owned(), job, ..SubmitRequest::default() }
}
