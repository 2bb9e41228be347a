//! An application's folder: the one place where its files are read and written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::launch::Launch;
use crate::SparkApplication;
use crate::compute::{End, Error, Result};

#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// That an application is to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stop {
    pub(super) grace_millis: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Started {
    at: Timestamp,
}

/// The supervisor's lock. It ends with whoever holds it, however that ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, and never looked at")] File);

pub(super) fn failed(path: &Path, what: &str, error: &io::Error) -> Error {
    Error::Unavailable(format!("`{}` can't be {what}: {error}", path.display()))
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

    /// Where tables without a location of their own are kept: beside the folders of all applications, not in the project.
    pub(super) fn warehouse(&self) -> PathBuf {
        self.0.with_file_name("warehouse")
    }

    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Writes what is to run. All of it is there before anything can begin.
    pub(super) fn make(&self, application: &SparkApplication, launch: &Launch) -> Result<()> {
        // Spark writes its event log into a folder that is there, and into no other.
        let events = self.events();
        std::fs::create_dir_all(&events).map_err(|error| failed(&events, "made", &error))?;
        self.write("launch.json", launch)?;
        for (path, text) in &launch.files {
            self.replace(path, text.as_bytes())?;
        }
        self.write("application.json", application)
    }

    pub(super) fn application(&self) -> Result<Option<SparkApplication>> {
        self.read("application.json")
    }

    pub(super) fn launch(&self) -> Result<Option<Launch>> {
        self.read("launch.json")
    }

    pub(super) fn end(&self) -> Result<Option<End>> {
        self.read("end.json")
    }

    pub(super) fn write_end(&self, end: &End) -> Result<()> {
        self.write("end.json", end)
    }

    pub(super) fn stop(&self) -> Result<Option<Stop>> {
        self.read("stop.json")
    }

    pub(super) fn write_stop(&self, stop: &Stop) -> Result<()> {
        self.write("stop.json", stop)
    }

    pub(super) fn has_started(&self) -> bool {
        self.0.join("started.json").exists()
    }

    pub(super) fn started(&self) -> Result<Option<Timestamp>> {
        let path = self.0.join("started.json");
        match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, "read", &error)),
            // It is there before its content is.
            Ok(text) => {
                let read: Option<Started> = serde_json::from_slice(&text).ok();
                Ok(Some(read.map_or(Timestamp::UNIX_EPOCH, |started| started.at)))
            }
        }
    }

    /// Claims the one start that there is; false where it was claimed before.
    pub(super) fn claim_start(&self, at: Timestamp) -> Result<bool> {
        let path = self.0.join("started.json");
        let error = |error| failed(&path, "written", &error);
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(there) if there.kind() == ErrorKind::AlreadyExists => return Ok(false),
            opened => opened.map_err(error)?,
        };
        let text = serde_json::to_vec(&Started { at }).expect("a time can be written");
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(error)?;
        self.sync().map_err(error)?;
        Ok(true)
    }

    /// Whether somebody supervises it now.
    pub(super) fn is_supervised(&self) -> Result<bool> {
        Ok(self.exists() && self.lock()?.is_none())
    }

    /// The supervisor's lock, if nobody has it.
    pub(super) fn lock(&self) -> Result<Option<Lock>> {
        std::fs::create_dir_all(&self.0).map_err(|error| failed(&self.0, "made", &error))?;
        let path = self.0.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| failed(&path, "opened", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(&path, "locked", &error)),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.0.join(name);
        let text = match std::fs::read(&path) {
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

    /// Puts a file in place whole, and so that it is there after the power was cut.
    fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(&self.0);
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()?;
            self.sync()
        };
        write().map_err(|error| failed(&path, "written", &error))
    }

    /// The folder's own entries, and its own entry.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()?;
        self.0.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }
}
