//! The process that starts an application's command, once, and records its end.

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::Mode;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, set_child_subreaper, umask, wait};

use super::cgroup::Cgroup;
use super::environment;
use super::folder::{Folder, Stop};
use super::launch::Launch;
use super::log::LimitedLog;
use super::memory;
use super::prepare::Step;
use super::processes::{self, Processes};
use super::secrets::Secrets;
use crate::error::{Error, Result};
use crate::secrets::{Known, Redactor};
use crate::{End, Evidence, Reason, Source};

/// Interval of checks for the end of the command and for a stop.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Maximum number of bytes of a driver's output that are redacted at once.
const REDACTED_BYTES: usize = 64 << 10;
/// Pause before a retry on a full disk.
const DISK_FULL_PAUSE: Duration = Duration::from_millis(500);
/// Maximum bytes and lines of output to quote when a step before the driver fails.
const MAX_QUOTED_BYTES: usize = 2000;
const MAX_QUOTED_LINES: usize = 5;
/// Maximum wait for the lock: status checks hold it only briefly.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the application of a folder to its end. A second supervisor of the same folder ends at once.
pub fn supervise(path: &Path) -> Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    let folder = Folder::new(path.to_owned());
    let Some(_lock) = lock(&folder)? else { return Ok(()) };
    let launch = folder
        .launch()?
        .ok_or_else(|| Error::Invalid(format!("`{}` has no application to run", path.display())))?;
    if folder.end()?.is_some() {
        return Ok(());
    }
    if folder.stop()?.is_some() {
        return folder.write_end(&not_started("it was stopped before it began"));
    }
    // After this, no other process starts the command, even if this one dies.
    if !folder.claim_start(Timestamp::now())? {
        return Ok(());
    }
    // Orphaned descendants become children of this process.
    set_child_subreaper(Some(getpid()))
        .map_err(|error| Error::Unavailable(format!("orphans can't be taken over: {error}")))?;
    let unique = Timestamp::now().as_nanosecond().unsigned_abs();
    let cgroup = launch.cgroups.then(|| Cgroup::create(folder.name(), unique)).flatten();
    let processes = Processes::supervised(folder.path(), cgroup);
    let mut reaper = Reaper::default();
    let kills = memory::oom_kills();
    let mut end = run(&folder, &launch, &processes, &mut reaper)
        .unwrap_or_else(|error| failed(Reason::BackendFailed, Source::Backend, error.to_string()));
    if !end.succeeded && end.evidence.is_empty() {
        let text = memory::evidence(kills, memory::oom_kills());
        end.evidence.extend(text.map(|text| Evidence { source: Source::System, reason: None, text }));
    }
    processes.kill_all(None, || reaper.reap());
    folder.make_events_private();
    // Only this process knows the result, so it waits until the disk has space to store it.
    while folder.write_end(&end).is_err() {
        std::thread::sleep(DISK_FULL_PAUSE);
    }
    Ok(())
}

fn lock(folder: &Folder) -> Result<Option<super::folder::Lock>> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match folder.lock()? {
            None if Instant::now() < deadline && !folder.has_started() => std::thread::sleep(POLL_INTERVAL),
            locked => return Ok(locked),
        }
    }
}

/// Waits for children: the driver, and orphans of its descendants.
#[derive(Debug, Default)]
struct Reaper {
    driver: Option<Pid>,
    status: Option<WaitStatus>,
}

impl Reaper {
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if Some(pid) == self.driver {
                self.status = Some(status);
            }
        }
    }
}

/// Runs the steps before the driver, and then the driver, to its end.
fn run(folder: &Folder, launch: &Launch, processes: &Processes, reaper: &mut Reaper) -> Result<End> {
    let secrets = folder.take_secrets()?;
    let mut log = LimitedLog::open(folder, launch.log_limit)?;
    // Recorded before a process enters the group, so that a later process can find it.
    if let Some(cgroup) = processes.cgroup() {
        folder.write_cgroup(cgroup.path())?;
    }
    let known = Known::new(secrets.values.iter().map(String::as_str));
    let mut run = Run { folder, launch, processes, reaper, secrets: &secrets, log: &mut log };
    if let Some(end) = run.prepare()? {
        return Ok(end);
    }
    folder.write_secret_files(&secrets)?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.args).current_dir(&launch.directory);
    command.env_clear().envs(environment::passed_on()).envs(&launch.environment).envs(&secrets.environment);
    run.driver(command, known)
}

/// A run of an application's commands, one after the other.
struct Run<'a> {
    folder: &'a Folder,
    launch: &'a Launch,
    processes: &'a Processes,
    reaper: &'a mut Reaper,
    secrets: &'a Secrets,
    log: &'a mut LimitedLog,
}

