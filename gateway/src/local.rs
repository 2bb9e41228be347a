//! `local`: spark-submit on this machine.
//!
//! Each application has a folder and a supervisor, a process that outlives the service that started it. They
//! communicate by files in that folder:
//!
//! | file | written by | content |
//! | --- | --- | --- |
//! | `application.json` | the backend | the application; the name belongs to it |
//! | `launch.json` | the backend | the command and its environment |
//! | `lock` | | locked while the supervisor lives |
//! | `started.json` | the supervisor | the claim of the only start of the command |
//! | `stop.json` | the backend | the request to stop, with its grace period |
//! | `secrets.json` | the backend | secrets of the driver, which no other file has; the supervisor removes it |
//! | `spark.properties` | the supervisor | settings with secrets, until Spark has read them |
//! | `work` | the supervisor | the files and archives of the application, in the driver's working folder |
//! | `cgroup` | the supervisor | the control group of the driver, where there is one |
//! | `end.json` | the supervisor | the end; once it exists, no process of the application is left |
//! | `driver.log` | the driver | its output; the supervisor writes that of a driver with secrets, without their values |
//! | `log.json` | the supervisor | the part of the log that was dropped |
//!
//! No process number is ever trusted: a supervisor lives if its lock is taken, and `processes` finds the processes
//! of an application. The driver can write all of these files, so they are opened with [`regular`].

mod address;
mod cgroup;
mod environment;
pub mod fields;
mod files;
mod folder;
pub mod installation;
mod launch;
mod log;
mod memory;
mod prepare;
mod processes;
mod secrets;
mod submit;
mod supervisor;
mod watch;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::application::SECRETS;
use crate::compute::{Ability, Capabilities, Compute, Cursor, Log};
use crate::error::{Error, Result};
use crate::secrets::{Providers, References, Values};
use crate::{
    Addresses, ConnectKey, End, Name, Phase, Reason, Source, SparkApplication, Status, WatchEvent, connect,
    regular,
};
use cgroup::Cgroup;
use folder::{Folder, Lock, Stop};
use installation::Installations;
use launch::Launch;
use processes::Processes;
use secrets::Resolver;

pub use log::DEFAULT_LIMIT as LOG_LIMIT;
pub use supervisor::supervise;

/// Maximum time for a supervisor to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Maximum time that one status check spends on killing the orphans of a killed supervisor; the next check
/// continues.
const KILL_TIMEOUT: Duration = Duration::from_millis(500);

/// The backend that runs Spark on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    root: PathBuf,
    /// The base of the relative paths of applications.
    directory: PathBuf,
    installations: Installations,
    /// The command that [`supervise`]s the folder given as its last argument.
    supervisor: Vec<String>,
    log_limit: u64,
    cgroups: bool,
    secrets: Arc<Providers>,
    /// The key for drivers of Spark Connect pools. Without it, they are rejected.
    connect_key: Option<ConnectKey>,
}

impl Local {
    /// Creates a backend. `root` has a folder for each application; `directory` is the base of their relative
    /// paths.
    pub fn new(
        root: &Path,
        directory: &Path,
        installations: Installations,
        supervisor: Vec<String>,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::Unavailable(format!("`{}` can't be made: {error}", root.display()))
        };
        if !Path::new("/proc/self/environ").exists() {
            let message =
                "`local` needs Linux: it tells by /proc which processes belong to which application";
            return Err(Error::Invalid(message.to_owned()));
        }
        files::make_private(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let directory = directory.canonicalize().map_err(failed)?;
        let secrets = Arc::new(Providers::default());
        Ok(Self {
            root,
            directory,
            installations,
            supervisor,
            log_limit: log::DEFAULT_LIMIT,
            cgroups: true,
            secrets,
            connect_key: None,
        })
    }

    /// Limits each driver's log to a number of bytes, at least 8 MiB.
    #[must_use]
    pub fn with_log_limit(self, bytes: u64) -> Self {
        Self { log_limit: bytes, ..self }
    }

    /// Sets the providers of secrets.
    #[must_use]
    pub fn with_secrets(self, providers: Providers) -> Self {
        Self { secrets: Arc::new(providers), ..self }
    }

    /// Sets the key for drivers of Spark Connect pools.
    #[must_use]
    pub fn with_connect_key(self, key: Option<ConnectKey>) -> Self {
        Self { connect_key: key, ..self }
    }

    /// Uses no control groups, even if they are available.
    #[must_use]
    pub fn without_cgroups(self) -> Self {
        Self { cgroups: false, ..self }
    }

