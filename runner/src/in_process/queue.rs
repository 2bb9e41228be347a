//! Limits how many executions of each domain wait to be started by this Runner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::Error;

/// The queues of all domains. Stored executions get a permit even beyond the limit.
#[derive(Debug)]
pub(super) struct Queues {
    /// The limit of a domain for which the policy has none.
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

    /// Acquires a permit for a new execution, within the limit of the policy, or else that of the Runner.
    pub(super) fn acquire(self: &Arc<Self>, domain: &str, policy: Option<u32>) -> Result<QueuePermit, Error> {
        let (limit, name) = match policy.and_then(|limit| usize::try_from(limit).ok()) {
            Some(limit) => (limit, "`queued` in the limits of the policy"),
            None => (self.limit, "--max-queued-per-domain"),
        };
        let mut queued = self.queued();
        let count = queued.get(domain).copied().unwrap_or_default();
        if count >= limit {
            let message = format!(
                "{count} executions of the domain `{domain}` wait to be started by this Runner (limit {limit}): retry \
                 later, or raise {name}"
            );
            return Err(Error::Exhausted { message, retry_after: None });
        }
        queued.insert(domain.to_owned(), count + 1);
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
        let (first, _second) = (queues.acquire("sales", None).unwrap(), queues.acquire_unlimited("sales"));
        let error = queues.acquire("sales", None).unwrap_err();
        assert!(
            matches!(&error, Error::Exhausted { message, .. } if message.contains("(limit 2)")),
            "{error:?}"
        );
        let _other = queues.acquire("logistics", None).unwrap();
        // Stored executions are never rejected.
        let beyond = queues.acquire_unlimited("sales");
        drop(first);
        queues.acquire("sales", None).unwrap_err();
        drop(beyond);
        drop(queues.acquire("sales", None).unwrap());
        assert_eq!(queues.queued().len(), 2);
    }

    #[test]
    fn the_limit_of_the_policy_replaces_that_of_the_runner() {
        let queues = Queues::new(2);
        let _permits: Vec<_> = (0..3).map(|_| queues.acquire("sales", Some(3)).unwrap()).collect();
        let error = queues.acquire("sales", Some(3)).unwrap_err().to_string();
        assert!(error.contains("(limit 3)") && error.contains("`queued`"), "{error}");
        let _lower = queues.acquire("logistics", Some(1)).unwrap();
        queues.acquire("logistics", Some(1)).unwrap_err();
        // A rejected submit leaves nothing behind.
        queues.acquire("hostile", Some(0)).unwrap_err();
        assert_eq!(queues.queued().len(), 2);
    }
}
