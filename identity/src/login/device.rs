//! The device flow (RFC 8628): its codes, and the times of polls.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::grant::{Error, Grant, Seconds, success};
use crate::http::{Response, check_transport};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const MAX_INTERVAL: Duration = Duration::from_mins(1);
/// Added to the interval at each `slow_down`.
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// Maximum lifetime of a code, whatever the provider says.
const MAX_LIFETIME: Duration = Duration::from_mins(30);
const MAX_CODE_BYTES: usize = 4 << 10;
const MAX_USER_CODE_CHARS: usize = 64;

/// A login that a person confirms at another device.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceCode {
    pub(super) code: String,
    /// The code to type in at the page.
    pub user_code: String,
    /// The page.
    pub page: Url,
    /// The page with the code filled in, if the provider has one.
    pub complete_page: Option<Url>,
    pub lifetime: Duration,
    pub(super) interval: Duration,
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode").field("page", &self.page.as_str()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Document {
    device_code: String,
    user_code: String,
    // Some providers have the name of an early draft.
    #[serde(alias = "verification_url")]
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: Option<Seconds>,
    interval: Option<Seconds>,
}

impl DeviceCode {
    /// Reads the response of the endpoint.
    pub(super) fn read(endpoint: &str, response: Response) -> Result<Self, Error> {
        let body = success(endpoint, response)?;
        let unusable = |why: &str| Error::Unusable(format!("`{endpoint}` {why}"));
        let document: Document = serde_json::from_slice(&body).map_err(|_| {
            unusable("does not respond with `device_code`, `user_code` and `verification_uri`")
        })?;
        let page = |text: &str| {
            let url = Url::parse(text).ok().filter(|url| check_transport(url).is_ok());
            url.ok_or_else(|| unusable("responds with a `verification_uri` that is no `https` URL"))
        };
        let is_code = (1..=MAX_CODE_BYTES).contains(&document.device_code.len());
        let is_readable = (1..=MAX_USER_CODE_CHARS).contains(&document.user_code.chars().count())
            && document.user_code.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if !is_code || !is_readable {
            return Err(unusable("responds with an unusable code"));
        }
        let duration = |seconds: Option<Seconds>| seconds.and_then(|seconds| seconds.duration());
        let interval = duration(document.interval).unwrap_or(DEFAULT_INTERVAL);
        Ok(Self {
            code: document.device_code,
            user_code: document.user_code,
            page: page(&document.verification_uri)?,
            complete_page: document.verification_uri_complete.as_deref().map(page).transpose()?,
            lifetime: duration(document.expires_in).unwrap_or(MAX_LIFETIME).min(MAX_LIFETIME),
            interval: interval.clamp(Duration::from_secs(1), MAX_INTERVAL),
        })
    }
}

/// Returns the pause until the next poll, or the end of the login.
pub(super) fn next_pause(
    interval: Duration,
    polled: Result<Grant, Error>,
) -> Result<Duration, Result<Grant, Error>> {
    match polled {
        Err(error) if error.code() == Some("authorization_pending") => Ok(interval),
        Err(error) if error.code() == Some("slow_down") => {
            Ok(interval.saturating_add(SLOW_DOWN).min(MAX_INTERVAL))
        }
        // The RFC asks for an exponential backoff after a timeout.
        Err(Error::Unavailable(_)) => Ok(interval.saturating_mul(2).min(MAX_INTERVAL)),
        Err(error) => Err(Err(match error.code() {
            Some("expired_token") => {
                Error::TimedOut("the code has expired before the login was confirmed".to_owned())
            }
            _ => error,
        })),
        Ok(grant) => Err(Ok(grant)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(changes: &Value) -> Result<DeviceCode, Error> {
        let mut document = json!({
            "device_code": "canary", "user_code": "WDJB-MJHT", "verification_uri": "https://a.example/device",
            "expires_in": 600,
        });
        document
            .as_object_mut()
            .expect("it is an object")
            .extend(changes.as_object().expect("it is an object").clone());
        let body = document.to_string().into_bytes();
        DeviceCode::read("https://a.example/code", Response { status: 200, body })
    }

    fn rejected<T>(code: &str) -> Result<T, Error> {
        Err(Error::rejected(code, None))
    }

    #[test]
    fn times_of_a_provider_are_bounded() {
        let times = |changes: &Value| {
            let code = read(changes).expect("the code is usable");
            (code.interval.as_secs(), code.lifetime.as_secs())
        };
        assert_eq!(times(&json!({})), (5, 600));
        assert_eq!(times(&json!({"interval": 0, "expires_in": 1e9})), (1, 1800));
        assert_eq!(times(&json!({"interval": 1e9, "expires_in": "90"})), (60, 90));
        assert_eq!(times(&json!({"interval": -1, "expires_in": null})), (5, 1800));
        let shown = format!("{:?}", read(&json!({})));
        assert!(
            shown.contains("a.example") && !shown.contains("canary") && !shown.contains("WDJB"),
            "{shown}"
        );
    }

    #[test]
    fn pages_and_codes_that_could_deceive_are_rejected() {
        for changes in [
            json!({"verification_uri": "http://a.example/device"}),
            json!({"verification_uri": "javascript:alert(1)"}),
            json!({"verification_uri_complete": "file:///etc/passwd"}),
            json!({"user_code": "a\u{1b}[31m"}),
            json!({"user_code": "a\nb"}),
            json!({"user_code": ""}),
            json!({"user_code": "a".repeat(65)}),
            json!({"device_code": ""}),
            json!({"device_code": 1}),
        ] {
            assert!(matches!(read(&changes), Err(Error::Unusable(_))), "{changes}");
        }
        // Control characters of a URL are encoded.
        let code =
            read(&json!({"verification_uri": "https://a.example/\u{1b}[31m"})).expect("the code is usable");
        assert_eq!(code.page.as_str(), "https://a.example/%1B[31m");
    }

    #[test]
    fn polls_go_on_until_the_provider_decides() {
        let second = Duration::from_secs(1);
        assert_eq!(next_pause(second, rejected("authorization_pending")), Ok(second));
        assert_eq!(next_pause(second, rejected("slow_down")), Ok(6 * second));
        assert_eq!(next_pause(58 * second, rejected("slow_down")), Ok(60 * second));
        assert_eq!(next_pause(4 * second, Err(Error::Unavailable(String::new()))), Ok(8 * second));
        for code in ["access_denied", "invalid_grant", "unknown"] {
            assert_eq!(next_pause(second, rejected(code)), Err(rejected(code)), "{code}");
        }
        assert!(matches!(next_pause(second, rejected("expired_token")), Err(Err(Error::TimedOut(_)))));
        let unusable = || Err(Error::Unusable("x".to_owned()));
        assert_eq!(next_pause(second, unusable()), Err(unusable()));
    }

    proptest! {
        #[test]
        fn arbitrary_responses_are_read_without_a_panic(status: u16, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = DeviceCode::read("a", Response { status, body });
        }
    }
}
