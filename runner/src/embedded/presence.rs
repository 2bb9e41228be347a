//! The membership of this Runner among those that share a store.
//!
//! On one machine, a Runner holds a file lock; another Runner takes over when it can get the lock. Across machines,
//! each Runner increments a heartbeat counter in its row of `runner_runners`. A Runner whose counter does not change
//! for the length of the lease, by the observer's clock, is gone, so that no two clocks need to agree. A Runner that
//! could not send its heartbeat for two thirds of the lease stops all actions, before others take over from it.
//!
//! A takeover deletes the row. Every write that makes a Runner the owner of an execution requires the row of that
//! Runner in the same statement or transaction, so that a Runner that was paused in between can't own anything. Live
//! executions whose owner has no row are taken over by any Runner of the same place.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Options;
use crate::api::{Error, Result};
use crate::clock::{Clock, Moment};
use crate::store::Store;

/// The membership of one Runner.
#[derive(Debug)]
pub struct Presence {
    place: String,
    lease: Duration,
    way: Way,
    clock: Clock,
    present: Mutex<Present>,
}

/// The way in which members detect that another one is gone.
#[derive(Debug)]
pub enum Way {
    /// A member is gone if its lock file in this folder is not locked. Works on one machine.
    Locks(PathBuf),
    /// A member is gone if its heartbeat stops.
    Beats,
}

#[derive(Debug)]
struct Present {
    id: Arc<str>,
    /// Time of the last proof that no other Runner has taken over.
    known: Moment,
    /// Held for its lifetime only.
    _lock: Option<File>,
    /// The last heartbeat of each other member, and when it was first seen.
    heard: HashMap<String, (u64, Moment)>,
}

impl Presence {
    pub(super) async fn begin(store: &Store, options: &Options) -> Result<Self> {
        let way = match &options.locks {
            Some(folder) if store.is_local() => Way::Locks(folder.clone()),
            _ => Way::Beats,
        };
        Self::join(store, way, (&options.place, options.lease), Clock::default()).await
    }

    /// Makes a Runner of a place a member.
    pub async fn join(
        store: &Store,
        way: Way,
        (place, lease): (&str, Duration),
        clock: Clock,
    ) -> Result<Self> {
        let present = Mutex::new(join(store, &way, place, &clock).await?);
        Ok(Self { place: place.to_owned(), lease, way, clock, present })
    }

    pub fn id(&self) -> String {
        self.present().id.to_string()
    }

    /// Returns whether no other Runner can have taken over yet.
    pub fn holds(&self) -> bool {
        matches!(self.way, Way::Locks(_)) || self.clock.elapsed(self.present().known) < self.lease * 2 / 3
    }

    /// Waits until others may have taken over.
    pub async fn lost(&self) {
        while self.holds() {
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Returns the interval of heartbeats and of checks for members that are gone.
    pub fn pause(&self) -> Duration {
        (self.lease / 5).min(Duration::from_secs(1))
    }

    fn present(&self) -> std::sync::MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the heartbeat. If others have taken over, the Runner joins again under a new id, and owns nothing.
    pub async fn beat(&self, store: &Store) -> Result<()> {
        let (before, id) = (self.clock.now(), self.id());
        let is_member = match self.way {
            // Its lock is its heartbeat, but somebody may have removed the file.
            Way::Locks(_) => store.is_member(&id).await?,
            Way::Beats => store.beat(&id).await?,
        };
        if is_member {
            self.present().known = before;
        } else {
            let again = join(store, &self.way, &self.place, &self.clock).await?;
            *self.present() = again;
        }
        Ok(())
    }

    /// Takes over from all Runners of this place that are gone. Returns whether there were any.
    pub async fn take_over(&self, store: &Store) -> Result<bool> {
        let me = self.id();
        let all = store.runners().await?;
        self.present().heard.retain(|id, _| all.iter().any(|(there, _)| there == id));
        let mut any = false;
        for (other, beat) in all.iter().filter(|(id, _)| *id != me && self.is_of_this_place(id)) {
            let gone = match &self.way {
                Way::Locks(folder) => is_free(folder, other),
                Way::Beats => self.is_silent(other, *beat),
            };
            if !gone || !store.take_over((other, *beat), &me).await? {
                continue;
            }
            any = true;
            if let Way::Locks(folder) = &self.way {
                // The file may be gone already; if it stays, it does no harm.
                let _ = std::fs::remove_file(lock_path(folder, other));
            }
        }
        Ok(any)
    }

    /// Takes over the live executions of this place whose owner is no member. Returns whether there were any.
    pub async fn sweep(&self, store: &Store) -> Result<bool> {
        let mut any = false;
        for owner in store.absent_owners().await?.iter().filter(|owner| self.is_of_this_place(owner)) {
            any |= store.adopt(owner, &self.id()).await?;
        }
        Ok(any)
    }

    /// Returns whether a Runner belongs to this place. The state of a process at another place is unknown here.
    fn is_of_this_place(&self, id: &str) -> bool {
        id.rsplit_once('-').is_some_and(|(place, _)| place == self.place)
    }

    fn is_silent(&self, other: &str, beat: u64) -> bool {
        let now = self.clock.now();
        let mut present = self.present();
        let heard = present.heard.entry(other.to_owned()).or_insert_with(|| (beat, now));
        if heard.0 != beat {
            *heard = (beat, now);
        }
        beat == LEFT || now.since(heard.1) > self.lease
    }

    /// Leaves, so that others take over at once.
    pub async fn leave(&self, store: &Store) -> Result<()> {
        let id = self.id();
        store.leave(&id, LEFT).await?;
        if let Way::Locks(folder) = &self.way {
            let _ = std::fs::remove_file(lock_path(folder, &id));
        }
        Ok(())
    }
}

/// The heartbeat of a Runner that has left.
const LEFT: u64 = i64::MAX as u64;

async fn join(store: &Store, way: &Way, place: &str, clock: &Clock) -> Result<Present> {
    let id = format!("{place}-{:032x}", rand::random::<u128>());
    // The lock comes first, because a member without a lock counts as gone.
    let lock = match way {
        Way::Locks(folder) => Some(lock(folder, &id)?),
        Way::Beats => None,
    };
    let known = clock.now();
    store.register(&id).await?;
    Ok(Present { id: id.into(), known, _lock: lock, heard: HashMap::new() })
}

fn lock_path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("runner-{id}.lock"))
}

fn lock(folder: &Path, id: &str) -> Result<File> {
    let path = lock_path(folder, id);
    let failed =
        |error: io::Error| Error::Unavailable(format!("`{}` can't be made: {error}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed(io::ErrorKind::WouldBlock.into())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Returns whether a Runner's lock is free.
fn is_free(folder: &Path, id: &str) -> bool {
    // Ids come from the database and must not become paths.
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return false;
    }
    match OpenOptions::new().write(true).open(lock_path(folder, id)) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
