//! Changes of the applications on this machine, by inotify.
//!
//! The supervisors' files show a start and an end at once. What leaves no file, such as the kill of a supervisor or the
//! address of a web interface, is found by reading the status of all live applications every [`RELIST`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::folder::Folder;
use super::status;
use crate::error::{Error, Result};
use crate::{Change, Name, Phase, Status, WatchEvent};

/// Interval of reading the status of all live applications.
const RELIST: Duration = Duration::from_secs(2);
/// The same without inotify, of which a user can have only a limited number.
const RELIST_WITHOUT_EVENTS: Duration = Duration::from_millis(500);
/// Size of the buffer for events.
const BUFFER: usize = 16 << 10;

/// Streams the changes of the applications in a folder.
pub(super) fn events(root: PathBuf) -> BoxStream<'static, Result<WatchEvent>> {
    let next = |mut watcher: Watcher| async move {
        let event = watcher.next().await?;
        Ok(Some((event, watcher)))
    };
    // Created with the first poll, within a runtime.
    let begun = async move { Ok(stream::try_unfold(Watcher::new(root), next)) };
    stream::once(begun).try_flatten().boxed()
}

/// An application that has not ended.
#[derive(Debug, Default)]
struct Live {
    /// The descriptor of the inotify watch on its folder.
    descriptor: Option<i32>,
    /// The status that was reported last.
    reported: Option<Status>,
}

#[derive(Debug)]
struct Watcher {
    root: PathBuf,
    /// None if inotify is not available.
    events: Option<Events>,
    live: BTreeMap<Name, Live>,
    pending: VecDeque<WatchEvent>,
    relist_at: Instant,
    /// True if every application that has not ended is in `live`.
    is_complete: bool,
}

impl Watcher {
    fn new(root: PathBuf) -> Self {
        let events = Events::new(&root).ok();
        let (live, pending, relist_at) = (BTreeMap::new(), VecDeque::new(), Instant::now());
        Self { root, events, live, pending, relist_at, is_complete: false }
    }

    async fn next(&mut self) -> Result<WatchEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            let changed = match &mut self.events {
                None => {
                    sleep_until(self.relist_at).await;
                    None
                }
                Some(events) => tokio::select! {
                    () = sleep_until(self.relist_at) => None,
                    changed = events.next() => Some(changed),
                },
            };
            match changed {
                Some(Ok(events)) => self.apply(events).await,
                lost_or_due => {
                    self.is_complete &= lost_or_due.is_none() && self.events.is_some();
                    self.relist().await?;
                }
            }
        }
    }

    async fn apply(&mut self, events: Vec<FileEvent>) {
        let mut changed = BTreeSet::new();
        for event in events {
            match event {
                FileEvent::Created(name) => {
                    self.add(name.clone());
                    // It may have started before its folder was watched.
                    changed.insert(name);
                }
                FileEvent::Removed(name) => {
                    if self.live.remove(&name).is_some() {
                        self.pending.push_back(WatchEvent::Changed(Change { name, status: None }));
                    }
                }
                FileEvent::Written(descriptor) => {
                    let is_of = |live: &Live| live.descriptor == Some(descriptor);
                    changed
                        .extend(self.live.iter().find(|(_, live)| is_of(live)).map(|(name, _)| name.clone()));
                }
            }
        }
        for name in changed {
            self.report(&name).await;
        }
    }

    /// Reads the status of all live applications, and finds those that are unknown yet.
    async fn relist(&mut self) -> Result<()> {
        let was_complete = self.is_complete;
        if !was_complete {
            let root = self.root.clone();
            let found = tokio::task::spawn_blocking(move || unfinished(&root)).await;
            let found = found.map_err(|error| Error::Unavailable(error.to_string()))?;
            for name in found.map_err(|error| super::files::failed(&self.root, "listed", &error))? {
                self.add(name);
            }
            self.is_complete = true;
        }
        for name in self.live.keys().cloned().collect::<Vec<_>>() {
            self.report(&name).await;
        }
        if !was_complete {
            self.pending.push_back(WatchEvent::Listed);
        }
        let pause = if self.events.is_some() { RELIST } else { RELIST_WITHOUT_EVENTS };
        self.relist_at = Instant::now() + pause;
        Ok(())
    }

    fn add(&mut self, name: Name) {
        let path = self.root.join(name.as_str());
        let live = self.live.entry(name).or_default();
        if let (None, Some(events)) = (live.descriptor, &self.events) {
            live.descriptor = events.add(&path).ok();
        }
    }

    /// Reports the status of an application if it differs from the one that was reported last.
    async fn report(&mut self, name: &Name) {
        let Some(live) = self.live.get_mut(name) else { return };
        // Without the file, the application is being created.
        let folder = Folder::new(self.root.join(name.as_str()));
        if !folder.is_complete() {
            return;
        }
        // An error is reported to callers of `get`.
        let Ok(Some(status)) = status(&folder).await else { return };
        if live.reported.as_ref() == Some(&status) {
            return;
        }
        let has_ended = status.phase == Phase::Ended;
        live.reported = Some(status.clone());
        let change = Change { name: name.clone(), status: Some(status) };
        self.pending.push_back(WatchEvent::Changed(change));
        if has_ended
            && let Some(Live { descriptor: Some(descriptor), .. }) = self.live.remove(name)
            && let Some(events) = &self.events
        {
            events.remove(descriptor);
        }
    }
}

