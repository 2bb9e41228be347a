//! This Runner among those that share a store: who is there, and who is gone.
//!
//! On one machine, a Runner holds a lock, and the lock of one that is gone can be had. Across machines, each counts
//! up a beat, and one whose beat stands still for as long as the lease lasts is gone: measured by the clock of the one
//! who looks, so that no two clocks need to agree. Whoever was not able to beat for most of a lease does nothing any
//! more, long before others take over from it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Options;
use crate::api::{Error, Result};
use crate::store::Store;

#[derive(Debug)]
pub(super) struct Presence {
    place: String,
    lease: Duration,
    way: Way,
    present: Mutex<Present>,
}

/// How others are told that this one is there.
#[derive(Debug)]
enum Way {
    /// By a lock in this folder.
    Locks(PathBuf),
    Beats,
}

#[derive(Debug)]
struct Present {
    id: Arc<str>,
    /// When it was last known that nobody has taken over.
    known: Instant,
    /// Held, and never looked at.
    _lock: Option<File>,
    /// The last beat of each other one, and since when it is that.
    heard: HashMap<String, (u64, Instant)>,
}

impl Presence {
    pub(super) async fn begin(store: &Store, options: &Options) -> Result<Self> {
        let way = match &options.locks {
            Some(folder) if store.is_local() => Way::Locks(folder.clone()),
            _ => Way::Beats,
        };
        let (place, lease) = (options.place.clone(), options.lease);
        let present = Mutex::new(join(store, &way, &place).await?);
        Ok(Self { place, lease, way, present })
    }

    pub(super) fn id(&self) -> String {
        self.present().id.to_string()
    }

    /// Whether nobody can have taken over.
    pub(super) fn holds(&self) -> bool {
        matches!(self.way, Way::Locks(_)) || self.present().known.elapsed() < self.lease * 2 / 3
    }

    /// Waits until others may have taken over.
    pub(super) async fn lost(&self) {
        while self.holds() {
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// How often to say that it is there, and to look for others.
    pub(super) fn pause(&self) -> Duration {
        (self.lease / 5).min(Duration::from_secs(1))
    }

    fn present(&self) -> std::sync::MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it is there. Where others have taken over, it comes back as another one, and owns nothing.
    pub(super) async fn beat(&self, store: &Store) -> Result<()> {
        let (before, id) = (Instant::now(), self.id());
        if matches!(self.way, Way::Beats) && !store.beat(&id).await? {
            let again = join(store, &self.way, &self.place).await?;
            *self.present() = again;
            return Ok(());
        }
        self.present().known = before;
        Ok(())
    }

    /// Takes over from all that are gone.
    pub(super) async fn take_over(&self, store: &Store) -> Result<()> {
        let me = self.id();
        let all = store.runners().await?;
        self.present().heard.retain(|id, _| all.iter().any(|(there, _)| there == id));
        let here = |id: &str| id.rsplit_once('-').is_some_and(|(place, _)| place == self.place);
        for (other, beat) in all.iter().filter(|(id, _)| *id != me && here(id)) {
            let gone = match &self.way {
                Way::Locks(folder) => is_free(folder, other),
                Way::Beats => self.is_silent(other, *beat),
            };
            if gone
                && store.take_over((other, *beat), &me).await?
                && let Way::Locks(folder) = &self.way
            {
                // It may be gone already, and does no harm where it is not.
                let _ = std::fs::remove_file(lock_path(folder, other));
            }
        }
        Ok(())
    }

    fn is_silent(&self, other: &str, beat: u64) -> bool {
        let mut present = self.present();
        let heard = present.heard.entry(other.to_owned()).or_insert_with(|| (beat, Instant::now()));
        if heard.0 != beat {
            *heard = (beat, Instant::now());
        }
        beat == LEFT || heard.1.elapsed() > self.lease
    }

    /// Has others take over at once.
    pub(super) async fn leave(&self, store: &Store) -> Result<()> {
        let id = self.id();
        store.leave(&id, LEFT).await?;
        if let Way::Locks(folder) = &self.way {
            let _ = std::fs::remove_file(lock_path(folder, &id));
        }
        Ok(())
    }
}

/// The beat of one that has left.
const LEFT: u64 = i64::MAX as u64;

async fn join(store: &Store, way: &Way, place: &str) -> Result<Present> {
    let id = format!("{place}-{:032x}", rand::random::<u128>());
    // The lock first: one that is known and has none is gone.
    let lock = match way {
        Way::Locks(folder) => Some(lock(folder, &id)?),
        Way::Beats => None,
    };
    let known = Instant::now();
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
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed(io::ErrorKind::WouldBlock.into())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Whether nobody holds a Runner's lock.
fn is_free(folder: &Path, id: &str) -> bool {
    // A name in a database is no path.
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return false;
    }
    match OpenOptions::new().write(true).open(lock_path(folder, id)) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
