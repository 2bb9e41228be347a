//! Connections, including those of hostile peers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dcp_server::{Log, Tls, Workers};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{
    LONG, Server, TOKEN, bearer, call_over, certificate, channel, ended, read_response, send, send_and_read,
};

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = Arc::new(Server::start(|options| options.limits.connections = 1).await);
    let mut first = server.connect().await;
    assert!(send_and_read(&mut first, "/who", &bearer()).await.ends_with("ada"));
    let second = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.get("/second", &bearer()).await }
    });
    for _ in 0..50 {
        assert!(send_and_read(&mut first, "/who", &bearer()).await.ends_with("ada"));
    }
    for _ in 0..51 {
        assert_eq!(server.next_logged_call().await, "http|GET /who|ada|who|200");
    }
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed() {
    let server = Server::start(|options| options.limits.head_timeout = Duration::from_millis(300)).await;
    let mut working = server.connect().await;
    send(&mut working, "/slow", &bearer()).await;
    for begin in ["", "PRI * HTT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /who HTTP/1.1\r\nhost: loc"] {
        let mut silent = server.connect().await;
        silent.write_all(begin.as_bytes()).await.unwrap();
        ended(&mut silent).await;
    }
    // The connection with a call stays open.
    server.gate.add_permits(1);
    assert!(read_response(&mut working).await.ends_with("done"));
    ended(&mut working).await;

    let (tls, _) = certificate();
    let server = Server::start(|options| {
        options.limits.head_timeout = Duration::from_millis(300);
        options.tls = Some(Tls::new(&tls).unwrap());
    });
    ended(&mut server.await.connect().await).await;
}

#[tokio::test]
async fn connections_with_rejected_calls_only_are_closed() {
    let server = Server::start(|options| {
        options.limits.connections = 4;
        options.limits.head_timeout = Duration::from_millis(500);
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let channel = channel(server.address).await;
        assert_eq!(call_over(&channel, "Say", None).await.unwrap_err().code(), Code::Unauthenticated);
        held.push(channel);
    }
    // This call gets a connection once one of them is closed.
    timeout(LONG, server.grpc("Say", Some(TOKEN))).await.expect("they are closed").unwrap();
    drop(held);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_with_a_call_under_way_is_not() {
    let server = Arc::new(
        Server::start(|options| {
            options.limits.connections = 2;
            options.limits.head_timeout = Duration::from_millis(500);
            options.limits.idle_timeout = Duration::from_millis(50);
        })
        .await,
    );
    let working = channel(server.address).await;
    let slow = tokio::spawn(async move { call_over(&working, "Slow", Some(TOKEN)).await });
    // Each connection is idle after its call, so it makes way for the next one, while the slow call continues.
    let mut held = Vec::new();
    for _ in 0..4 {
        let idle = timeout(LONG, async {
            let channel = channel(server.address).await;
            call_over(&channel, "Say", Some(TOKEN)).await.unwrap();
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
    let server = Server::start(|options| options.limits.public_streams = 6).await;
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
    server.assert_healthy().await;
    drop(streams);
    let again = async { while watch(&two).await.is_err() {} };
    timeout(LONG, again).await.expect("streams that have ended make room");
}

#[tokio::test]
async fn connections_of_one_peer_beyond_its_share_are_closed() {
    let server = Server::start(|options| {
        options.limits.connections = 8;
        options.limits.connections_per_peer = 1;
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..7 {
        let mut stream = server.connect().await;
        assert!(send_and_read(&mut stream, "/who", &bearer()).await.ends_with("ada"));
        held.push(stream);
    }
    ended(&mut server.connect().await).await;
    for stream in &mut held {
        assert!(send_and_read(stream, "/who", &bearer()).await.ends_with("ada"));
    }
    held.pop();
    let again = async { while !server.get("/who", &bearer()).await.ends_with("ada") {} };
    timeout(LONG, again).await.expect("there is a share again");
}

#[tokio::test]
async fn connections_run_on_all_workers_and_end_with_the_server() {
    let workers = Workers::start(2).unwrap();
    let (sender, mut threads) = unbounded_channel();
    let mut server = Server::start(|options| {
        options.workers = Some(workers.clone());
        options.log = Some(Log::new(move |_| sender.send(thread::current().id()).unwrap()));
    })
    .await;
    let (mut held, mut used) = (Vec::new(), BTreeMap::new());
    for _ in 0..4 {
        let mut connection = server.connect().await;
        assert!(send_and_read(&mut connection, "/who", &bearer()).await.ends_with("ada"));
        held.push(connection);
        let thread = timeout(LONG, threads.recv()).await.unwrap().unwrap();
        *used.entry(format!("{thread:?}")).or_insert(0) += 1;
    }
    assert_eq!(used.values().copied().collect::<Vec<i32>>(), [2, 2]);
    assert!(!used.contains_key(&format!("{:?}", thread::current().id())));
    drop(server.stop.take());
    server.ended.await.unwrap().unwrap();
    for mut connection in held {
        ended(&mut connection).await;
    }
}
