//! A Spark installation whose spark-submit is a shell script, so that tests control how a driver ends and what it
//! leaves behind. Other tests use a real Spark.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dcp_gateway::local::Local;
use dcp_gateway::local::installation::{Installation, Installations};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder with a fake Spark installation.
#[derive(Debug)]
pub struct FakeSpark {
    folder: TempDir,
}

impl FakeSpark {
    /// Creates an installation; the script runs in its folder.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn new(script: &str) -> Self {
        Self::with_version("4.3.0", script)
    }

    /// # Panics
    /// If the disk is full.
    pub fn with_version(version: &str, script: &str) -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        let home = folder.path().join("spark");
        fs::create_dir_all(home.join("bin")).expect("the folder can be created");
        fs::create_dir_all(home.join("jars")).expect("the folder can be created");
        fs::write(home.join(format!("jars/spark-core_2.13-{version}.jar")), "")
            .expect("the file can be written");
        fs::write(folder.path().join("main.py"), "").expect("the file can be written");
        let submit = home.join("bin/spark-submit");
        fs::write(&submit, format!("#!/bin/bash\ncd {}\n{script}\n", folder.path().display()))
            .expect("the file can be written");
        fs::set_permissions(&submit, fs::Permissions::from_mode(0o755))
            .expect("the file belongs to this user");
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the local backend in the state of a process that has just started.
    ///
    /// # Panics
    /// If the folder is gone.
    pub fn local_backend(&self, supervisor: &str) -> Local {
        local_backend(self.folder.path(), supervisor)
    }

    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a line of a file that the script writes.
    pub fn wait_for_line(&self, name: &str) -> String {
        wait_until(|| self.lines(name).first().cloned())
    }
}

impl Drop for FakeSpark {
    /// Kills processes that the test left running.
    fn drop(&mut self) {
        kill_processes_of(self.folder.path());
    }
}

/// Kills all processes whose command line contains the path of a folder.
pub fn kill_processes_of(folder: &Path) {
    let _ = Command::new("pkill").args(["-KILL", "-f"]).arg(folder).status();
}

/// Returns the local backend of the installation in a folder.
///
/// # Panics
/// If the folder has no Spark installation.
pub fn local_backend(folder: &Path, supervisor: &str) -> Local {
    let found = vec![Installation::at(&folder.join("spark")).expect("the folder has an installation")];
    let installations =
        Installations { found, java: Some("/usr/bin/java".into()), ..Installations::default() };
    let supervisor = vec![supervisor.to_owned()];
    Local::new(&folder.join("runs"), folder, installations, supervisor).expect("the backend can be created")
}

/// A spark-submit for streams. Its last argument selects the behaviour of the driver. It writes the event log of a
/// query without new data; the file `watermark`, if present, has the watermark to report. Concurrent drivers are
/// recorded in `concurrent`.
pub const STREAM_SCRIPT: &str = r#"
what="${@: -1}"
for it in "$@"; do
  case "$it" in spark.eventLog.dir=file://*) events="${it#spark.eventLog.dir=file://}" ;; esac
done
exec 9>> alone
flock -n 9 || echo "$what" >> concurrent
echo "$what" >> started
printf '%s\n' "$@" > arguments
echo $$ > pid
trap 'echo "$what" >> stopped; exit 0' TERM
case "$what" in
  fail*) if [ ! -e mended ]; then echo "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space" >&2; exit 1; fi ;;
  wrong*) echo "Traceback (most recent call last):" >&2; echo "ValueError: wrong" >&2; exit 1 ;;
  hang*) while :; do sleep 0.05 9>&-; done ;;
  end*) if [ ! -e mended ]; then exit 0; fi; while :; do sleep 0.05 9>&-; done ;;
esac
mkdir -p "$events/eventlog_v2_app"
while :; do
  at=$(date -u +%FT%T.%3NZ)
  if [ -e watermark ]; then
    echo '{"Event":"org.apache.spark.sql.streaming.StreamingQueryListener$QueryProgressEvent","progress":{"runId":"a","timestamp":"'$at'","batchId":0,"eventTime":{"watermark":"'$(cat watermark)'"}}}' >> "$events/eventlog_v2_app/events_1_app"
  fi
  echo '{"Event":"org.apache.spark.sql.streaming.StreamingQueryListener$QueryIdleEvent","runId":"a","timestamp":"'$at'"}' >> "$events/eventlog_v2_app/events_1_app"
  sleep 0.05 9>&-
done
"#;

/// Waits until a condition holds.
///
/// # Panics
/// If that takes longer than 30 seconds.
pub fn wait_until<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(Instant::now() < deadline, "the condition did not hold within 30 seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns true if a process exists and is no zombie.
pub fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// # Panics
/// If there is no such process.
pub fn send_signal(pid: &str, signal: Signal) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).expect("the process id is a number");
    kill_process(pid, signal).expect("the process exists");
}

/// Returns the process id of a process's parent.
///
/// # Panics
/// If there is no such process.
pub fn parent_pid(pid: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process exists");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("the status has a parent");
    line.trim().to_owned()
}
