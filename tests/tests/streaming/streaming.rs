//! A test for each file of changes, and further tests of streams.

mod formats;

use dcp_tests::kafka::Broker;
use tokio::net::{TcpListener, TcpStream};

/// Defines a test for each file of `cases/`.
macro_rules! files {
    ($($name:ident),+ $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),+];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                crate::case::check(stringify!($name)).await;
            }
        )+
    };
}

files!(
    aggregates,
    databases,
    deduplication,
    filters,
    joins,
    kafka,
    limits,
    merges,
    paths,
    projections,
    sinks,
    sources,
    state
);

#[test]
fn every_file_of_cases_is_run() {
    assert_eq!(crate::case::files(), FILES);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_broker_leaves_nothing() {
    let broker = Broker::start().await;
    broker.create_topic("it", 2).await;
    broker.produce("it", &[(Some("key"), b"value")]).await;
    let found = broker.consume("it").await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].key.as_deref(), found[0].value.as_deref()),
        (Some(&b"key"[..]), Some(&b"value"[..]))
    );
    let (address, folder) = (broker.address().to_owned(), broker.folder().to_owned());
    assert!(folder.exists());
    drop(broker);
    assert!(!folder.exists() && TcpStream::connect(address).await.is_err());
}

/// The client of Kafka waits without end if another program accepts its connection and does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn broker_without_its_port_is_reported() {
    let other = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = other.local_addr().expect("it is bound").to_string();
    let error = tokio::spawn(Broker::start_at(address)).await.expect_err("the port is taken");
    let message = error.into_panic().downcast::<String>().expect("the panic has a message");
    assert!(message.contains("Kafka did not start: Some("), "{message}");
}
