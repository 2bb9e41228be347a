//! Who may call: tokens, and the names of those who hold them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::Error;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Access {
    Tokens(Tokens),
    /// Whoever asks from this machine, and is taken for the one of this name. Only a loopback address can be served so.
    Anyone {
        name: String,
    },
}

impl From<Tokens> for Access {
    fn from(tokens: Tokens) -> Self {
        Self::Tokens(tokens)
    }
}

/// The name of the one who calls, as an extension of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub String);

/// A token and the name of the one who holds it.
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

/// All tokens that are let in. What is kept are their hashes.
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
            if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let rule = format!(
                    "use at least {SHORTEST} visible ASCII characters, such as `openssl rand -hex 32` makes"
                );
                return Err(Error::Tokens(format!("the token of `{name}` can't be used: {rule}")));
            }
            Ok((name.clone(), hash(token.as_bytes())))
        });
        Ok(Self(hashed.collect::<Result<_, _>>()?))
    }

    /// Takes the same time whatever the token: hashes are compared, each to its end, and all of them.
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

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Access {
    /// The name of the one who calls, or why there is none.
    pub(crate) fn caller(&self, uri: &Uri, headers: &HeaderMap) -> Result<Caller, &'static str> {
        match self {
            Self::Tokens(tokens) => {
                let header = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
                let Some(token) = header.and_then(|value| value.strip_prefix(b"Bearer ")) else {
                    return Err("a token is needed: send `authorization: Bearer <token>`");
                };
                let name = tokens.holder(token).ok_or("this token is not known here")?;
                Ok(Caller(name.to_owned()))
            }
            Self::Anyone { name } if is_from_here(uri, headers) => Ok(Caller(name.clone())),
            Self::Anyone { .. } => Err(
                "without tokens, only programs of this machine may call, by `localhost` or a loopback address, \
                 and pages that a browser shows may not",
            ),
        }
    }
}

/// Whether a call is from a program of this machine, and not from a page that a browser here was led to: such a page
/// names its origin, or comes by a host name of its own that was made to lead here.
fn is_from_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or("-"));
    let host = text(HOST).map(str::parse::<Authority>);
    let asked = match (uri.authority(), host) {
        (Some(authority), _) => authority.clone(),
        (None, Some(Ok(authority))) => authority,
        (None, _) => return false,
    };
    let same = |origin: &str| {
        let authority = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
        authority.is_some_and(|authority| authority == asked)
    };
    is_loopback(asked.host()) && text(ORIGIN).is_none_or(same)
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
    fn a_token_is_known_by_all_of_it_and_shown_to_nobody() {
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
    fn weak_or_nameless_tokens_are_refused_and_not_repeated() {
        for (name, token) in [("ada", "short-secret"), ("ada", "0123456789 abcdef"), ("", "0123456789abcdef")]
        {
            let error = Tokens::new(&[Token { name: name.to_owned(), token: token.to_owned() }]).unwrap_err();
            assert!(!error.to_string().contains(token), "{error}");
        }
        assert!(Tokens::new(&[]).is_err());
    }

    #[test]
    fn without_tokens_a_page_in_a_browser_does_not_come_in() {
        let access = Access::Anyone { name: "ada".to_owned() };
        let call = |uri: &str, headers: &[(http::HeaderName, &str)]| {
            let headers =
                headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            access.caller(&uri.parse().unwrap(), &headers).is_ok()
        };
        for host in
            ["localhost:7420", "LOCALHOST", "127.0.0.1:1", "127.8.9.1", "[::1]:7", "[::ffff:127.0.0.1]"]
        {
            assert!(call("/a", &[(HOST, host)]), "{host}");
            assert!(call(&format!("http://{host}/a"), &[]), "{host}");
            assert!(call("/a", &[(HOST, host), (ORIGIN, &format!("http://{host}"))]), "{host}");
            for origin in
                ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
            {
                assert!(!call("/a", &[(HOST, host), (ORIGIN, origin)]), "{host} {origin}");
            }
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "127.0.0.1.nip.io", "a b"]
        {
            assert!(!call("/a", &[(HOST, host)]), "{host}");
        }
        assert!(!call("/a", &[]) && !call("http://evil.example/a", &[(HOST, "localhost")]));
    }
}