    /// Returns the id of this folder, which is created at the first call. Only a Runner with the same id knows the
    /// state of its applications.
    pub fn location_id(&self) -> Result<String> {
        let path = self.root.join("place");
        let read = || regular::read(&path, 1024).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        match read() {
            Ok(id) if !id.is_empty() && id.bytes().all(|it| it.is_ascii_alphanumeric()) => {
                return Ok(id);
            }
            Ok(_) => {
                let message = format!("`{}` does not hold a name: remove it", path.display());
                return Err(Error::Unavailable(message));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(files::failed(&path, "read", &error)),
        }
        // If several processes create it at once, the first one's id is used.
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
            let random = file.path().file_name().map(|it| it.to_string_lossy().into_owned());
            let own: String =
                random.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
            let time = Timestamp::now().as_nanosecond();
            file.write_all(format!("{own}{time:x}").as_bytes())?;
            file.as_file().sync_all()?;
            match file.persist_noclobber(&path) {
                Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.error),
                _ => Ok(()),
            }
        };
        write().map_err(|error| files::failed(&path, "written", &error))?;
        read().map_err(|error| files::failed(&path, "read", &error))
    }

    fn folder(&self, name: &Name) -> Folder {
        Folder::new(self.root.join(name.as_str()))
    }

    /// Returns the command of an application. Without values, `secrets` collects the references to them.
    fn launch(&self, application: &SparkApplication, folder: &Folder, secrets: &Resolver) -> Result<Launch> {
        let Self { installations, directory, .. } = self;
        let cache = installations.cache.clone().unwrap_or_else(|| self.root.join(".cache"));
        let token = connect::token(application, self.connect_key.as_ref())?;
        let token = token.as_ref();
        let context =
            submit::LaunchContext { folder, installations, directory, secrets, cache: &cache, token };
        fields::FIELDS.check(application)?;
        let launch = submit::launch(application, &context)?;
        launch.check()?;
        Ok(Launch { log_limit: self.log_limit, cgroups: self.cgroups, ..launch })
    }

    /// Returns the provider that an application names, its domain, and its references. Validates the application.
    fn references<'a>(
        &self,
        application: &'a SparkApplication,
        folder: &Folder,
    ) -> Result<(Option<&'a str>, &'a str, References)> {
        let collected = Resolver::default();
        self.launch(application, folder, &collected)?;
        let provider = application.spec.spark_conf.get(SECRETS).map(String::as_str);
        Ok((provider, &application.metadata.namespace, collected.references()))
    }

    /// Returns the command of an application with its secrets.
    async fn launch_with_secrets(&self, application: &SparkApplication, folder: &Folder) -> Result<Launch> {
        let (provider, domain, references) = self.references(application, folder)?;
        let values = match references.is_empty() {
            true => Values::default(),
            false => self.secrets.resolve(provider, domain, &references).await?,
        };
        self.launch(application, folder, &Resolver::new(values))
    }

    /// Starts a supervisor, and waits until it has claimed the start.
    async fn start_supervisor(&self, folder: &Folder) -> Result<()> {
        let (program, args) = self.supervisor.split_first().ok_or_else(|| {
            Error::Unavailable("there is no command to supervise applications with".to_owned())
        })?;
        let mut command = Command::new(program);
        command.args(args).arg(folder.path());
        command.env_clear().envs(environment::passed_on());
        // In a process group of its own, it gets no signals of the terminal.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let failed = |what: &str| Error::Unavailable(format!("the supervisor `{program}` {what}"));
        let mut child = command.spawn().map_err(|error| failed(&format!("can't be started: {error}")))?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if folder.has_started() || folder.end()?.is_some() {
                return Ok(());
            }
            if let Ok(Some(status)) = child.try_wait() {
                // It may have been a second supervisor, and the first is about to claim the start.
                if folder.has_started() || folder.end()?.is_some() || folder.is_supervised()? {
                    return Ok(());
                }
                let stderr = child.wait_with_output().await.map(|output| output.stderr).unwrap_or_default();
                let stderr = String::from_utf8_lossy(&stderr);
                return Err(failed(&format!("ended before it began, with {status}: {}", stderr.trim())));
            }
            if Instant::now() > deadline {
                return Err(failed(&format!("has not begun within {START_TIMEOUT:?}")));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

#[async_trait]
impl Compute for Local {
    fn capabilities(&self) -> Capabilities {
        const ABILITIES: &[Ability] = &[
            Ability::EventLog,
            Ability::Ui,
            Ability::Secrets,
            Ability::PythonPackages,
            Ability::Drain,
            Ability::Connect,
        ];
        Capabilities { fields: &fields::FIELDS, abilities: ABILITIES }
    }

    fn accepts(&self, application: &SparkApplication) -> Result<()> {
        let folder = self.folder(&application.metadata.name.parse()?);
        let (provider, domain, references) = self.references(application, &folder)?;
        self.secrets.check(provider, domain, &references)
    }

    async fn create(&self, application: &SparkApplication) -> Result<()> {
        let name: Name = application.metadata.name.parse()?;
        let folder = self.folder(&name);
        if let Some(existing) = folder.application()? {
            if existing != *application {
                let message = format!("`{name}` is there already, and is another application");
                return Err(Error::Conflict(message));
            }
            if folder.has_started() || folder.end()?.is_some() || folder.is_supervised()? {
                return Ok(());
            }
        }
        let launch = self.launch_with_secrets(application, &folder).await?;
        folder.create(application, &launch)?;
        self.start_supervisor(&folder).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Status>> {
        status(&self.folder(name)).await
    }

    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>> {
        watch::events(self.root.clone())
    }

    async fn delete(&self, name: &Name, grace: Duration) -> Result<()> {
        let folder = self.folder(name);
        if folder.end()?.is_some() {
            return Ok(());
        }
        if folder.stop()?.is_none() {
            folder
                .write_stop(&Stop { grace_millis: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) })?;
        }
        if let Some(_lock) = folder.lock()?
            && !folder.has_started()
            && folder.end()?.is_none()
        {
            folder.write_end(&supervisor::not_started("it was stopped before it began"))?;
        }
        Ok(())
    }

    async fn logs(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        log::read(&self.folder(name), after, limit)
    }

    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>> {
        log::tail(&self.folder(name), limit)
    }

    async fn forget(&self, name: &Name) -> Result<()> {
        let folder = self.folder(name);
        if folder.exists() && folder.end()?.is_none() {
            return Err(Error::Unavailable(format!("`{name}` has not ended")));
        }
        match std::fs::remove_dir_all(folder.path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(files::failed(folder.path(), "removed", &error))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the status of the application in a folder. If its supervisor was killed, it also ends the application.
async fn status(folder: &Folder) -> Result<Option<Status>> {
    if !folder.exists() {
        // Another user may have removed the folder of an application that runs.
        let processes = Processes::orphaned(folder.path(), None);
        let is_gone = tokio::task::spawn_blocking(move || processes.has_ended()).await;
        let is_gone = is_gone.map_err(|error| Error::Unavailable(error.to_string()))?;
        if !is_gone {
            return Ok(Some(Status::new(Phase::Running)));
        }
        // The supervisor may have stored the end meanwhile, in a new folder.
        if !folder.exists() {
            return Ok(None);
        }
    }
    if let Some(status) = ended_status(folder)? {
        return Ok(Some(status));
    }
    // No supervisor can start while this lock is held.
    let Some(lock) = folder.lock()? else {
        let started = folder.started()?;
        return Ok(Some(if started.is_some() {
            running(folder, started)
        } else {
            Status::new(Phase::Pending)
        }));
    };
    if let Some(status) = ended_status(folder)? {
        return Ok(Some(status));
    }
    let started = folder.started()?;
    if started.is_none() {
        return Ok(Some(Status::new(Phase::Pending)));
    }
    // The supervisor died without a result. Its processes must not go on unsupervised.
    let folder = folder.clone();
    let finished = tokio::task::spawn_blocking(move || finish_without_supervisor(&folder, lock, started));
    finished.await.map_err(|error| Error::Unavailable(error.to_string()))?
}

fn running(folder: &Folder, started: Option<Timestamp>) -> Status {
    let addresses = Addresses { event_log: folder.event_log(), ..address::of_driver(folder) };
    Status { started, addresses, ..Status::new(Phase::Running) }
}

fn ended_status(folder: &Folder) -> Result<Option<Status>> {
    let Some(end) = folder.end()? else { return Ok(None) };
    let addresses = Addresses { event_log: folder.event_log(), ..Addresses::default() };
    Ok(Some(Status { started: folder.started()?, addresses, end: Some(end), ..Status::new(Phase::Ended) }))
}

/// Kills the processes of a supervisor that was killed, and stores this as the end.
fn finish_without_supervisor(
    folder: &Folder,
    lock: Lock,
    started: Option<Timestamp>,
) -> Result<Option<Status>> {
    let cgroup = folder.cgroup()?.and_then(|path| Cgroup::recorded(&path, folder.name()));
    let processes = Processes::orphaned(folder.path(), cgroup);
    let deadline = std::time::Instant::now() + KILL_TIMEOUT;
    if !processes.kill_all(Some(deadline), || ()) {
        return Ok(Some(running(folder, started)));
    }
    let text = "its supervisor was killed, and what it had started with it".to_owned();
    let stopped = folder.stop()?.is_some();
    folder.write_end(&End { stopped, ..supervisor::failed(Reason::BackendFailed, Source::Backend, text) })?;
    drop(lock);
    ended_status(folder)
}
