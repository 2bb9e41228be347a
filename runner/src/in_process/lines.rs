//! Order of the executions that wait for the limit of their domain, at this Runner.
//!
//! The first execution of a line tries to start, and those behind it wait. Executions that wait for other things are in
//! different lines: those of another domain or backend, and those that need no slot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dcp_model::manifest::Backend;

use super::Task;
use crate::execution::Id;

/// The lines of all domains with a limit.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<BTreeMap<Key, BTreeMap<Id, Arc<Task>>>>);

/// What all executions of a line wait for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) domain: String,
    pub(super) backend: Backend,
    pub(super) needs_slot: bool,
}

/// A place in a line, until this is dropped. Lower ids, which are older, come first.
#[derive(Debug)]
pub(super) struct Place {
    lines: Arc<Lines>,
    key: Key,
    id: Id,
}

impl Lines {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<Key, BTreeMap<Id, Arc<Task>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an execution to a line. Its task is woken when it becomes the first one.
    pub(super) fn join(self: &Arc<Self>, key: Key, id: &Id, task: &Arc<Task>) -> Place {
        self.lines().entry(key.clone()).or_default().insert(id.clone(), Arc::clone(task));
        Place { lines: Arc::clone(self), key, id: id.clone() }
    }
}

impl Place {
    pub(super) fn is_first(&self) -> bool {
        let lines = self.lines.lines();
        lines.get(&self.key).and_then(BTreeMap::first_key_value).is_some_and(|(first, _)| *first == self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.lines();
        let Some(line) = lines.get_mut(&self.key) else { return };
        line.remove(&self.id);
        match line.first_key_value() {
            // Waking one that is first already makes it try again.
            Some((_, next)) => next.wake.notify_one(),
            None => {
                lines.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn key(domain: &str) -> Key {
        Key { domain: domain.to_owned(), backend: Backend::Local, needs_slot: true }
    }

    async fn is_woken(task: &Task) -> bool {
        timeout(Duration::from_millis(10), task.wake.notified()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_execution_of_a_line_is_first_and_the_next_one_is_woken() {
        let lines = Arc::new(Lines::default());
        let tasks = ["a", "b", "c"].map(|_| Arc::new(Task::new(1)));
        let id = |text: &str| Id::parse(text).unwrap();
        let b = lines.join(key("sales"), &id("b"), &tasks[1]);
        let other = lines.join(key("logistics"), &id("c"), &tasks[2]);
        assert!(b.is_first() && other.is_first(), "domains don't wait for each other");
        let a = lines.join(key("sales"), &id("a"), &tasks[0]);
        let c = lines.join(key("sales"), &id("c"), &tasks[2]);
        assert_eq!([a.is_first(), b.is_first(), c.is_first()], [true, false, false]);
        drop(a);
        assert!(b.is_first() && is_woken(&tasks[1]).await && !is_woken(&tasks[2]).await);
        // One that is cancelled leaves the line.
        drop(b);
        assert!(c.is_first() && is_woken(&tasks[2]).await);
        drop((c, other));
        assert!(lines.lines().is_empty());
    }
}
