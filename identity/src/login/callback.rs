//! Requests to the loopback address at which a browser ends a login (RFC 8252, section 7.3).

use std::collections::BTreeMap;

use subtle::ConstantTimeEq as _;
use url::form_urlencoded;

use super::grant::Error;

/// The path of the redirect.
pub(super) const PATH: &str = "/callback";

/// The request that ends a login. Any page, and any process of the machine, can send others.
#[derive(Debug)]
pub(super) struct Expected {
    /// The host and the port that the browser has to name.
    pub(super) authority: String,
    /// The secret of this login.
    pub(super) state: String,
    pub(super) issuer: String,
    /// True if the response has to name the issuer.
    pub(super) names_issuer: bool,
}

/// The reply to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: &'static str,
    pub(super) text: &'static str,
    /// The code, or the reason of the provider, if the request ends the login.
    pub(super) end: Option<Result<String, Error>>,
}

impl Reply {
    fn ignored(status: &'static str, text: &'static str) -> Self {
        Self { status, text, end: None }
    }
}

/// Decides about a request by its head. Requests that do not have the secret of the login change nothing.
pub(super) fn reply(head: &[u8], expected: &Expected) -> Reply {
    const BAD: &str = "400 Bad Request";
    let Ok(head) = std::str::from_utf8(head) else { return Reply::ignored(BAD, "This is no HTTP request.") };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Reply::ignored(BAD, "This is no HTTP request.");
    };
    if !version.starts_with("HTTP/1.") {
        return Reply::ignored(BAD, "This is no HTTP request.");
    }
    let mut hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    // Another name would be that of a page that had its host name resolve to this machine.
    if hosts.next() != Some(expected.authority.as_str()) || hosts.next().is_some() {
        return Reply::ignored(BAD, "This is not the address of a login.");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != PATH {
        return Reply::ignored("404 Not Found", "There is nothing here but the end of a login.");
    }
    if method != "GET" {
        return Reply::ignored("405 Method Not Allowed", "This is not the response of a provider.");
    }
    match end(query, expected) {
        None => Reply::ignored(
            BAD,
            "This response belongs to another login, which has ended or was not begun here.",
        ),
        Some(Ok(code)) => {
            let text = "dcp has the response of the provider. Close this page, and return to the terminal.";
            Reply { status: "200 OK", text, end: Some(Ok(code)) }
        }
        Some(Err(error)) => {
            let text = "The provider rejects the login. Close this page; the terminal has the reason.";
            Reply { status: "200 OK", text, end: Some(Err(error)) }
        }
    }
}

/// Returns the end of the login, if the query is that of its response.
fn end(query: &str, expected: &Expected) -> Option<Result<String, Error>> {
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        // A parameter that is there twice could be read in two ways.
        if parameters.insert(name, value).is_some() {
            return None;
        }
    }
    let parameter = |name: &str| parameters.get(name).map(AsRef::<str>::as_ref);
    let state = parameter("state")?;
    if !bool::from(state.as_bytes().ct_eq(expected.state.as_bytes())) {
        return None;
    }
    match parameter("iss") {
        Some(issuer) if issuer != expected.issuer => return None,
        None if expected.names_issuer => return None,
        _ => {}
    }
    if let Some(error) = parameter("error") {
        return Some(Err(Error::rejected(error, parameter("error_description"))));
    }
    let code = parameter("code").filter(|code| !code.is_empty())?;
    Some(Ok(code.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(names_issuer: bool) -> Expected {
        Expected {
            authority: "127.0.0.1:7".to_owned(),
            state: "secret".to_owned(),
            issuer: "https://a.example".to_owned(),
            names_issuer,
        }
    }

    fn get(target: &str) -> Reply {
        let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:7\r\nAccept: */*\r\n\r\n");
        reply(head.as_bytes(), &expected(false))
    }

    #[test]
    fn response_with_the_state_of_the_login_ends_it() {
        assert_eq!(get("/callback?code=a%2Fb&state=secret").end, Some(Ok("a/b".to_owned())));
        assert_eq!(get("/callback?state=secret&code=c&session_state=x").end, Some(Ok("c".to_owned())));
        let rejected = get("/callback?error=access_denied&error_description=no+way&state=secret");
        let error = rejected.end.expect("it ends the login").expect_err("it is rejected");
        assert_eq!(error.code(), Some("access_denied"));
        assert!(error.to_string().contains("`no way`"), "{error}");
    }

    #[test]
    fn other_requests_change_nothing() {
        for target in [
            "/callback?code=c&state=wrong",
            "/callback?code=c&state=secre",
            "/callback?code=c&state=secret2",
            "/callback?code=c&state=",
            "/callback?code=c",
            "/callback?error=access_denied&state=wrong",
            "/callback?error=access_denied",
            "/callback?state=secret",
            "/callback?code=&state=secret",
            "/callback?code=c&code=d&state=secret",
            "/callback?code=c&state=secret&state=secret",
            "/callback?code=c&state=wrong&state=secret",
            "/callback?code=c&state=secret&iss=https%3A%2F%2Fb.example",
            "/callback",
            "/callback/?code=c&state=secret",
            "/?code=c&state=secret",
            "http://127.0.0.1:7/callback?code=c&state=secret",
            "/favicon.ico",
        ] {
            assert_eq!(get(target).end, None, "{target}");
        }
    }

    #[test]
    fn requests_of_another_form_change_nothing() {
        let target = "/callback?code=c&state=secret";
        for head in [
            format!("POST {target} HTTP/1.1\r\nHost: 127.0.0.1:7\r\n\r\n"),
            format!("HEAD {target} HTTP/1.1\r\nHost: 127.0.0.1:7\r\n\r\n"),
            format!("GET {target} HTTP/1.1\r\n\r\n"),
            format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
            format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:8\r\n\r\n"),
            format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:7\r\nHost: evil.example\r\n\r\n"),
            format!("GET {target}\r\n\r\n"),
            format!("GET {target} HTTP/2\r\nHost: 127.0.0.1:7\r\n\r\n"),
            format!("GET {target} a HTTP/1.1\r\nHost: 127.0.0.1:7\r\n\r\n"),
            "\u{16}\u{3}\u{1}".to_owned(),
            String::new(),
        ] {
            assert_eq!(reply(head.as_bytes(), &expected(false)).end, None, "{head}");
        }
        assert_eq!(reply(b"GET /callback?code=\xff HTTP/1.1\r\n\r\n", &expected(false)).end, None);
    }

    #[test]
    fn issuer_has_to_be_named_if_the_provider_names_it() {
        let get = |query: &str| {
            let head = format!("GET /callback?{query} HTTP/1.1\r\nhost: 127.0.0.1:7\r\n\r\n");
            reply(head.as_bytes(), &expected(true)).end
        };
        assert_eq!(get("code=c&state=secret"), None);
        assert_eq!(get("code=c&state=secret&iss=https://a.example"), Some(Ok("c".to_owned())));
    }

    proptest! {
        #[test]
        fn arbitrary_requests_change_nothing(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(reply(&head, &expected(false)).end, None);
        }
    }
}
