//! Verifies static tokens with the stored ones, which are read again every few seconds.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dcp_server::{Caller, Credential, Rejection, Verified, Verifier};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::{Store, StoredToken, TokenText};

/// Maximum time until a revoked token is rejected: once here, and once in the cache of the server.
const MAX_AGE: Duration = Duration::from_secs(5);
/// Minimum interval of reads for unknown tokens.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum time for which tokens stay valid while the database does not answer.
const MAX_AGE_OFFLINE: Duration = Duration::from_mins(1);
/// Interval at which the times of last uses are stored.
const USE_INTERVAL: Duration = Duration::from_mins(1);

/// The verifier of stored tokens.
pub struct StoredTokens {
    store: Store,
    clock: fn() -> Timestamp,
    snapshot: SyncMutex<Option<Snapshot>>,
    /// Held while the tokens are read, so that they are read once.
    reading: Mutex<Reader>,
    used: SyncMutex<HashSet<String>>,
}

#[derive(Clone)]
struct Snapshot {
    tokens: Arc<HashMap<String, StoredToken>>,
    read: Instant,
}

#[derive(Default)]
struct Reader {
    /// The last attempt.
    attempted: Option<Instant>,
    use_recorded: Option<Instant>,
}

impl fmt::Debug for StoredTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTokens").field("store", &self.store).finish_non_exhaustive()
    }
}

impl StoredTokens {
    pub fn new(store: Store, clock: fn() -> Timestamp) -> Self {
        let (snapshot, used) = (SyncMutex::default(), SyncMutex::default());
        Self { store, clock, snapshot, reading: Mutex::default(), used }
    }

    /// Returns the stored token with an id.
    async fn find(&self, id: &str) -> Result<Option<StoredToken>, Rejection> {
        let known = self.current();
        let is_fresh = |snapshot: &Snapshot| snapshot.read.elapsed() < MAX_AGE;
        if let Some(snapshot) = known.filter(is_fresh)
            && let Some(token) = snapshot.tokens.get(id)
        {
            return Ok(Some(token.clone()));
        }
        self.read().await?;
        Ok(self.current().and_then(|snapshot| snapshot.tokens.get(id).cloned()))
    }

    fn current(&self) -> Option<Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads all tokens, unless that was just done.
    async fn read(&self) -> Result<(), Rejection> {
        let mut reader = self.reading.lock().await;
        if reader.attempted.is_none_or(|at| at.elapsed() >= MIN_INTERVAL) {
            reader.attempted = Some(Instant::now());
            let begun = Instant::now();
            match self.store.list().await {
                Ok(tokens) => {
                    let tokens = tokens.into_iter().map(|token| (token.id.clone(), token)).collect();
                    let snapshot = Snapshot { tokens: Arc::new(tokens), read: begun };
                    *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
                    if reader.use_recorded.is_none_or(|at| at.elapsed() >= USE_INTERVAL) {
                        reader.use_recorded = Some(begun);
                        self.record_use().await;
                    }
                }
                Err(error) => return self.offline(&error.to_string()),
            }
        }
        // Another call may have failed to read them.
        self.offline("it did not answer just now")
    }

    /// Accepts the tokens of the last successful read for some time.
    fn offline(&self, why: &str) -> Result<(), Rejection> {
        match self.current() {
            Some(snapshot) if snapshot.read.elapsed() < MAX_AGE_OFFLINE => Ok(()),
            _ => {
                Err(Rejection::Unavailable(format!("the database of tokens can't be read: {why}; try again")))
            }
        }
    }

    /// Stores the times of the uses since the last time.
    pub(super) async fn record_use(&self) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let ids: Vec<String> = used.into_iter().collect();
        // A time that can't be stored is replaced by that of the next use.
        let _ = self.store.record_use(&ids, (self.clock)()).await;
    }
}

#[async_trait]
impl Verifier for StoredTokens {
    async fn verify(&self, token: &str) -> Result<Option<Verified>, Rejection> {
        let Ok(text) = token.parse::<TokenText>() else { return Ok(None) };
        let invalid = |why: &str| Err(Rejection::Invalid(why.to_owned()));
        let now = (self.clock)();
        // An unknown id and a wrong secret give the same answer.
        let Some(stored) = self.find(text.id()).await?.filter(|stored| stored.hash.matches(&text)) else {
            return invalid("the token is unknown");
        };
        if stored.revoked.is_some() {
            return invalid("the token was revoked; ask for a new one");
        }
        let left = match stored.expires {
            Some(expires) if expires <= now => return invalid("the token has expired; ask for a new one"),
            Some(expires) => Duration::try_from(expires.duration_since(now)).unwrap_or_default(),
            None => Duration::MAX,
        };
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(stored.id.clone());
        let caller = Caller::new(&stored.name, stored.groups, Credential::Token(stored.id.into()));
        Ok(Some(Verified { caller: caller.until(stored.expires), lifetime: MAX_AGE.min(left) }))
    }
}
