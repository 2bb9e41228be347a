//! The sessions that a proxy has seen, so that their calls need no database.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;

use crate::session::SessionKey;

/// Maximum number of sessions that are cached. Others are read from the database.
const MAX_CACHED: usize = 100_000;

/// The way in which a client names a session: it may leave its domain out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    pub(crate) domain: Option<String>,
    pub(crate) user: String,
    pub(crate) session: String,
}

/// A session that is bound to a driver, for ever.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) driver: String,
    has_ended: AtomicBool,
    calls: AtomicUsize,
    /// Whether the session was used since [`Sessions::take_used`].
    is_used: AtomicBool,
}

impl Session {
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    pub(crate) fn set_ended(&self) {
        self.has_ended.store(true, Ordering::Release);
    }
}

/// A call of a session, until it is dropped.
#[derive(Debug)]
pub(crate) struct InUse(Arc<Session>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
pub(crate) struct Sessions {
    cache: Cache<Named, Arc<Session>>,
    used: Mutex<Vec<Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { cache: Cache::new(MAX_CACHED), used: Mutex::default() }
    }

    pub(crate) fn get(&self, named: &Named) -> Option<Arc<Session>> {
        self.cache.get(named)
    }

    /// Caches a session that is bound to a driver.
    pub(crate) fn insert(&self, named: Named, key: SessionKey, driver: String) -> Arc<Session> {
        let session = Arc::new(Session {
            key,
            driver,
            has_ended: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            is_used: AtomicBool::new(false),
        });
        self.cache.insert(named, Arc::clone(&session));
        session
    }

    /// Records that a session has ended, however its client names it.
    pub(crate) fn set_ended(&self, key: &SessionKey) {
        let SessionKey { domain, user, session } = key;
        for domain in [None, Some(domain.clone())] {
            let named = Named { domain, user: user.clone(), session: session.clone() };
            if let Some(session) = self.get(&named).filter(|session| session.key == *key) {
                session.set_ended();
            }
        }
    }

    /// Counts a call of a session until the result is dropped.
    pub(crate) fn begin_call(&self, session: &Arc<Session>) -> InUse {
        session.calls.fetch_add(1, Ordering::AcqRel);
        if !session.is_used.swap(true, Ordering::AcqRel) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(session));
        }
        InUse(Arc::clone(session))
    }

    /// Returns the sessions with calls since the last time, or now.
    pub(crate) fn take_used(&self) -> Vec<SessionKey> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = mem::take(&mut *used);
        let mut keys = Vec::with_capacity(taken.len());
        for session in taken {
            keys.push(session.key.clone());
            session.is_used.store(false, Ordering::Release);
            if session.calls.load(Ordering::Acquire) > 0 && !session.is_used.swap(true, Ordering::AcqRel) {
                used.push(session);
            }
        }
        keys
    }
}
