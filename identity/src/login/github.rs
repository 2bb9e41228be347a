//! ID tokens of the jobs of GitHub Actions.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::grant::Error;
use crate::http::{Http, check_transport};

/// The issuer of the tokens. An enterprise can have issuers of its own below it.
const ISSUER: &str = "https://token.actions.githubusercontent.com";
const TIMEOUT: Duration = Duration::from_secs(15);

/// Returns true if tokens of an issuer are those of GitHub Actions.
pub fn is_github(issuer: &str) -> bool {
    issuer.strip_prefix(ISSUER).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The endpoint that issues the tokens of a job, and the token for it. Jobs with `permissions: {id-token: write}` have
/// them in their environment.
#[derive(Clone)]
pub struct Actions {
    url: Url,
    token: String,
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actions").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Document {
    value: String,
}

impl Actions {
    /// Creates the endpoint of the values of `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub fn new(url: &str, token: String) -> Result<Self, Error> {
        let unusable =
            |why: String| Error::Unusable(format!("the URL in ACTIONS_ID_TOKEN_REQUEST_URL {why}"));
        let url = Url::parse(url).map_err(|error| unusable(format!("is none: {error}")))?;
        check_transport(&url).map_err(unusable)?;
        Ok(Self { url, token })
    }

    /// Requests a token for an audience.
    pub async fn id_token(&self, audience: &str) -> Result<String, Error> {
        let http = Http::new(TIMEOUT, None).map_err(|error| Error::Unusable(error.to_string()))?;
        let document = http.get_as(self.address(audience).as_str(), &self.token).await;
        let document =
            document.map_err(|why| Error::Unavailable(format!("GitHub's endpoint of ID tokens {why}")))?;
        read(&document)
    }

    /// Returns the address of the tokens for an audience.
    fn address(&self, audience: &str) -> Url {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("audience", audience);
        url
    }
}

fn read(document: &[u8]) -> Result<String, Error> {
    let document = serde_json::from_slice::<Document>(document).ok().map(|it| it.value);
    let token =
        document.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    token.ok_or_else(|| {
        Error::Unusable("GitHub's endpoint of ID tokens does not respond with a token".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_requested_for_an_audience() {
        let actions = Actions::new("https://pipelines.example/token?api-version=2.0", "canary".to_owned());
        let actions = actions.expect("the URL is usable");
        assert_eq!(
            actions.address("https://dcp.example.com").as_str(),
            "https://pipelines.example/token?api-version=2.0&audience=https%3A%2F%2Fdcp.example.com"
        );
        assert!(!format!("{actions:?}").contains("canary"));
        for url in ["http://pipelines.example", "", "/token"] {
            assert!(Actions::new(url, String::new()).is_err(), "{url}");
        }
        assert_eq!(read(br#"{"count": 9, "value": "a.b.c"}"#), Ok("a.b.c".to_owned()));
        for document in [&b""[..], b"{}", br#"{"value": ""}"#, br#"{"value": "a\nb"}"#, br#"{"value": 1}"#] {
            assert!(read(document).is_err());
        }
    }

    #[test]
    fn issuers_of_enterprises_are_those_of_github() {
        assert!(is_github(ISSUER) && is_github(&format!("{ISSUER}/octo")));
        for issuer in ["https://token.actions.githubusercontent.com.evil.example", "https://gitlab.com", ""] {
            assert!(!is_github(issuer), "{issuer}");
        }
    }
}
