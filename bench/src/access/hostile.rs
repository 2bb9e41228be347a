//! Hostile callers without a valid token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dcp_proto::runner::v1::CheckRequest;
use dcp_proto::runner::v1::runner_client::RunnerClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::runner::Result;

/// Number of connections that make calls, and of those that are slow.
const CONNECTIONS: usize = 32;
const SLOW_CONNECTIONS: usize = 500;
/// Calls per second of each connection. An attacker on the same machine would else take its processors.
const RATE: f64 = 100.0;

/// A kind of hostile callers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hostile {
    /// Calls without a token.
    NoToken,
    /// Calls with a different wrong token each.
    WrongTokens,
    /// Calls that are cancelled at once.
    Cancelled,
    /// Connections that send a byte a second, and read nothing.
    Slow,
}

impl Hostile {
    pub(super) const ALL: [Self; 4] = [Self::NoToken, Self::WrongTokens, Self::Cancelled, Self::Slow];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongTokens => "wrong_tokens",
            Self::Cancelled => "cancelled",
            Self::Slow => "slow",
        }
    }

    /// Starts the callers, which stop when the result is dropped.
    pub(super) async fn start(self, url: &str) -> Result<Running> {
        let mut running = Running { tasks: JoinSet::new(), calls: Arc::default(), begun: Instant::now() };
        let address: SocketAddr = url.trim_start_matches("http://").parse()?;
        match self {
            Self::Slow => {
                for _ in 0..SLOW_CONNECTIONS {
                    running.tasks.spawn(send_slowly(address, Arc::clone(&running.calls)));
                }
            }
            Self::NoToken | Self::WrongTokens | Self::Cancelled => {
                for _ in 0..CONNECTIONS {
                    let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
                    running.tasks.spawn(self.call_repeatedly(channel, Arc::clone(&running.calls)));
                }
            }
        }
        Ok(running)
    }

    async fn call_repeatedly(self, channel: Channel, calls: Arc<AtomicU64>) {
        let mut client = RunnerClient::new(channel);
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
        loop {
            ticks.tick().await;
            let mut request = Request::new(CheckRequest { id: "0".repeat(26) });
            if !matches!(self, Self::NoToken) {
                let token = format!(
                    "Bearer dcp_{:012x}_{:064x}",
                    rand::random::<u64>() >> 16,
                    rand::random::<u128>()
                );
                if let Ok(value) = token.parse() {
                    request.metadata_mut().insert("authorization", value);
                }
            }
            calls.fetch_add(1, Ordering::Relaxed);
            if matches!(self, Self::Cancelled) {
                // The request is sent, and reset before the response.
                _ = tokio::time::timeout(Duration::from_micros(200), client.check(request)).await;
            } else {
                _ = client.check(request).await;
            }
        }
    }
}

/// Sends the head of a request a byte a second, on one connection after the other.
async fn send_slowly(address: SocketAddr, calls: Arc<AtomicU64>) {
    loop {
        calls.fetch_add(1, Ordering::Relaxed);
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        for byte in b"GET /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            let mut answer = [0; 1];
            let closed = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
            if matches!(closed, Ok(Ok(0) | Err(_))) {
                break;
            }
        }
    }
}

/// Hostile callers that run.
pub(super) struct Running {
    tasks: JoinSet<()>,
    calls: Arc<AtomicU64>,
    begun: Instant,
}

impl Running {
    /// Stops the callers, and returns their calls, or connections, per second.
    pub(super) async fn stop(mut self) -> f64 {
        self.tasks.shutdown().await;
        let calls = u32::try_from(self.calls.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        f64::from(calls) / self.begun.elapsed().as_secs_f64()
    }
}
