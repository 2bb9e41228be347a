//! Limits how many executions of each domain wait to be started by this Runner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::Error;

/// The queues of all domains, each with the same limit. Stored executions get a permit even beyond the limit.
#[derive(Debug)]
pub(super) struct Queues {
    limit: usize,
    queued: Mutex<HashMap<String, usize>>,
}

/// A permit to wait in the queue of a domain, until this is dropped.
#[derive(Debug)]
pub(super) struct QueuePermit {
    queues: Arc<Queues>,
    domain: String,
}

impl Queues {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, queued: Mutex::default() })
    }

    fn queued(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a permit for a new execution, within the limit.
    pub(super) fn acquire(self: &Arc<Self>, domain: &str) -> Result<QueuePermit, Error> {
        let limit = self.limit;
        let mut queued = self.queued();
        let count = queued.entry(domain.to_owned()).or_default();
        if *count >= limit {
            return Err(Error::Exhausted(format!(
                "{count} executions of the domain `{domain}` wait to be started by this Runner (limit {limit}): retry \
                 later, or raise --max-queued-per-domain"
            )));
        }
        *count += 1;
        Ok(QueuePermit { queues: Arc::clone(self), domain: domain.to_owned() })
    }

    /// Acquires a permit for a stored execution, even beyond the limit.
    pub(super) fn acquire_unlimited(self: &Arc<Self>, domain: &str) -> QueuePermit {
        *self.queued().entry(domain.to_owned()).or_default() += 1;
        QueuePermit { queues: Arc::clone(self), domain: domain.to_owned() }
    }
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        let mut queued = self.queues.queued();
        if let Some(count) = queued.get_mut(&self.domain) {
            *count -= 1;
            if *count == 0 {
                queued.remove(&self.domain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_limit_applies_to_each_domain() {
        let queues = Queues::new(2);
        let (first, _second) = (queues.acquire("sales").unwrap(), queues.acquire_unlimited("sales"));
        let error = queues.acquire("sales").unwrap_err();
        assert!(matches!(&error, Error::Exhausted(message) if message.contains("(limit 2)")), "{error:?}");
        let _other = queues.acquire("logistics").unwrap();
        // Stored executions are never rejected.
        let beyond = queues.acquire_unlimited("sales");
        drop(first);
        queues.acquire("sales").unwrap_err();
        drop(beyond);
        drop(queues.acquire("sales").unwrap());
        assert_eq!(queues.queued().len(), 2);
    }
}
