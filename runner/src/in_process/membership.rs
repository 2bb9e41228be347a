//! The membership of this Runner among those that share a store.
//!
//! On one machine, a Runner holds a file lock; another Runner takes over when it can get the lock. Across machines,
//! each Runner increments a heartbeat counter in its row of `runner_runners`. A Runner whose counter does not change
//! for the length of the lease, by the observer's clock, is gone, so that no two clocks need to agree. A Runner that
//! could not send its heartbeat for two thirds of the lease stops all actions, before others take over from it.
//!
//! A takeover deletes the row. Every write that makes a Runner the owner of an execution requires the row of that
//! Runner in the same statement or transaction, so that a Runner that was paused in between can't own anything. Live
//! executions whose owner has no row are taken over by any Runner of the same location.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Options;
use crate::api::{Error, Result};
use crate::clock::{Clock, Moment};
use crate::lease::{LeaseTerm, ObservedHeartbeats};
use crate::store::Store;

/// The membership of one Runner.
#[derive(Debug)]
pub struct Membership {
    location_id: String,
    term: LeaseTerm,
    detection: FailureDetection,
    state: Mutex<MemberState>,
}

/// How members detect that another one is gone.
#[derive(Debug)]
pub enum FailureDetection {
    /// A member is gone if its lock file in this folder is not locked. Works on one machine.
    FileLocks(PathBuf),
    /// A member is gone if its heartbeat stops.
    Heartbeats,
}

#[derive(Debug)]
struct MemberState {
    id: Arc<str>,
    /// Time of the last proof that no other Runner has taken over.
    confirmed_at: Moment,
    /// Held for its lifetime only.
    _lock: Option<File>,
    heartbeats: ObservedHeartbeats<String, u64>,
}

impl Membership {
    pub(super) async fn start(store: &Store, options: &Options) -> Result<Self> {
        let detection = match &options.lock_folder {
            Some(folder) if store.is_local() => FailureDetection::FileLocks(folder.clone()),
            _ => FailureDetection::Heartbeats,
        };
        Self::join(store, detection, (&options.location_id, options.lease), Clock::default()).await
    }

    /// Makes a Runner of a location a member.
    pub async fn join(
        store: &Store,
        detection: FailureDetection,
        (location_id, lease): (&str, Duration),
        clock: Clock,
    ) -> Result<Self> {
        let state = Mutex::new(register(store, &detection, location_id, clock.now()).await?);
        let term = LeaseTerm::new(lease, clock);
        Ok(Self { location_id: location_id.to_owned(), term, detection, state })
    }

    pub fn id(&self) -> String {
        self.state().id.to_string()
    }

    /// Returns whether no other Runner can have taken over yet.
    pub fn is_valid(&self) -> bool {
        matches!(self.detection, FailureDetection::FileLocks(_))
            || self.term.may_act(self.state().confirmed_at)
    }

    /// Waits until others may have taken over.
    pub async fn wait_until_invalid(&self) {
        while self.is_valid() {
            tokio::time::sleep(self.heartbeat_interval()).await;
        }
    }

    /// Returns the interval of heartbeats and of checks for members that are gone.
    pub fn heartbeat_interval(&self) -> Duration {
        self.term.heartbeat_interval().min(Duration::from_secs(1))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, MemberState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the heartbeat. If others have taken over, the Runner joins again under a new id, and owns nothing.
    pub async fn heartbeat(&self, store: &Store) -> Result<()> {
        let (before, id) = (self.term.now(), self.id());
        let is_member = match self.detection {
            // Its lock is its heartbeat, but somebody may have removed the file.
            FailureDetection::FileLocks(_) => store.is_member(&id).await?,
            FailureDetection::Heartbeats => store.heartbeat(&id).await?,
        };
        if is_member {
            self.state().confirmed_at = before;
        } else {
            let again = register(store, &self.detection, &self.location_id, self.term.now()).await?;
            *self.state() = again;
        }
        Ok(())
    }

    /// Takes over from all Runners of this location that are gone. Returns whether there were any.
    pub async fn take_over(&self, store: &Store) -> Result<bool> {
        let me = self.id();
        let all = store.members().await?;
        self.state().heartbeats.retain(|id| all.iter().any(|(member, _)| member == id));
        let mut any = false;
        for (other, heartbeat) in all.iter().filter(|(id, _)| *id != me && self.is_same_location(id)) {
            let gone = match &self.detection {
                FailureDetection::FileLocks(folder) => is_lock_free(folder, other),
                FailureDetection::Heartbeats => {
                    let is_silent = self.state().heartbeats.is_silent(other.clone(), *heartbeat, &self.term);
                    is_silent || *heartbeat == LEFT_HEARTBEAT
                }
            };
            if !gone || !store.take_over((other, *heartbeat), &me).await? {
                continue;
            }
            any = true;
            if let FailureDetection::FileLocks(folder) = &self.detection {
                // The file may be gone already; if it stays, it does no harm.
                let _ = std::fs::remove_file(lock_path(folder, other));
            }
        }
        Ok(any)
    }

    /// Takes over the live executions of this location whose owner is no member. Returns whether there were any.
    pub async fn adopt_orphans(&self, store: &Store) -> Result<bool> {
        let mut any = false;
        for owner in store.absent_owners().await?.iter().filter(|owner| self.is_same_location(owner)) {
            any |= store.adopt(owner, &self.id()).await?;
        }
        Ok(any)
    }

    /// Returns whether a Runner belongs to this location. The state of a process at another location is unknown here.
    fn is_same_location(&self, id: &str) -> bool {
        id.rsplit_once('-').is_some_and(|(location_id, _)| location_id == self.location_id)
    }

    /// Leaves, so that others take over at once.
    pub async fn leave(&self, store: &Store) -> Result<()> {
        let id = self.id();
        store.leave(&id, LEFT_HEARTBEAT).await?;
        if let FailureDetection::FileLocks(folder) = &self.detection {
            let _ = std::fs::remove_file(lock_path(folder, &id));
        }
        Ok(())
    }
}

/// The heartbeat of a Runner that has left.
const LEFT_HEARTBEAT: u64 = i64::MAX as u64;

async fn register(
    store: &Store,
    detection: &FailureDetection,
    location_id: &str,
    confirmed_at: Moment,
) -> Result<MemberState> {
    let id = format!("{location_id}-{:032x}", rand::random::<u128>());
    // The lock comes first, because a member without a lock counts as gone.
    let lock = match detection {
        FailureDetection::FileLocks(folder) => Some(lock(folder, &id)?),
        FailureDetection::Heartbeats => None,
    };
    store.register(&id).await?;
    Ok(MemberState { id: id.into(), confirmed_at, _lock: lock, heartbeats: ObservedHeartbeats::default() })
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
fn is_lock_free(folder: &Path, id: &str) -> bool {
    // Ids come from the database and must not become paths.
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return false;
    }
    match OpenOptions::new().write(true).open(lock_path(folder, id)) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
