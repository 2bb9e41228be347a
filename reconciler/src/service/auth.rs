//! Who calls: tokens, and the names of those who hold them.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::Error;
use super::log::Noted;
use crate::wire::status::unauthenticated;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

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

/// The name of the one who calls, as an extension of a request.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) String);

/// Lets in who has a token, and notes the name.
#[derive(Debug, Clone)]
pub(super) struct Guard(Tokens);

impl Guard {
    pub(super) fn new(tokens: Tokens) -> Self {
        Self(tokens)
    }
}

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = request.metadata().get("authorization").map(MetadataValue::as_bytes);
        let Some(token) = header.and_then(|value| value.strip_prefix(b"Bearer ")) else {
            return Err(unauthenticated("a token is needed: send `authorization: Bearer <token>`"));
        };
        let Some(name) = self.0.holder(token).map(str::to_owned) else {
            return Err(unauthenticated("this token is not known here"));
        };
        if let Some(noted) = request.extensions().get::<Noted>() {
            noted.by(&name);
        }
        request.extensions_mut().insert(Caller(name));
        Ok(request)
    }
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
}
