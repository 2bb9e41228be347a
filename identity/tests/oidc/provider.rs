//! A provider that can be broken in many ways, and a verifier of its tokens.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dcp_identity::Oidc;
use dcp_identity::oidc::{Issuer, Options, Schedule};
use dcp_server::{Rejection, Verified, Verifier as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::keys::SigningKey;

/// The time of the verifier.
pub(crate) const NOW: i64 = 1_800_000_000;
/// Timeout of a test step; every step takes less.
const LONG: Duration = Duration::from_secs(30);

pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/keys";

/// The response to the requests for a path.
#[derive(Clone)]
pub(crate) enum Answer {
    Document(String),
    /// A status and further lines of the head.
    Status(u16, String),
    /// A body that never ends.
    Endless,
    /// A byte now and then.
    Slow,
    /// No response at all.
    Silence,
    /// An end before the length that the head gives.
    Truncated,
    /// A document, once a permit is added.
    Gated(Arc<Semaphore>, String),
}

#[derive(Default)]
struct Shared {
    answers: HashMap<String, Answer>,
    requests: HashMap<String, usize>,
}

pub(crate) struct Provider {
    pub(crate) issuer: String,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

impl Provider {
    /// Starts a provider with keys.
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        Self::start_with(keys, None).await
    }

    /// Starts a provider that has `https` if a certificate is given.
    pub(crate) async fn start_with(keys: &[&SigningKey], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        let provider = Self { issuer: format!("{scheme}://localhost:{port}"), shared, server };
        provider.answer(DISCOVERY, Answer::Document(provider.discovery(&json!({}))));
        provider.publish(keys);
        provider
    }

    /// Returns a discovery document with some other members.
    pub(crate) fn discovery(&self, changes: &Value) -> String {
        let mut document = json!({"issuer": self.issuer, "jwks_uri": format!("{}{KEYS}", self.issuer)});
        let changes = changes.as_object().expect("it is an object").clone();
        document.as_object_mut().expect("it is an object").extend(changes);
        document.to_string()
    }

    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.shared.lock().expect("no holder panics").answers.insert(path.to_owned(), answer);
    }

    /// Replaces the keys.
    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        self.answer(KEYS, Answer::Document(document(keys)));
    }

    /// Returns the number of requests for a path.
    pub(crate) fn requests(&self, path: &str) -> usize {
        self.shared.lock().expect("no holder panics").requests.get(path).copied().unwrap_or_default()
    }

    /// Ends the server, so that connections are refused.
    pub(crate) async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// Returns claims that are accepted, with changes; null removes one.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let mut claims = json!({"iss": self.issuer, "sub": "ada", "aud": "dcp", "exp": NOW + 600});
        for (claim, value) in changes.as_object().expect("it is an object") {
            match value {
                Value::Null => _ = claims.as_object_mut().expect("it is an object").remove(claim),
                value => claims[claim] = value.clone(),
            }
        }
        claims
    }

    pub(crate) fn token(&self, key: &SigningKey) -> String {
        key.token(&self.claims(&json!({})))
    }

    pub(crate) fn verifier(&self, schedule: Schedule) -> Verifier {
        verifier_of(Issuer::new("corp", &self.issuer, "dcp"), schedule)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Returns a verifier of the tokens of an issuer.
pub(crate) fn verifier_of(issuer: Issuer, schedule: Schedule) -> Verifier {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&messages);
    let log = Arc::new(move |message: &str| log.lock().expect("no holder panics").push(message.to_owned()));
    let clock = || Timestamp::from_second(NOW).expect("the time is valid");
    let oidc = Oidc::new(issuer, Options { clock, schedule, log }).expect("the settings are valid");
    Verifier { oidc: Arc::new(oidc), messages }
}

/// Returns a set of keys.
pub(crate) fn document(keys: &[&SigningKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// A schedule in which callers may cause a fetch at any time.
pub(crate) fn eager() -> Schedule {
    Schedule { min_interval: Duration::ZERO, ..Schedule::default() }
}

/// A schedule in which only the timer causes fetches, all the time.
pub(crate) fn quick_timer() -> Schedule {
    Schedule { refresh: Duration::from_millis(20), ..Schedule::default() }
}

/// A verifier of the tokens of a provider, with its messages.
pub(crate) struct Verifier {
    pub(crate) oidc: Arc<Oidc>,
    messages: Arc<Mutex<Vec<String>>>,
}

impl Verifier {
    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().expect("no holder panics").clone()
    }

    /// Returns the name of the caller.
    pub(crate) async fn accepted(&self, token: &str) -> String {
        let verified = self.verify(token).await.expect("the token is accepted").expect("it is of this kind");
        verified.caller.name.to_string()
    }

    /// Returns the reason why a token is invalid.
    pub(crate) async fn invalid(&self, token: &str) -> String {
        let result = self.verify(token).await;
        let Err(Rejection::Invalid(why)) = result else { unreachable!("{result:?}") };
        why
    }

    /// Returns the reason why a token can't be verified.
    pub(crate) async fn unavailable(&self, token: &str) -> String {
        let result = self.verify(token).await;
        let Err(Rejection::Unavailable(why)) = result else { unreachable!("{result:?}") };
        why
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Option<Verified>, Rejection> {
        timeout(LONG, self.oidc.verify(token)).await.expect("verification ends")
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(LONG, waiting).await.is_ok(), "{what}: the condition is not satisfied");
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Mutex<Shared>>) {
    // Dropping the set ends the connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let _ = match tls {
                None => respond(stream, &shared).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => respond(stream, &shared).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

/// Answers the only request of a connection.
async fn respond(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Mutex<Shared>,
) -> std::io::Result<()> {
    let mut head = String::new();
    while !head.contains("\r\n\r\n") {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).await?;
        if count == 0 {
            return Ok(());
        }
        head.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut shared = shared.lock().expect("no holder panics");
        *shared.requests.entry(path.clone()).or_default() += 1;
        shared.answers.get(&path).cloned().unwrap_or(Answer::Status(404, String::new()))
    };
    write(&mut stream, answer).await?;
    stream.shutdown().await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), answer: Answer) -> std::io::Result<()> {
    let document = |text: String| {
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len())
    };
    match answer {
        Answer::Document(text) => stream.write_all(document(text).as_bytes()).await,
        Answer::Gated(gate, text) => {
            gate.acquire().await.expect("it is never closed").forget();
            stream.write_all(document(text).as_bytes()).await
        }
        Answer::Status(status, head) => {
            let response =
                format!("HTTP/1.1 {status} Test\r\nconnection: close\r\n{head}content-length: 0\r\n\r\n");
            stream.write_all(response.as_bytes()).await
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\": [").await?;
            loop {
                stream.write_all(&[b' '; 4096]).await?;
            }
        }
        Answer::Slow => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{").await?;
            loop {
                stream.write_all(b" ").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Answer::Silence => pending().await,
        Answer::Truncated => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{\"keys\": [")
                .await
        }
    }
}
