//! Limits how many attempts are alive at once on a backend.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// The slots of a backend. Attempts that are alive when a Runner takes them over get a slot even beyond the limit; then
/// no other attempt starts until enough slots are free.
#[derive(Debug)]
pub(super) struct Slots {
    free: Semaphore,
    /// Number of slots that are taken beyond the limit.
    excess: Mutex<usize>,
}

/// A slot that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let free = Semaphore::new(limit.min(Semaphore::MAX_PERMITS));
        Arc::new(Self { free, excess: Mutex::new(0) })
    }

    fn excess(&self) -> MutexGuard<'_, usize> {
        self.excess.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot for an attempt that is alive already.
    pub(super) fn occupy(self: &Arc<Self>) -> Slot {
        let mut excess = self.excess();
        match self.free.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => *excess += 1,
        }
        Slot(Arc::clone(self))
    }

    /// Takes a slot if one is free.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Slot> {
        self.free.try_acquire().ok()?.forget();
        Some(Slot(Arc::clone(self)))
    }

    /// Waits for a slot. Returns none if the slots are closed.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Slot> {
        self.free.acquire().await.ok()?.forget();
        Some(Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut excess = self.0.excess();
        match *excess {
            0 => self.0.free.add_permits(1),
            some => *excess = some - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Any order of takeovers, starts and ends.
        #[test]
        fn nothing_is_started_while_the_limit_is_reached(
            limit in 0..4_usize, steps in proptest::collection::vec((0..3_u8, any::<usize>()), 0..60),
        ) {
            let (slots, mut taken) = (Slots::new(limit), Vec::new());
            for (step, which) in steps {
                match step {
                    0 => taken.push(slots.occupy()),
                    1 => {
                        let before = taken.len();
                        let slot = slots.try_take();
                        prop_assert_eq!(slot.is_some(), before < limit);
                        taken.extend(slot);
                    }
                    _ if taken.is_empty() => {}
                    _ => drop(taken.swap_remove(which % taken.len())),
                }
                let (free, excess) = (slots.free.available_permits(), *slots.excess());
                prop_assert_eq!(limit - free + excess, taken.len());
            }
        }
    }
}
