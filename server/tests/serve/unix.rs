//! A Unix socket beside TCP.

use std::sync::Arc;

use dcp_server::{Error, Listeners, Options, Unix, serve};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tonic::transport::Endpoint;

use crate::harness::{LONG, call_over, send_and_read, services};

#[tokio::test]
async fn the_owner_needs_no_token_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let unix = Unix { listener: UnixListener::bind(&path).unwrap(), name: "ada".to_owned() };
    let (stop, stopped) = oneshot::channel::<()>();
    let gate = Arc::new(Semaphore::new(0));
    let listeners = Listeners { tcp: None, unix: Some(unix) };
    let served = tokio::spawn(serve(listeners, services(&gate), Options::without_tcp(), async {
        drop(stopped.await);
    }));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert!(send_and_read(&mut stream, "/who", "").await.ends_with("ada"));
    let channel =
        Endpoint::from_shared(format!("unix://{}", path.display())).unwrap().connect().await.unwrap();
    call_over(&channel, "Say", None).await.unwrap();
    drop(stop);
    tokio::time::timeout(LONG, served).await.expect("it ends").unwrap().unwrap();
    assert!(UnixStream::connect(&path).await.is_err(), "nobody comes in any more");
}

#[tokio::test]
async fn tcp_without_tokens_is_rejected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let served = serve(listener, services(&gate), Options::without_tcp(), std::future::pending()).await;
    assert!(matches!(served, Err(Error::NoTokens(_))), "{served:?}");
}
