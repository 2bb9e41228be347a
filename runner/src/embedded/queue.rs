//! Limits how many executions of each domain wait to be started by this Runner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::Error;

/// The queues of all domains, each with the same limit. Stored executions get a place even beyond the limit.
#[derive(Debug)]
pub(super) struct Queues {
    limit: usize,
    queued: Mutex<HashMap<String, usize>>,
}

/// A place in the queue of a domain, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
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

    /// Takes a place for an execution that is new.
    pub(super) fn enter(self: &Arc<Self>, domain: &str) -> Result<Place, Error> {
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
        Ok(Place { queues: Arc::clone(self), domain: domain.to_owned() })
    }

    /// Takes a place for an execution that is stored already.
    pub(super) fn admit(self: &Arc<Self>, domain: &str) -> Place {
        *self.queued().entry(domain.to_owned()).or_default() += 1;
        Place { queues: Arc::clone(self), domain: domain.to_owned() }
    }
}

impl Drop for Place {
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
    fn queue_of_a_domain_is_limited_and_others_are_not_concerned() {
        let queues = Queues::new(2);
        let (first, _second) = (queues.enter("sales").unwrap(), queues.admit("sales"));
        let error = queues.enter("sales").unwrap_err();
        assert!(matches!(&error, Error::Exhausted(said) if said.contains("(limit 2)")), "{error:?}");
        let _other = queues.enter("logistics").unwrap();
        // Stored executions are never rejected.
        let beyond = queues.admit("sales");
        drop(first);
        queues.enter("sales").unwrap_err();
        drop(beyond);
        drop(queues.enter("sales").unwrap());
        assert_eq!(queues.queued().len(), 2);
    }
}
