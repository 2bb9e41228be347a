//! The authorization code flow with PKCE (RFC 7636), whose response a browser brings to a loopback address.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dcp_server::generate_secret;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use url::Url;

use super::callback::{Expected, PATH, reply};
use super::grant::Error;
use crate::providers::ClientSettings;

/// Maximum time of a login.
pub const LOGIN_TIMEOUT: Duration = Duration::from_mins(5);
/// Maximum number of connections at a time. Browsers open some that they never use.
const MAX_CONNECTIONS: usize = 32;
/// Maximum time of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of the head of a request: a code has some kilobytes at most.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Pause after a connection that could not be accepted, as when there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The scope of refresh tokens. Providers that follow `OpenID` Connect give it with this prompt only.
const OFFLINE: &str = "offline_access";

/// A login in a browser: the address at which it ends, and its secrets.
pub struct BrowserLogin {
    listener: TcpListener,
    expected: Arc<Expected>,
    /// The secret that redeems the code.
    pub(super) verifier: String,
    pub(super) redirect: String,
}

impl fmt::Debug for BrowserLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserLogin").field("redirect", &self.redirect).finish_non_exhaustive()
    }
}

impl BrowserLogin {
    /// Listens at a loopback address. `names_issuer` is true if the response has to name the issuer.
    pub async fn listen(issuer: &str, names_issuer: bool) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let authority = listener.local_addr()?.to_string();
        let redirect = format!("http://{authority}{PATH}");
        let expected =
            Expected { authority, state: generate_secret(), issuer: issuer.to_owned(), names_issuer };
        Ok(Self { listener, expected: Arc::new(expected), verifier: generate_secret(), redirect })
    }

    /// Returns the page that begins the login.
    pub fn page(&self, endpoint: &Url, settings: &ClientSettings) -> Url {
        let mut url = endpoint.clone();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()));
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("state", &self.expected.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if settings.scopes.iter().any(|scope| scope == OFFLINE) {
            query.append_pair("prompt", "consent");
        }
        query.extend_pairs(settings.parameters());
        query.append_pair("scope", &settings.scope());
        drop(query);
        url
    }

    /// Returns the code that the browser brings. Other requests are answered, and change nothing.
    pub async fn code(&self) -> Result<String, Error> {
        let minutes = LOGIN_TIMEOUT.as_secs() / 60;
        let received = timeout(LOGIN_TIMEOUT, self.receive()).await;
        received.unwrap_or_else(|_| {
            Err(Error::TimedOut(format!("the browser has not brought a response within {minutes} minutes")))
        })
    }

    async fn receive(&self) -> Result<String, Error> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let expected = Arc::clone(&self.expected);
                        connections.spawn(timeout(CONNECTION_TIMEOUT, answer(stream, expected)));
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                Some(ended) = connections.join_next() => {
                    if let Ok(Ok(Some(end))) = ended {
                        return end;
                    }
                }
            }
        }
    }
}

/// Answers a request, and returns the end of the login if it has one.
async fn answer(mut stream: TcpStream, expected: Arc<Expected>) -> Option<Result<String, Error>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= MAX_HEAD_BYTES {
            return None;
        }
        let read = stream.read_buf(&mut head).await.ok()?;
        if read == 0 {
            return None;
        }
    }
    let reply = reply(&head, &expected);
    let text = reply.text;
    let response = format!(
        "HTTP/1.1 {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{text}\n",
        reply.status,
        text.len() + 1
    );
    // The login ends even if the browser does not read the response.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
    reply.end
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn login() -> BrowserLogin {
        BrowserLogin::listen("https://a.example", false).await.expect("a port is free")
    }

    async fn send(login: &BrowserLogin, head: &str) -> String {
        let mut stream = TcpStream::connect(&login.expected.authority).await.expect("the login listens");
        stream.write_all(head.as_bytes()).await.expect("the login reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("the login responds");
        response
    }

    fn request(login: &BrowserLogin, state: &str) -> String {
        format!("GET {PATH}?code=c&state={state} HTTP/1.1\r\nhost: {}\r\n\r\n", login.expected.authority)
    }

    #[tokio::test]
    async fn login_survives_wrong_requests_and_idle_connections() {
        let login = login().await;
        let mut idle = Vec::new();
        let browser = async {
            for _ in 0..4 {
                idle.push(TcpStream::connect(&login.expected.authority).await.expect("the login listens"));
            }
            assert!(send(&login, "\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
            assert!(send(&login, &request(&login, "wrong")).await.starts_with("HTTP/1.1 400 "));
            send(&login, &request(&login, &login.expected.state)).await
        };
        let (code, response) = tokio::join!(login.code(), browser);
        assert_eq!(code, Ok("c".to_owned()));
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }

    #[tokio::test(start_paused = true)]
    async fn login_ends_after_its_timeout() {
        assert!(matches!(login().await.code().await, Err(Error::TimedOut(_))));
    }

    #[tokio::test]
    async fn page_has_the_challenge_and_not_the_verifier() {
        let login = login().await;
        let endpoint = Url::parse("https://a.example/page?tenant=1").expect("the URL is valid");
        let settings = ClientSettings {
            client: "dcp cli".to_owned(),
            scopes: vec!["openid".to_owned(), "offline_access".to_owned()],
            resource: Some("urn:dcp".to_owned()),
            audience: None,
        };
        let page = login.page(&endpoint, &settings);
        let parameters: std::collections::BTreeMap<_, _> = page.query_pairs().into_owned().collect();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(login.verifier.as_bytes()));
        for (name, value) in [
            ("tenant", "1"),
            ("client_id", "dcp cli"),
            ("scope", "openid offline_access"),
            ("prompt", "consent"),
            ("resource", "urn:dcp"),
            ("code_challenge", &challenge),
            ("state", &login.expected.state),
        ] {
            assert_eq!(parameters[name], value, "{name}");
        }
        assert!(
            !page.as_str().contains(&login.verifier) && !format!("{login:?}").contains(&login.expected.state)
        );
        let online = ClientSettings { scopes: vec!["openid".to_owned()], ..settings };
        assert!(!login.page(&endpoint, &online).as_str().contains("prompt"));
        assert!((43..=128).contains(&login.verifier.len()), "the length of RFC 7636");
    }
}
