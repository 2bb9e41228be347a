//! The process that starts an application's command, once, and sees how it ends.

use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;

use super::folder::{Folder, Stop, failed};
use super::launch::Launch;
use super::{memory, processes};
use crate::compute::{End, Error, Result};

/// How often to look whether the command has ended, or is to.
const PAUSE: Duration = Duration::from_millis(25);
/// How long to wait for room on a full disk.
const FULL: Duration = Duration::from_millis(500);
/// Somebody who only looks has the lock for no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the application of a folder to its end. Another supervisor of the same folder ends at once.
pub fn supervise(path: &Path) -> Result<()> {
    let folder = Folder::new(path.to_owned());
    let Some(_lock) = lock(&folder)? else { return Ok(()) };
    let launch = folder
        .launch()?
        .ok_or_else(|| Error::Invalid(format!("`{}` has no application to run", path.display())))?;
    if folder.end()?.is_some() {
        return Ok(());
    }
    if folder.stop()?.is_some() {
        return folder.write_end(&ended(true, None, "it was stopped before it began"));
    }
    // From here on nobody starts it, whatever becomes of this process.
    if !folder.claim_start(Timestamp::now())? {
        return Ok(());
    }
    let kills = memory::kills();
    let end = match start(&folder, &launch) {
        Ok(child) => {
            let end = watch(&folder, child)?;
            let message =
                if end.succeeded { String::new() } else { memory::evidence(kills, memory::kills()) };
            End { message, ..end }
        }
        Err(error) => ended(false, None, &error.to_string()),
    };
    processes::kill_all(folder.path());
    // Nobody else knows how it ended: where there is no room to write it down, it waits until there is.
    while folder.write_end(&end).is_err() {
        std::thread::sleep(FULL);
    }
    Ok(())
}

fn lock(folder: &Folder) -> Result<Option<super::folder::Lock>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match folder.lock()? {
            None if Instant::now() < deadline && !folder.has_started() => std::thread::sleep(PAUSE),
            locked => return Ok(locked),
        }
    }
}

fn start(folder: &Folder, launch: &Launch) -> Result<Child> {
    let path = folder.log();
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(|error| failed(&path, "written", &error))?;
    let more = log.try_clone().map_err(|error| failed(&path, "written", &error))?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.args).envs(&launch.environment).current_dir(&launch.directory);
    command.env(processes::VARIABLE, folder.path());
    command.process_group(0).stdin(Stdio::null()).stdout(log).stderr(more);
    command.spawn().map_err(|error| {
        Error::Unavailable(format!("`{}` can't be started: {error}", launch.program.display()))
    })
}

/// Waits until the command has ended, and ends it where that is asked for.
fn watch(folder: &Folder, mut child: Child) -> Result<End> {
    let mut kill_at = None;
    loop {
        let status = child.try_wait().map_err(|error| {
            Error::Unavailable(format!("what became of the driver can't be learnt: {error}"))
        })?;
        if let Some(status) = status {
            return Ok(ended(kill_at.is_some() || folder.stop()?.is_some(), Some(status), ""));
        }
        match (kill_at, folder.stop()?) {
            (None, Some(Stop { grace_millis })) => {
                processes::signal_all(folder.path(), Signal::TERM);
                kill_at = Some(Instant::now().checked_add(Duration::from_millis(grace_millis)));
            }
            (Some(Some(at)), _) if Instant::now() >= at => processes::signal_all(folder.path(), Signal::KILL),
            _ => {}
        }
        std::thread::sleep(PAUSE);
    }
}

fn ended(stopped: bool, status: Option<ExitStatus>, message: &str) -> End {
    End {
        at: Timestamp::now(),
        succeeded: status.is_some_and(|status| status.success()),
        stopped,
        exit_code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        message: message.to_owned(),
    }
}
