//! Connections to drivers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::outgoing::Outgoing;

/// Maximum time of the start of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that a call may receive before its client has read them. The window of the connection is as large as can be, so that
/// a slow reader stops itself only.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const MAX_FRAME: u32 = 256 << 10;
const MAX_HEADERS: u32 = 1 << 20;
/// Bytes of a request that wait for the driver.
const SEND_BUFFER: usize = 1 << 20;

/// One connection to each driver, shared by its sessions.
#[derive(Debug, Default)]
pub(crate) struct Upstreams(Mutex<HashMap<String, Arc<Slot>>>);

type Slot = tokio::sync::Mutex<Option<SendRequest<Outgoing>>>;

impl Upstreams {
    /// Returns the connection to a driver. Starts one if there is none, or the last one is broken and `may_connect`.
    pub(crate) async fn get(
        &self,
        id: &str,
        address: &str,
        may_connect: bool,
    ) -> Result<SendRequest<Outgoing>, String> {
        let slot = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(id.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|it| !it.is_closed()) {
            return Ok(connection.clone());
        }
        if !may_connect {
            return Err("nobody has seen it recently".to_owned());
        }
        let connection = timeout(CONNECT_TIMEOUT, connect(address)).await;
        let late = || format!("it did not respond within {} s", CONNECT_TIMEOUT.as_secs());
        let connection = connection.unwrap_or_else(|_| Err(late()))?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// Forgets the drivers that `is_known` does not know. Their calls go on until their connections break.
    pub(crate) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| is_known(id));
    }
}

async fn connect(address: &str) -> Result<SendRequest<Outgoing>, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    // Without `TCP_NODELAY`, small requests are delayed. If it can't be set, they still arrive.
    let _ = stream.set_nodelay(true);
    // Spark's server closes connections that send pings, so the system has to detect a machine that is gone.
    let _ = detect_dead_peer(&stream);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buf_size(SEND_BUFFER);
    let started = builder.handshake(TokioIo::new(stream)).await;
    let (connection, driven) = started.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Each call of a broken connection reports the error.
        let _ = driven.await;
    });
    Ok(connection)
}

/// Configures the system to close a connection whose peer does not respond.
fn detect_dead_peer(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    sockopt::set_tcp_user_timeout(stream, 60_000)
}
