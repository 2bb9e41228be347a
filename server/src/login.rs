//! Signs a browser in by a link that works once.

use std::collections::VecDeque;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::COOKIE;
use subtle::ConstantTimeEq as _;

use crate::caller::{Caller, Credential, hash};

/// Lifetime of a link, and of a session.
const LINK_LIFETIME: Duration = Duration::from_mins(10);
const SESSION_LIFETIME: Duration = Duration::from_hours(12);
/// Maximum number of sessions. One link begins one session, so there are rarely two.
const MAX_SESSIONS: usize = 16;

/// The link of a server, and the sessions that it began. Clones share them.
#[derive(Clone)]
pub struct Login(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    code: Mutex<Option<Secret>>,
    sessions: Mutex<VecDeque<Secret>>,
}

/// The hash of a secret, and its expiry.
struct Secret {
    hash: [u8; 32],
    expiry: Instant,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Login {
    /// Creates a login for one caller, and the code of its link.
    pub fn new(name: &str) -> (Self, String) {
        let code = generate_secret();
        let stored = Mutex::new(Some(Secret::new(&code, LINK_LIFETIME)));
        let inner = Inner { name: name.into(), code: stored, sessions: Mutex::default() };
        (Self(Arc::new(inner)), code)
    }

    /// Begins a session if the code is that of the link, and expires the link. Returns the cookie to set.
    pub(crate) fn begin_session(&self, code: &[u8], port: u16, is_tls: bool) -> Option<String> {
        // A wrong code does not expire the link, or strangers could expire it.
        locked(&self.0.code).take_if(|stored| stored.matches(code))?;
        let session = generate_secret();
        let mut sessions = locked(&self.0.sessions);
        sessions.push_back(Secret::new(&session, SESSION_LIFETIME));
        while sessions.len() > MAX_SESSIONS {
            sessions.pop_front();
        }
        let (age, secure) = (SESSION_LIFETIME.as_secs(), if is_tls { "; Secure" } else { "" });
        // The name has the port, as browsers share cookies between the ports of a host.
        Some(format!(
            "{COOKIE_PREFIX}{port}={session}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age}{secure}"
        ))
    }

    /// Returns the caller of the session that a request names.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let cookies = cookies.flat_map(|value| value.split(';')).map(str::trim);
        let given = cookies
            .filter_map(|cookie| cookie.strip_prefix(COOKIE_PREFIX)?.split_once('='))
            .map(|(_, value)| value);
        let sessions = locked(&self.0.sessions);
        // Other servers of this host may have set cookies too, so only a few are checked.
        let is_known = given
            .take(MAX_SESSIONS)
            .any(|value| sessions.iter().any(|stored| stored.matches(value.as_bytes())));
        is_known.then(|| Caller::unrestricted(&self.0.name, Credential::Session))
    }
}

const COOKIE_PREFIX: &str = "dcp-session-";

impl Secret {
    fn new(secret: &str, lifetime: Duration) -> Self {
        Self { hash: hash(secret.as_bytes()), expiry: Instant::now() + lifetime }
    }

    fn matches(&self, given: &[u8]) -> bool {
        bool::from(hash(given).ct_eq(&self.hash)) && Instant::now() < self.expiry
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Generates a secret of 256 bits, in hexadecimal.
pub fn generate_secret() -> String {
    rand::random::<[u8; 32]>().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_a_wrong_code_does_not_end_it() {
        let (login, code) = Login::new("ada");
        assert!(code.len() == 64 && login.begin_session(b"wrong", 1, false).is_none());
        let cookie = login.begin_session(code.as_bytes(), 1, true).unwrap();
        assert!(cookie.contains("; HttpOnly; SameSite=Strict; ") && cookie.ends_with("; Secure"), "{cookie}");
        assert!(!cookie.contains(&code), "a session is another secret than its link");
        assert!(login.begin_session(code.as_bytes(), 1, true).is_none());
        let caller = |cookie: &str| login.caller(&HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]));
        let session = cookie.split_once(';').unwrap().0;
        let expected = Caller::unrestricted("ada", Credential::Session);
        assert_eq!(caller(&format!("a=b; dcp-session-2=x; {session}")), Some(expected));
        assert_eq!((caller("dcp-session-1="), caller(&session[..session.len() - 1])), (None, None));
        assert!(!format!("{login:?}").contains(&code));
    }

    #[test]
    fn expired_secrets_are_rejected() {
        let expired = Secret { hash: hash(b"x"), expiry: Instant::now() };
        assert!(!expired.matches(b"x") && Secret::new("x", LINK_LIFETIME).matches(b"x"));
    }
}
