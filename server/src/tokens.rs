//! Static tokens that are given when a server starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tonic::async_trait;

use crate::Error;
use crate::caller::{Caller, Credential, hash};
use crate::rejection::Rejection;
use crate::verifier::{Verified, Verifier};

/// Shorter tokens can be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

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

#[async_trait]
impl Verifier for Tokens {
    async fn verify(&self, token: &str) -> Result<Option<Verified>, Rejection> {
        let holder = self.holder(token.as_bytes());
        let verified = |name: &str| {
            let caller = Caller::unrestricted(name, Credential::Token(name.into()));
            Verified { caller, lifetime: Duration::MAX }
        };
        Ok(holder.map(verified))
    }
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
}
