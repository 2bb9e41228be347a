//! Access control: tokens, and the names of their holders.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{Method, Request};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::Error;
use crate::caller::{Caller, hash};
use crate::login::Login;

/// Shorter tokens can be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

/// The credentials that are accepted over TCP.
#[derive(Debug, Clone)]
pub struct Access {
    tokens: Tokens,
    /// Signs in browsers, which can't send a token.
    login: Option<Login>,
}

impl From<Tokens> for Access {
    fn from(tokens: Tokens) -> Self {
        Self { tokens, login: None }
    }
}

/// A token and the name of its holder.
#[derive(Clone)]
pub struct Token {
    pub name: String,
    pub token: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All accepted tokens. Only their hashes are stored.
#[derive(Clone)]
pub struct Tokens(Arc<[(String, [u8; 32])]>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Tokens {
    pub fn new(tokens: &[Token]) -> Result<Self, Error> {
        if tokens.is_empty() {
            return Err(Error::Tokens(
                "there is no token, so that nobody could come in: give at least one".to_owned(),
            ));
        }
        let hashed = tokens.iter().map(|Token { name, token }| {
            if name.is_empty() || name.len() > 200 || name.contains(char::is_control) {
                return Err(Error::Tokens(
                    "the holder of each token needs a name, of at most 200 bytes".to_owned(),
                ));
            }
            if token.len() < MIN_TOKEN_LENGTH || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let rule = format!(
                    "use at least {MIN_TOKEN_LENGTH} visible ASCII characters, such as `openssl rand -hex 32` makes"
                );
                return Err(Error::Tokens(format!("the token of `{name}` can't be used: {rule}")));
            }
            Ok((name.clone(), hash(token.as_bytes())))
        });
        Ok(Self(hashed.collect::<Result<_, _>>()?))
    }

    /// Returns the name of a token's holder. It compares the hash with all known hashes, so that its time does not
    /// depend on the token.
    fn holder(&self, token: &[u8]) -> Option<&str> {
        let given = hash(token);
        let mut found = u64::MAX;
        for (index, (_, known)) in (0_u64..).zip(self.0.iter()) {
            let same: Choice = given.ct_eq(known);
            found.conditional_assign(&index, same);
        }
        let (name, _) = self.0.get(usize::try_from(found).ok()?)?;
        Some(name)
    }
}

impl Access {
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Identifies the caller by the token, or by the session of a browser.
    pub(crate) fn caller<B>(&self, request: &Request<B>) -> Result<Caller, &'static str> {
        let headers = request.headers();
        let Some(header) = headers.get(AUTHORIZATION) else {
            let session = self.login.as_ref().and_then(|login| login.caller(headers));
            let caller = session.ok_or("a token is needed: send `authorization: Bearer <token>`")?;
            if !is_same_origin(request) {
                return Err("a session is for pages of this server, at a loopback address, only");
            }
            return Ok(caller);
        };
        let token = header.as_bytes().strip_prefix(b"Bearer ");
        let token = token.ok_or("`authorization` has to be `Bearer <token>`")?;
        let name = self.tokens.holder(token).ok_or("the token is unknown")?;
        Ok(Caller(name.to_owned()))
    }
}

/// Returns true if a browser sends a request for a page of this server. A page of another server names its own
/// origin, or used a host name that resolves to this machine (DNS rebinding). A request that may change something
/// has to name its origin.
fn is_same_origin<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("-"));
    let Some(requested_host) = host(request) else { return false };
    let same = |origin: &str| {
        let authority = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
        authority.is_some_and(|authority| authority == requested_host)
    };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let site = text(&SEC_FETCH_SITE);
    let site = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
    is_loopback(requested_host.host()) && site && text(&ORIGIN).map_or(is_read, same)
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns the host that a request names.
fn host<B>(request: &Request<B>) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    request.headers().get(HOST)?.to_str().ok()?.parse().ok()
}