/// Returns the names of the applications in a folder that have not ended.
fn unfinished(root: &Path) -> io::Result<Vec<Name>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
            continue;
        };
        let folder = Folder::new(entry.path());
        if folder.is_complete() && !folder.has_ended() {
            found.push(name);
        }
    }
    Ok(found)
}

/// A change in the folder of all applications, or in that of one.
#[derive(Debug)]
enum FileEvent {
    Created(Name),
    Removed(Name),
    /// A file was written in the folder of a descriptor.
    Written(i32),
}

/// The events of inotify.
#[derive(Debug)]
struct Events {
    inotify: AsyncFd<OwnedFd>,
    root: i32,
}

impl Events {
    fn new(root: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        let root = inotify::add_watch(&inotify, root, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe code; an `OwnedFd` keeps one descriptor, as it must"
        )]
        let inotify = AsyncFd::new(inotify)?;
        Ok(Self { inotify, root })
    }

    /// Watches an application's folder.
    fn add(&self, path: &Path) -> io::Result<i32> {
        // Files are complete once they are moved here, or closed.
        let flags =
            WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        Ok(inotify::add_watch(self.inotify.get_ref(), path, flags)?)
    }

    fn remove(&self, descriptor: i32) {
        // The folder may have been removed, and the watch with it.
        _ = inotify::remove_watch(self.inotify.get_ref(), descriptor);
    }

    /// Waits for events. An error means that events may have been lost.
    async fn next(&mut self) -> io::Result<Vec<FileEvent>> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let events = self.read()?;
            if !events.is_empty() {
                return Ok(events);
            }
            ready.clear_ready();
        }
    }

    /// Reads the events that are available, in their order.
    fn read(&self) -> io::Result<Vec<FileEvent>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut events = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return Ok(events),
                Err(error) => return Err(error.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                return Err(io::Error::other("events were lost"));
            }
            let file = event.file_name().map(|name| name.to_string_lossy());
            let name = || file.as_deref().and_then(|name| name.parse::<Name>().ok());
            let event = if event.wd() != self.root {
                // Reading a status closes the lock file, so that its events must not cause another read.
                let is_json = |name: &str| Path::new(name).extension().is_some_and(|it| it == "json");
                file.as_deref().filter(|name| is_json(name)).map(|_| FileEvent::Written(event.wd()))
            } else if event.events().contains(ReadFlags::CREATE) {
                name().map(FileEvent::Created)
            } else if event.events().contains(ReadFlags::DELETE) {
                name().map(FileEvent::Removed)
            } else {
                None
            };
            events.extend(event);
        }
    }
}
