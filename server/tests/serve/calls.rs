//! Calls to a gRPC service and a REST router on one port.

use std::sync::Arc;
use std::time::Duration;

use dcp_server::{Pem, Tls};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{
    LONG, Server, TOKEN, bearer, call, certificate, ended, read_response, send, send_and_read,
};

#[tokio::test]
async fn grpc_and_rest_share_port_tokens_and_log() {
    let server = Server::start(|_| {}).await;
    let refused = server.get("/who?token=secret", "").await;
    assert!(
        refused.starts_with("HTTP/1.1 401 ") && refused.contains("www-authenticate: Bearer"),
        "{refused}"
    );
    let error: serde_json::Value = serde_json::from_str(refused.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(error["error"]["status"], "UNAUTHENTICATED");
    assert_eq!(error["error"]["reason"], "UNAUTHENTICATED");
    assert_eq!(server.next_logged_call().await, "http|GET /who|||401");
    let wrong = server.get("/who", "authorization: Bearer 0123456789abcdef-wrong\r\n").await;
    assert!(wrong.starts_with("HTTP/1.1 401 ") && !wrong.contains("wrong"), "{wrong}");
    assert_eq!(server.next_logged_call().await, "http|GET /who|||401");
    let answer = server.get("/who", &bearer()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ada"), "{answer}");
    assert_eq!(server.next_logged_call().await, "http|GET /who|ada|who|200");
    assert!(server.get("/nowhere", &bearer()).await.starts_with("HTTP/1.1 404 "));
    assert_eq!(server.next_logged_call().await, "http|GET /nowhere|ada||404");

    let status = server.grpc("Say", None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("test.v1", "UNAUTHENTICATED"));
    assert_eq!(server.next_logged_call().await, "test.v1.Echo|Say|||Unauthenticated");
    server.grpc("Say", Some(TOKEN)).await.unwrap();
    assert_eq!(server.next_logged_call().await, "test.v1.Echo|Say|ada|of ada|Ok");
    let nobody = call(server.address, "/other.v1.Other/Say", Some(TOKEN)).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unimplemented);
    assert_eq!(server.next_logged_call().await, "unknown|Say|ada||Unimplemented");
    server.assert_healthy().await;
}

#[tokio::test]
async fn calls_beyond_the_limit_are_rejected_and_health_still_answers() {
    let server = Server::start(|options| options.limits.calls = 1).await;
    let mut first = server.connect().await;
    send(&mut first, "/slow", &bearer()).await;
    server.wait_until_full().await;
    let status = server.grpc("Say", Some(TOKEN)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    server.assert_healthy().await;
    server.gate.add_permits(1);
    assert!(read_response(&mut first).await.ends_with("done"));
    server.grpc("Say", Some(TOKEN)).await.unwrap();
}

#[tokio::test]
async fn streaming_calls_have_their_own_limit() {
    let server =
        Server::start(|options| (options.limits.calls, options.limits.streaming_calls) = (1, 2)).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        send(&mut stream, "/follow", &bearer()).await;
        streams.push(stream);
    }
    let full = async { while !server.get("/peek", &bearer()).await.starts_with("HTTP/1.1 503 ") {} };
    timeout(LONG, full).await.expect("there is no room for more");
    // Other calls have their own permits, and the other way round.
    assert!(server.get("/who", &bearer()).await.ends_with("ada"));
    server.gate.add_permits(2);
    for stream in &mut streams {
        assert!(read_response(stream).await.ends_with("done"));
    }
    let mut slow = server.connect().await;
    send(&mut slow, "/slow", &bearer()).await;
    server.wait_until_full().await;
    let mut follows = server.connect().await;
    send(&mut follows, "/follow", &bearer()).await;
    server.gate.add_permits(2);
    assert!(read_response(&mut follows).await.ends_with("done"));
    assert!(read_response(&mut slow).await.ends_with("done"));
}

#[tokio::test]
async fn slow_call_is_ended_and_logged() {
    let server = Server::start(|options| options.limits.call_timeout = Duration::from_millis(100)).await;
    let late = server.get("/slow", &bearer()).await;
    assert!(late.starts_with("HTTP/1.1 504 ") && late.contains("TOO_LATE"), "{late}");
    assert_eq!(server.next_logged_call().await, "http|GET /slow|ada||504");
    let status = server.grpc("Slow", Some(TOKEN)).await.unwrap_err();
    assert_eq!(status.get_details_error_info().map(|info| info.reason), Some("TOO_LATE".to_owned()));
    assert_eq!(server.next_logged_call().await, "test.v1.Echo|Slow|ada|of ada|DeadlineExceeded");
}

#[tokio::test]
async fn disconnected_caller_is_logged_as_cancelled() {
    let server = Server::start(|_| {}).await;
    let mut stream = server.connect().await;
    send(&mut stream, "/slow", &bearer()).await;
    drop(stream);
    assert_eq!(server.next_logged_call().await, "http|GET /slow|ada||Cancelled");
    assert!(server.get("/some", &bearer()).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.next_logged_call().await, "http|GET /some|ada||200");
    let mut stream = server.connect().await;
    assert!(send_and_read(&mut stream, "/endless", &bearer()).await.starts_with("HTTP/1.1 200 "));
    drop(stream);
    assert_eq!(server.next_logged_call().await, "http|GET /endless|ada||Cancelled");
}

#[tokio::test]
async fn shutdown_waits_for_running_calls_up_to_the_grace_period() {
    // Only the stop ends a connection here.
    let mut server = Server::start(|options| {
        options.limits.calls = 1;
        options.limits.head_timeout = LONG * 10;
        options.limits.shutdown_grace = LONG * 10;
    })
    .await;
    let mut stream = server.connect().await;
    send(&mut stream, "/slow", &bearer()).await;
    server.wait_until_full().await;
    let mut idle = server.connect().await;
    assert!(send_and_read(&mut idle, "/nowhere", "").await.starts_with("HTTP/1.1 401 "));
    drop(server.stop.take());
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    timeout(LONG, refused).await.expect("nobody comes in any more");
    server.gate.add_permits(1);
    assert!(read_response(&mut stream).await.ends_with("done"));
    timeout(LONG, server.ended).await.expect("it ends").unwrap().unwrap();

    let mut server = Server::start(|options| {
        options.limits.calls = 1;
        options.limits.shutdown_grace = Duration::from_millis(100);
    })
    .await;
    let mut stream = server.connect().await;
    send(&mut stream, "/slow", &bearer()).await;
    server.wait_until_full().await;
    drop(server.stop.take());
    timeout(LONG, server.ended).await.expect("it ends").unwrap().unwrap();
    ended(&mut stream).await;
}

#[tokio::test]
async fn http_1_works_over_tls() {
    let (tls, certificate) = certificate();
    let server = Server::start(|options| options.tls = Some(Tls::new(&tls).unwrap())).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, server.connect().await).await.unwrap();
    let response = send_and_read(&mut stream, "/who", &bearer()).await;
    assert!(
        response.ends_with("ada") && response.contains("strict-transport-security: max-age="),
        "{response}"
    );
    let plain = Server::start(|_| {}).await.get("/who", &bearer()).await;
    assert!(plain.contains("cache-control: no-store") && !plain.contains("strict-transport"), "{plain}");
}

#[test]
fn unusable_certificate_is_rejected_without_quoting_it() {
    let (good, _) = certificate();
    let (other, _) = certificate();
    for (certificate, key, expected) in [
        (b"secret".to_vec(), good.key.clone(), "no certificate in PEM"),
        (good.certificate.clone(), b"secret".to_vec(), "no key"),
        (good.certificate.clone(), other.key.clone(), "belong together"),
    ] {
        let error = Tls::new(&Pem { certificate, key, client_authorities: None }).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn server_survives_arbitrary_bytes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server =
        runtime.block_on(Server::start(|options| options.limits.head_timeout = Duration::from_millis(200)));
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
