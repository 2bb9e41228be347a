//! A double of GitHub: the endpoint that issues ID tokens to a job, and the issuer's documents behind a proxy for HTTPS. It
//! rejects every request that GitHub would reject. GitHub signs with RS256, and the double with `EdDSA`.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

const HOST: &str = "token.actions.githubusercontent.com";
/// The token of the job for the endpoint.
pub(super) const REQUEST_TOKEN: &str = "request-token";
const MAX_HEAD_BYTES: usize = 64 << 10;

pub(super) struct GitHub {
    /// The certificate of the issuer, in PEM.
    pub(super) certificate: String,
    /// The proxy at which the issuer can be reached.
    pub(super) proxy: String,
    endpoint: String,
    state: Arc<Mutex<State>>,
}

/// The job whose tokens the endpoint issues.
struct State {
    key: Ed25519KeyPair,
    subject: String,
    /// The audience of tokens, instead of the requested one.
    audience: Option<String>,
    requests: Vec<String>,
}

impl GitHub {
    pub(super) fn start() -> Self {
        let state = State { key: key(1), subject: String::new(), audience: None, requests: Vec::new() };
        let keys = json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "double",
            "x": URL_SAFE_NO_PAD.encode(state.key.public_key().as_ref()),
        }]});
        let state = Arc::new(Mutex::new(state));
        let issued = Arc::clone(&state);
        let endpoint = listen(move |stream| issue(stream, &issued));

        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate can be made");
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .expect("the key is that of the certificate");
        let (tls, keys) = (Arc::new(tls), keys.to_string());
        let proxy = listen(move |stream| serve_issuer(stream, &tls, &keys));
        Self { certificate: cert.pem(), proxy, endpoint, state }
    }

    /// Returns the environment of a job with `permissions: {id-token: write}`.
    pub(super) fn environment(&self) -> [(&str, &str); 2] {
        [("ACTIONS_ID_TOKEN_REQUEST_URL", &self.endpoint), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)]
    }

    /// Returns the requests for tokens since the last call.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    pub(super) fn set_subject(&self, subject: &str) {
        subject.clone_into(&mut self.state().subject);
    }

    pub(super) fn set_audience(&self, audience: Option<&str>) {
        self.state().audience = audience.map(str::to_owned);
    }

    /// Signs with a key that is not the issuer's, under the name of its key.
    pub(super) fn forge(&self) {
        self.state().key = key(2);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread has failed")
    }
}

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed has 32 bytes")
}

/// Serves connections until the test ends, and returns the address.
fn listen(serve: impl Fn(std::net::TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            // A client that disconnects is no failure of the double.
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    match address.port() {
        0 => unreachable!("the system chooses a port"),
        port => format!("http://127.0.0.1:{port}"),
    }
}

fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn respond(stream: &mut impl Write, status: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")?;
    stream.flush()
}

/// Issues a token to the job.
fn issue(mut stream: std::net::TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let head = read_head(&mut stream)?;
    let authorization = format!("authorization: bearer {REQUEST_TOKEN}");
    let is_authorized = head.lines().any(|line| line.eq_ignore_ascii_case(&authorization));
    let query = head.lines().next().and_then(|line| line.strip_prefix("GET /?audience="));
    let (Some(query), true) = (query, is_authorized) else {
        return respond(&mut stream, "401 Unauthorized", "{}");
    };
    let requested = query.split(' ').next().unwrap_or_default().replace("%3A", ":").replace("%2F", "/");
    let mut state = state.lock().expect("no thread has failed");
    state.requests.push(format!("&audience={query}"));
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": format!("https://{HOST}"), "sub": state.subject, "aud": state.audience.clone().unwrap_or(requested),
        "nbf": now - 600, "iat": now, "exp": now + 300, "jti": "9e7d1c0a-5f0b-4d3e-8f3d-1a2b3c4d5e6f",
        "repository": "example/shop", "repository_owner": "example", "ref_type": "branch", "actor": "ada",
        "event_name": "push", "runner_environment": "github-hosted", "run_id": "8222997048",
    });
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "double"});
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(state.key.sign(signed.as_bytes()));
    respond(&mut stream, "200 OK", &json!({"count": 1, "value": format!("{signed}.{signature}")}).to_string())
}

/// Serves the documents of the issuer through a tunnel of the proxy.
fn serve_issuer(mut stream: std::net::TcpStream, tls: &Arc<ServerConfig>, keys: &str) -> io::Result<()> {
    if !read_head(&mut stream)?.starts_with(&format!("CONNECT {HOST}:443 ")) {
        return respond(&mut stream, "403 Forbidden", "");
    }
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let head = read_head(&mut stream)?;
    match head.split(' ').nth(1) {
        Some("/.well-known/openid-configuration") => {
            let document = json!({
                "issuer": format!("https://{HOST}"), "jwks_uri": format!("https://{HOST}/.well-known/jwks"),
            });
            respond(&mut stream, "200 OK", &document.to_string())
        }
        Some("/.well-known/jwks") => respond(&mut stream, "200 OK", keys),
        _ => respond(&mut stream, "404 Not Found", ""),
    }?;
    stream.conn.send_close_notify();
    stream.flush()
}