impl Run<'_> {
    /// Runs the steps before the driver. Returns the end if the application ended there.
    fn prepare(&mut self) -> Result<Option<End>> {
        let Launch { work, packages, python, .. } = self.launch;
        if !work.is_empty() {
            for step in work.fill(&self.folder.work(), python)? {
                if let Some(end) = self.step(&step)? {
                    return Ok(Some(end));
                }
            }
        }
        let Some(packages) = packages else { return Ok(None) };
        let lock = loop {
            if packages.is_complete() {
                return Ok(None);
            }
            if self.folder.stop()?.is_some() {
                return Ok(Some(not_started("it was stopped before its Python packages were installed")));
            }
            match packages.lock()? {
                Some(lock) => break lock,
                None => std::thread::sleep(POLL_INTERVAL),
            }
        };
        // Another supervisor may have completed it.
        if !packages.is_complete() {
            for step in packages.steps(python) {
                if let Some(end) = self.step(&step)? {
                    return Ok(Some(end));
                }
            }
            packages.finish()?;
        }
        drop(lock);
        Ok(None)
    }

    /// Runs one step before the driver; returns the end if it failed.
    fn step(&mut self, step: &Step) -> Result<Option<End>> {
        let mut command = Command::new(&step.program);
        command.args(&step.args).current_dir(self.folder.path());
        command.env_clear().envs(environment::passed_on());
        if step.uses_package_index {
            command.envs(&self.secrets.pip);
        }
        let end = self.command(command)?;
        if end.succeeded {
            return Ok(None);
        }
        let log = super::log::tail(self.folder, MAX_QUOTED_BYTES).unwrap_or_default();
        let output = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = output.lines().rev().take(MAX_QUOTED_LINES).collect();
        let output: Vec<&str> = lines.into_iter().rev().collect();
        // A command that was stopped has not failed.
        let reason = if end.stopped { Reason::NotStarted } else { Reason::Preparation };
        let text = format!("{}: {}", step.failure, output.join("\n"));
        Ok(Some(End {
            reason,
            evidence: vec![Evidence { source: Source::Command, reason: None, text }],
            ..end
        }))
    }

    /// Runs the driver. The output of one with secrets is written by this process, without their values.
    fn driver(&mut self, command: Command, known: Known) -> Result<End> {
        if known.is_empty() {
            return self.command(command);
        }
        let failed = |error| Error::Unavailable(format!("the log of the driver can't be written: {error}"));
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let log = self.log.writer().map_err(failed)?;
        let redacting = std::thread::spawn(move || redact(reader, log, known));
        let end = self.command_with_output(command, || Ok(writer.try_clone()?.into()))?;
        drop(writer);
        // Other processes of the driver may have its output; without them, the log is complete.
        let processes = self.processes;
        processes.kill_all(None, || self.reaper.reap());
        // A log that can't be written has no effect on the driver, as if the driver wrote it.
        let _ = redacting.join();
        Ok(end)
    }

    fn command(&mut self, command: Command) -> Result<End> {
        let log = self.log.writer();
        let log = log.map_err(|error| Error::Unavailable(format!("the log can't be written: {error}")))?;
        self.command_with_output(command, || Ok(log.try_clone()?.into()))
    }

    fn command_with_output(
        &mut self,
        command: Command,
        output: impl Fn() -> io::Result<Stdio>,
    ) -> Result<End> {
        self.reaper.driver = None;
        self.reaper.status = None;
        self.reaper.driver = Some(start(command, self.folder, output, self.processes.cgroup())?);
        let end = watch(self.folder, self.processes, self.log, self.reaper);
        self.log.trim(self.folder);
        Ok(end)
    }
}

/// Copies the output of a driver to its log, without the values of its secrets, until all of its processes have ended.
fn redact(mut output: PipeReader, mut log: File, known: Known) -> io::Result<()> {
    let mut redactor = Redactor::new(known);
    let mut buffer = vec![0; REDACTED_BYTES];
    let mut result = Ok(());
    loop {
        let bytes = match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // A full disk must not stop the driver, which would wait for a reader of its output.
        let written = log.write_all(&redactor.push(&buffer[..bytes]));
        result = result.and(written);
    }
    log.write_all(&redactor.finish())?;
    result
}

fn start(
    mut command: Command,
    folder: &Folder,
    output: impl Fn() -> io::Result<Stdio>,
    cgroup: Option<&Cgroup>,
) -> Result<Pid> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error| Error::Unavailable(format!("`{program}` can't be started: {error}"));
    command.env(processes::MARKER_VARIABLE, folder.path());
    command.process_group(0).stdin(Stdio::null());
    command.stdout(output().map_err(failed)?).stderr(output().map_err(failed)?);
    // A child starts in the group of its parent.
    if let Some(cgroup) = cgroup {
        cgroup.enter().map_err(failed)?;
    }
    let child = command.spawn();
    // This process must not have the output of the driver.
    drop(command);
    if let Some(cgroup) = cgroup {
        cgroup.leave().map_err(failed)?;
    }
    child.map(|child| Pid::from_child(&child)).map_err(failed)
}

/// Waits until the driver has ended, and stops it on request.
fn watch(folder: &Folder, processes: &Processes, log: &mut LimitedLog, reaper: &mut Reaper) -> End {
    let mut kill_at = None;
    loop {
        reaper.reap();
        // An unreadable request is read again later.
        let stop = folder.stop().ok().flatten();
        if let Some(status) = reaper.status {
            return exited(kill_at.is_some() || stop.is_some(), status);
        }
        match (kill_at, stop) {
            (None, Some(Stop { grace_millis })) => {
                // SIGTERM would make the JVM abort the running batch of a stream.
                if !folder.is_stop_watched() {
                    processes.signal(Signal::TERM);
                }
                kill_at = Some(Instant::now().checked_add(Duration::from_millis(grace_millis)));
            }
            (Some(Some(at)), _) if Instant::now() >= at => processes.signal(Signal::KILL),
            _ => {}
        }
        log.trim(folder);
        folder.forget_settings_once_read();
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn exited(stopped: bool, status: WaitStatus) -> End {
    End { stopped, ..End::exited(Timestamp::now(), status.exit_status(), status.terminating_signal()) }
}

/// Returns the end of an application whose driver has not started, as a stop was requested.
pub(super) fn not_started(text: &str) -> End {
    End { stopped: true, ..failed(Reason::NotStarted, Source::Backend, text.to_owned()) }
}

/// Returns the end of an application without the result of its driver.
pub(super) fn failed(reason: Reason, source: Source, text: String) -> End {
    let (at, evidence) = (Timestamp::now(), vec![Evidence { source, reason: None, text }]);
    End { at, succeeded: false, stopped: false, exit_code: None, signal: None, reason, evidence }
}
