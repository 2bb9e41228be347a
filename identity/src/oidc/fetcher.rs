//! The known keys of a provider, which a task fetches on a timer and when a token has an unknown key.

use std::sync::Arc;
use std::time::Duration;

use dcp_server::Rejection;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::algorithm::Algorithm;
use super::keys::{KeySet, Unverified};
use super::provider::Provider;
use super::schedule::Schedule;
use crate::Log;
use crate::jwt::Jwt;

/// Maximum number of calls that wait for a fetch. Others are rejected at once.
const MAX_WAITING: usize = 64;
/// Time after the two requests of a fetch until a waiting call gives up.
const GRACE: Duration = Duration::from_secs(1);

/// Keeps the keys of a provider up to date until it is dropped.
#[derive(Debug)]
pub(super) struct Fetcher {
    issuer: String,
    schedule: Schedule,
    state: watch::Receiver<State>,
    /// Wakes the task before its time.
    wake: Arc<Notify>,
    waiting: Semaphore,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// The keys of the last fetch that succeeded.
    keys: Option<Arc<KeySet>>,
    /// The cause, if the last fetch failed.
    failure: Option<String>,
    /// Failures since the last success.
    failures: u32,
    begun: Option<Instant>,
    is_fetching: bool,
    /// Number of fetches that have ended.
    ended: u64,
}

impl Fetcher {
    /// Fetches keys, now and on a timer, in a task of the current runtime.
    pub(super) fn start(issuer: String, provider: Provider, schedule: Schedule, log: Log) -> Self {
        let (sender, state) = watch::channel(State { is_fetching: true, ..State::default() });
        let wake = Arc::new(Notify::new());
        let task = run(issuer.clone(), provider, schedule, sender, Arc::clone(&wake), log);
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        Self { issuer, schedule, state, wake, waiting: Semaphore::new(MAX_WAITING), _task: task }
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Returns the state after a fetch that ended later than `known`. Callers cause few fetches, and share them.
    pub(super) async fn fetch(&self, known: &State) -> Result<State, Rejection> {
        let Ok(_permit) = self.waiting.try_acquire() else {
            return Err(self.unavailable("too many calls wait for its keys; retry later"));
        };
        let mut state = self.state.clone();
        let current = state.borrow().clone();
        if current.ended == known.ended && !current.is_fetching {
            let since_last = current.begun.map(|begun| begun.elapsed());
            if let Some(rest) = self.schedule.remaining(since_last) {
                return Err(self.unavailable(&waits(&current, rest)));
            }
            self.wake.notify_one();
        }
        let ended = state.wait_for(|state| state.ended > known.ended);
        match timeout(2 * self.schedule.timeout + GRACE, ended).await {
            Ok(Ok(state)) => Ok(state.clone()),
            _ => Err(self.unavailable("its keys are not fetched in time; retry later")),
        }
    }

    /// Returns the rejection of a token that no key of a state verifies.
    pub(super) fn rejection(&self, state: &State) -> Rejection {
        match &state.failure {
            Some(why) => self.unavailable(why),
            None => Rejection::Invalid(format!(
                "no key of the issuer `{}` fits the token; get a new one from the provider",
                self.issuer
            )),
        }
    }

    fn unavailable(&self, why: &str) -> Rejection {
        Rejection::Unavailable(format!("tokens of the issuer `{}` can't be verified now: {why}", self.issuer))
    }
}

/// Explains why no fetch begins.
fn waits(state: &State, rest: Duration) -> String {
    match &state.failure {
        Some(why) => why.clone(),
        None => {
            let seconds = rest.as_secs() + 1;
            format!("the key of the token is unknown, and keys are fetched again in {seconds} s; retry then")
        }
    }
}

async fn run(
    issuer: String,
    provider: Provider,
    schedule: Schedule,
    state: watch::Sender<State>,
    wake: Arc<Notify>,
    log: Log,
) {
    loop {
        let begun = Instant::now();
        state.send_modify(|state| {
            state.begun = Some(begun);
            state.is_fetching = true;
        });
        let fetched = provider.keys().await;
        let mut message = None;
        state.send_modify(|state| message = state.end(&issuer, fetched));
        if let Some(message) = message {
            log(&message);
        }
        let due = begun + schedule.pause(state.borrow().failures);
        loop {
            tokio::select! {
                () = sleep_until(due) => break,
                () = wake.notified() => if schedule.remaining(Some(begun.elapsed())).is_none() { break },
            }
        }
    }
}

impl State {
    pub(super) fn verify(&self, jwt: &Jwt<'_>, algorithm: Algorithm) -> Result<(), Unverified> {
        self.keys.as_ref().map_or(Err(Unverified::UnknownKey), |keys| keys.verify(jwt, algorithm))
    }

    /// Records the end of a fetch. A failure leaves the keys as they are. Returns a message if the cause of failures
    /// has changed.
    fn end(&mut self, issuer: &str, fetched: Result<KeySet, String>) -> Option<String> {
        self.is_fetching = false;
        self.ended += 1;
        match fetched {
            Ok(keys) => {
                let is_news = self.failure.take().is_some();
                let was_usable = self.keys.as_ref().is_none_or(|keys| !keys.is_empty());
                self.failures = 0;
                let message = match (keys.is_empty(), was_usable, is_news) {
                    (true, true, _) => Some(format!(
                        "the issuer `{issuer}` has no key for signatures that dcp can use; its tokens are rejected"
                    )),
                    (false, false, _) | (_, _, true) => {
                        Some(format!("the keys of the issuer `{issuer}` were fetched"))
                    }
                    _ => None,
                };
                self.keys = Some(Arc::new(keys));
                message
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                let effect = match self.keys {
                    Some(_) => "known keys stay in use",
                    None => "its tokens can't be verified",
                };
                let is_news = self.failure.as_ref() != Some(&why);
                let message = is_news.then(|| {
                    format!("the keys of the issuer `{issuer}` can't be fetched, so {effect}: {why}")
                });
                self.failure = Some(why);
                message
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &str) -> Result<KeySet, String> {
        KeySet::read(keys.as_bytes())
    }

    const EMPTY: &str = r#"{"keys": []}"#;
    const ONE: &str =
        r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    #[test]
    fn each_cause_of_failures_is_reported_once() {
        let mut state = State::default();
        let mut told = |fetched| state.end("corp", fetched).is_some();
        let failure = |why: &str| Err(why.to_owned());
        assert!(!told(set(ONE)));
        assert!(told(failure("a")) && !told(failure("a")) && told(failure("b")) && !told(failure("b")));
        assert!(told(set(ONE)) && !told(set(ONE)));
        assert!(told(set(EMPTY)) && !told(set(EMPTY)));
        assert!(told(set(ONE)) && !told(set(ONE)));
    }

    #[test]
    fn failure_leaves_the_keys_in_use_and_a_success_replaces_them() {
        let mut state = State::default();
        state.end("corp", Err("a".to_owned()));
        assert!(state.keys.is_none() && state.failures == 1);
        state.end("corp", set(ONE));
        assert!(state.failures == 0 && state.failure.is_none());
        state.end("corp", Err("a".to_owned()));
        assert!(state.keys.as_ref().is_some_and(|keys| !keys.is_empty()) && state.failures == 1);
        state.end("corp", set(EMPTY));
        assert!(state.keys.as_ref().is_some_and(|keys| keys.is_empty()));
    }
}