/// Returns true if a request names a loopback host.
pub(crate) fn is_to_loopback<B>(request: &Request<B>) -> bool {
    host(request).is_some_and(|host| is_loopback(host.host()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let address = bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    address || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_matches_only_as_a_whole_and_is_not_in_debug_output() {
        let token = |name: &str, token: &str| Token { name: name.to_owned(), token: token.to_owned() };
        let list = [token("ada", "0123456789abcdef-ada"), token("bob", "0123456789abcdef-bob")];
        let tokens = Tokens::new(&list).unwrap();
        assert_eq!(tokens.holder(b"0123456789abcdef-ada"), Some("ada"));
        assert_eq!(tokens.holder(b"0123456789abcdef-bob"), Some("bob"));
        for wrong in [&b""[..], b"0123456789abcdef", b"0123456789abcdef-adaa", b"0123456789abcdef-Ada"] {
            assert_eq!(tokens.holder(wrong), None);
        }
        let shown = format!("{list:?} {tokens:?}");
        assert!(shown.contains("ada") && !shown.contains("0123"), "{shown}");
    }

    #[test]
    fn weak_or_nameless_tokens_are_rejected_without_quoting_them() {
        for (name, token) in [("ada", "short-secret"), ("ada", "0123456789 abcdef"), ("", "0123456789abcdef")]
        {
            let error = Tokens::new(&[Token { name: name.to_owned(), token: token.to_owned() }]).unwrap_err();
            assert!(!error.to_string().contains(token), "{error}");
        }
        assert!(Tokens::new(&[]).is_err());
    }

    #[test]
    fn sessions_are_for_pages_of_this_server_only() {
        let (login, code) = Login::new("ada");
        let cookie = login.begin_session(code.as_bytes(), 7420, false).unwrap();
        let cookie = cookie.split_once(';').unwrap().0.to_owned();
        let token = Token { name: "ci".to_owned(), token: "0123456789abcdef".to_owned() };
        let access = Access::from(Tokens::new(&[token]).unwrap()).with_login(login);
        let call = |method: &str, uri: &str, headers: &[(HeaderName, &str)]| {
            let mut request = Request::builder().method(method).uri(uri).header("cookie", &cookie);
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            access.caller(&request.body(()).unwrap()).is_ok_and(|caller| caller == Caller("ada".to_owned()))
        };
        for host in
            ["localhost:7420", "LOCALHOST", "127.0.0.1:1", "127.8.9.1", "[::1]:7", "[::ffff:127.0.0.1]"]
        {
            let origin = format!("http://{host}");
            assert!(call("GET", "/a", &[(HOST, host)]), "{host}");
            assert!(call("GET", &format!("{origin}/a"), &[]), "{host}");
            assert!(call("GET", "/a", &[(HOST, host), (ORIGIN, &origin)]), "{host}");
            assert!(call("POST", "/a", &[(HOST, host), (ORIGIN, &origin)]), "{host}");
            assert!(!call("POST", "/a", &[(HOST, host)]), "{host}");
            assert!(call("GET", "/a", &[(HOST, host), (SEC_FETCH_SITE, "none")]), "{host}");
            for site in ["same-site", "cross-site", "?"] {
                assert!(!call("GET", "/a", &[(HOST, host), (SEC_FETCH_SITE, site)]), "{host} {site}");
            }
            for origin in
                ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
            {
                for method in ["GET", "POST"] {
                    assert!(!call(method, "/a", &[(HOST, host), (ORIGIN, origin)]), "{host} {origin}");
                }
            }
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "127.0.0.1.nip.io", "a b"]
        {
            assert!(!call("GET", "/a", &[(HOST, host)]), "{host}");
        }
        assert!(!call("GET", "/a", &[]) && !call("GET", "http://evil.example/a", &[(HOST, "localhost")]));
        // If a token is sent, the origin does not matter.
        assert!(!call("GET", "/a", &[(HOST, "localhost"), (AUTHORIZATION, "Bearer wrong")]));
    }
}
