//! An application's folder. All reads and writes of its files are here.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::files::{failed, make_private};
use super::launch::Launch;
use super::secrets::Secrets;
use crate::error::{Error, Result};
use crate::{End, SparkApplication, regular};

/// The name of the file [`Folder::settings`].
pub(super) const SETTINGS_FILE: &str = "spark.properties";
/// Maximum size of a file of an application that is read whole.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// A request to stop an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stop {
    pub(super) grace_millis: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Started {
    at: Timestamp,
}

/// The part of a log that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dropped {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) limit: u64,
}

/// The supervisor's lock. The system releases it when the supervisor ends, in whatever way.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, and never looked at")] File);

/// Removes the rights of other users from everything in a folder; links are not followed.
fn make_private_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() {
            make_private_below(&entry.path());
        }
        if about.is_dir() || about.is_file() {
            let mode = Permissions::from_mode(about.permissions().mode() & 0o700);
            _ = std::fs::set_permissions(entry.path(), mode);
        }
    }
}

/// Returns the options for files that are written in place: private, without following a link, and without waiting
/// for the reader of a FIFO.
fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("driver.log")
    }

    pub(super) fn events(&self) -> PathBuf {
        self.0.join("events")
    }

    pub(super) fn event_log_url(&self) -> String {
        format!("file://{}", self.events().display())
    }

    /// Returns the URL of Spark's event log, if it is written into this folder.
    pub(super) fn event_log(&self) -> Option<String> {
        let launch = self.launch().ok()??;
        launch.event_log.then(|| self.event_log_url())
    }

    /// The location of tables without one of their own: beside the folders of all applications, not in the
    /// project.
    pub(super) fn warehouse(&self) -> PathBuf {
        self.0.with_file_name("warehouse")
    }

    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Writes the application and its command. Both are complete before a supervisor can start.
    pub(super) fn create(&self, application: &SparkApplication, launch: &Launch) -> Result<()> {
        // Spark writes its event log only into a folder that exists.
        let events = self.events();
        make_private(&events).map_err(|error| failed(&events, "made", &error))?;
        self.write("launch.json", launch)?;
        if !launch.secrets.is_empty() {
            self.write("secrets.json", &launch.secrets)?;
        }
        for (path, text) in &launch.files {
            self.replace(path, text.as_bytes())?;
        }
        self.write("application.json", application)
    }

    /// Returns true if everything was written that a supervisor needs.
    pub(super) fn is_complete(&self) -> bool {
        self.0.join("application.json").exists()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.join("end.json").exists()
    }

    pub(super) fn application(&self) -> Result<Option<SparkApplication>> {
        self.read("application.json")
    }

    pub(super) fn launch(&self) -> Result<Option<Launch>> {
        self.read("launch.json")
    }

    /// The driver's working folder, if the application has files or archives.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The file of Spark's settings that contain secrets.
    pub(super) fn settings(&self) -> PathBuf {
        self.0.join(SETTINGS_FILE)
    }

    /// Writes the files that contain secrets; they are removed when the application has ended.
    pub(super) fn write_secret_files(&self, secrets: &Secrets) -> Result<()> {
        secrets.files.iter().try_for_each(|(name, text)| self.replace(name, text.as_bytes()))
    }

    /// Removes Spark's settings with secrets once Spark writes its event log: it has read them by then.
    pub(super) fn forget_settings_once_read(&self) {
        let writes = std::fs::read_dir(self.events()).is_ok_and(|mut entries| entries.next().is_some());
        if writes {
            _ = self.remove(SETTINGS_FILE);
        }
    }

    /// Returns the secrets of the application, and removes them from the disk.
    pub(super) fn take_secrets(&self) -> Result<Secrets> {
        let secrets = self.read("secrets.json")?.unwrap_or_default();
        self.remove("secrets.json")?;
        Ok(secrets)
    }

    pub(super) fn end(&self) -> Result<Option<End>> {
        self.read("end.json")
    }

    pub(super) fn write_end(&self, end: &End) -> Result<()> {
        self.remove("secrets.json")?;
        let launch = self.launch().ok().flatten();
        for name in launch.iter().flat_map(|launch| &launch.secret_files) {
            self.remove(name)?;
        }
        self.write("end.json", end)
    }

    pub(super) fn dropped(&self) -> Result<Option<Dropped>> {
        self.read("log.json")
    }

    pub(super) fn write_dropped(&self, dropped: &Dropped) -> Result<()> {
        self.write("log.json", dropped)
    }

    pub(super) fn remove_dropped(&self) -> Result<()> {
        self.remove("log.json")
    }

    /// Returns the control group that the supervisor recorded.
    pub(super) fn cgroup(&self) -> Result<Option<PathBuf>> {
        let path = self.0.join("cgroup");
        match regular::read(&path, MAX_FILE_BYTES) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(|bytes| Some(std::ffi::OsString::from_vec(bytes).into())),
        }
        .map_err(|error| failed(&path, "read", &error))
    }

    pub(super) fn write_cgroup(&self, group: &Path) -> Result<()> {
        self.replace("cgroup", group.as_os_str().as_bytes())
    }

    /// Makes the event log private: Spark lets its group read it, whatever the umask is. Call it once no process
    /// is left.
    pub(super) fn make_events_private(&self) {
        make_private_below(&self.events());
    }

    /// The last part of the folder's path.
    pub(super) fn name(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    pub(super) fn stop(&self) -> Result<Option<Stop>> {
        self.read("stop.json")
    }

    pub(super) fn stop_file(&self) -> PathBuf {
        self.0.join("stop.json")
    }

    /// Returns true if the program watches the stop file itself.
    pub(super) fn is_stop_watched(&self) -> bool {
        self.0.join("stop.json.watched").exists()
    }

    pub(super) fn write_stop(&self, stop: &Stop) -> Result<()> {
        self.write("stop.json", stop)
    }

    pub(super) fn has_started(&self) -> bool {
        self.0.join("started.json").exists()
    }

    pub(super) fn started(&self) -> Result<Option<Timestamp>> {
        let path = self.0.join("started.json");
        match regular::read(&path, MAX_FILE_BYTES) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, "read", &error)),
            // The file is created before its content is written.
            Ok(text) => {
                let read: Option<Started> = serde_json::from_slice(&text).ok();
                Ok(Some(read.map_or(Timestamp::UNIX_EPOCH, |started| started.at)))
            }
        }
    }

    /// Claims the only start; false if it was claimed before.
    pub(super) fn claim_start(&self, at: Timestamp) -> Result<bool> {
        let path = self.0.join("started.json");
        let error = |error| failed(&path, "written", &error);
        let mut file = match private_options().create_new(true).open(&path) {
            Err(there) if there.kind() == ErrorKind::AlreadyExists => return Ok(false),
            opened => opened.map_err(error)?,
        };
        let text = serde_json::to_vec(&Started { at }).expect("a time can be written");
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(error)?;
        self.sync().map_err(error)?;
        Ok(true)
    }

    /// Returns true if a supervisor runs.
    pub(super) fn is_supervised(&self) -> Result<bool> {
        Ok(self.exists() && self.lock()?.is_none())
    }

    /// Takes the supervisor's lock, if it is free.
    pub(super) fn lock(&self) -> Result<Option<Lock>> {
        make_private(&self.0).map_err(|error| failed(&self.0, "made", &error))?;
        let path = self.0.join("lock");
        let file = private_options().create(true).truncate(false).open(&path);
        let file = file.map_err(|error| failed(&path, "opened", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(&path, "locked", &error)),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.0.join(name);
        let text = match regular::read(&path, MAX_FILE_BYTES) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| failed(&path, "read", &error))?,
        };
        let wrong = |error| Error::Unavailable(format!("`{}` is damaged: {error}", path.display()));
        serde_json::from_slice(&text).map(Some).map_err(wrong)
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let text = serde_json::to_vec_pretty(value).expect("it is plain data with text as keys");
        self.replace(name, &text)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.0.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, "removed", &error)),
            _ => Ok(()),
        }
    }

    /// Writes a file atomically and durably.
    fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(&self.0);
            make_private(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()?;
            self.sync()
        };
        write().map_err(|error| failed(&path, "written", &error))
    }

    /// Syncs the folder's entries, and its own entry in its parent.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()?;
        self.0.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }
}
