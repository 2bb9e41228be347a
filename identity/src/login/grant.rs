//! Responses of token endpoints (RFC 6749, section 5).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::http::{Response, quoted};

/// Longer tokens are rejected, as servers do.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The tokens that a provider has issued.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    pub access_token: String,
    /// Requests the next grant. Providers may accept it once only.
    pub refresh_token: Option<String>,
    /// Lifetime of the access token, if the provider names it.
    pub lifetime: Option<Duration>,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// The failure of a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The provider can't be reached, or can't respond now. A retry is safe.
    #[error("{0}")]
    Unavailable(String),
    /// The provider rejects the request, with a code of RFC 6749 or RFC 8628.
    #[error("{message}")]
    Rejected { code: String, message: String },
    /// The provider, or its response, can't be used.
    #[error("{0}")]
    Unusable(String),
    /// The person did not finish the login in time.
    #[error("{0}")]
    TimedOut(String),
}

impl Error {
    /// Creates the error of a code, which is kept only if it has the form of a code.
    pub(super) fn rejected(code: &str, description: Option<&str>) -> Self {
        let description =
            description.filter(|text| !text.is_empty()).map(|text| format!(": {}", quoted(text)));
        let message = format!(
            "the provider rejects the login with {}{}",
            quoted(code),
            description.unwrap_or_default()
        );
        Self::Rejected { code: code.chars().take(100).collect(), message }
    }

    /// Returns the code of a rejection.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Rejected { code, .. } => Some(code),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    token_type: String,
    refresh_token: Option<String>,
    expires_in: Option<Seconds>,
}

/// A number of seconds. Some providers write it as text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    /// Returns the duration, if it is one.
    pub(super) fn duration(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[derive(Deserialize)]
struct Rejection {
    error: String,
    error_description: Option<String>,
}

/// Returns the successful response of an endpoint, or the error that it describes.
pub(super) fn success(endpoint: &str, response: Response) -> Result<Vec<u8>, Error> {
    let Response { status, body } = response;
    if let Ok(Rejection { error, error_description }) = serde_json::from_slice(&body)
        && status < 500
    {
        return Err(Error::rejected(&error, error_description.as_deref()));
    }
    match status {
        200 => Ok(body),
        429 | 500.. => Err(Error::Unavailable(format!("`{endpoint}` responds with the status {status}"))),
        _ => Err(Error::Unusable(format!("`{endpoint}` responds with the status {status}"))),
    }
}

impl Grant {
    /// Reads the response of a token endpoint.
    pub(super) fn read(endpoint: &str, response: Response) -> Result<Self, Error> {
        let body = success(endpoint, response)?;
        let unusable = |why: &str| Error::Unusable(format!("`{endpoint}` {why}"));
        let tokens: Tokens = serde_json::from_slice(&body)
            .map_err(|_| unusable("does not respond with an access token, as a provider does"))?;
        if !tokens.token_type.eq_ignore_ascii_case("bearer") {
            return Err(unusable("issues tokens of another type than `Bearer`; configure the client"));
        }
        let is_token = |token: &String| {
            (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let refresh_token = tokens.refresh_token.filter(|token| !token.is_empty());
        if !is_token(&tokens.access_token) || !refresh_token.iter().all(is_token) {
            return Err(unusable("issues a token that is too long, or has characters that no token has"));
        }
        let lifetime = tokens.expires_in.and_then(|seconds| seconds.duration());
        Ok(Self { access_token: tokens.access_token, refresh_token, lifetime })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(status: u16, body: &Value) -> Result<Grant, Error> {
        Grant::read("https://a.example/token", Response { status, body: body.to_string().into_bytes() })
    }

    #[test]
    fn tokens_and_their_lifetime_are_read() {
        let body = json!({"access_token": "a", "token_type": "bearer", "refresh_token": "r", "expires_in": 60, "x": 1});
        let grant = read(200, &body).expect("it is a grant");
        let shown = format!("{grant:?}");
        let refresh_token = Some("r".to_owned());
        let lifetime = Some(Duration::from_mins(1));
        assert_eq!(grant, Grant { access_token: "a".to_owned(), refresh_token, lifetime });
        assert_eq!(shown, "Grant { lifetime: Some(60s), .. }");

        for (expires_in, seconds) in [
            (json!("60"), Some(60)),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("soon"), None),
            (json!(null), None),
        ] {
            let body = json!({"access_token": "a", "token_type": "Bearer", "expires_in": expires_in});
            let lifetime = read(200, &body).map(|grant| grant.lifetime);
            assert_eq!(lifetime, Ok(seconds.map(Duration::from_secs)), "{expires_in}");
        }
    }

    #[test]
    fn unusable_responses_are_rejected_without_quoting_a_token() {
        let secret = "canary\n".repeat(2);
        for body in [
            json!({"access_token": secret, "token_type": "Bearer"}),
            json!({"access_token": "a", "refresh_token": secret, "token_type": "Bearer"}),
            json!({"access_token": "canary", "token_type": "DPoP"}),
            json!({"access_token": "canary"}),
            json!({"access_token": "c".repeat(MAX_TOKEN_BYTES + 1), "token_type": "Bearer"}),
            json!({"access_token": ["canary"], "token_type": "Bearer"}),
            json!(["canary"]),
            json!("canary"),
        ] {
            let Err(Error::Unusable(why)) = read(200, &body) else { unreachable!("{body}") };
            assert!(!why.contains("canary"), "{why}");
        }
    }

    #[test]
    fn rejections_have_the_code_and_a_shortened_description() {
        let body = json!({"error": "invalid_grant", "error_description": "gone\u{1b}[31m".repeat(99)});
        let error = read(400, &body).expect_err("it is rejected");
        assert_eq!(error.code(), Some("invalid_grant"));
        let message = error.to_string();
        assert!(message.contains(r"`gone\u{1b}[31m") && message.len() < 500, "{message}");
        // Some providers report errors with the status 200.
        assert_eq!(
            read(200, &json!({"error": "slow_down"})).expect_err("it is rejected").code(),
            Some("slow_down")
        );
        for status in [429, 500, 503] {
            assert!(matches!(read(status, &json!({})), Err(Error::Unavailable(_))), "{status}");
        }
        assert!(matches!(read(503, &json!({"error": "x"})), Err(Error::Unavailable(_))));
        for status in [201, 400, 404] {
            assert!(matches!(read(status, &json!({})), Err(Error::Unusable(_))), "{status}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_responses_are_read_without_a_panic(status: u16, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Grant::read("a", Response { status, body });
        }
    }
}
