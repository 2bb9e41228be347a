//! A machine with a Spark whose spark-submit is a shell script: how a driver ends and what it leaves behind can be
//! chosen. What real Spark does is tested with a real one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dcp_gateway::local::Local;
use dcp_gateway::local::installation::{Installation, Installations};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A machine with one Spark, whose spark-submit is a script.
#[derive(Debug)]
pub struct Machine {
    folder: TempDir,
}

impl Machine {
    /// The script runs in the machine's folder.
    ///
    /// # Panics
    /// Where there is no room for it.
    pub fn new(script: &str) -> Self {
        Self::of_version("4.3.0", script)
    }

    /// # Panics
    /// Where there is no room for it.
    pub fn of_version(version: &str, script: &str) -> Self {
        let folder = TempDir::new().expect("there is room");
        let home = folder.path().join("spark");
        fs::create_dir_all(home.join("bin")).expect("it can be made");
        fs::create_dir_all(home.join("jars")).expect("it can be made");
        fs::write(home.join(format!("jars/spark-core_2.13-{version}.jar")), "").expect("it can be written");
        fs::write(folder.path().join("main.py"), "").expect("it can be written");
        let submit = home.join("bin/spark-submit");
        fs::write(&submit, format!("#!/bin/bash\ncd {}\n{script}\n", folder.path().display()))
            .expect("it can be written");
        fs::set_permissions(&submit, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The backend, as a process that has just started has it.
    ///
    /// # Panics
    /// Where the machine's folder is gone.
    pub fn local(&self, supervisor: &str) -> Local {
        local(self.folder.path(), supervisor)
    }

    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a line of a file that the script writes.
    pub fn line(&self, name: &str) -> String {
        until(|| self.lines(name).first().cloned())
    }
}

impl Drop for Machine {
    /// What a test has left running.
    fn drop(&mut self) {
        end(self.folder.path());
    }
}

/// Kills all that was started with a path below a folder.
pub fn end(folder: &Path) {
    let _ = Command::new("pkill").args(["-KILL", "-f"]).arg(folder).status();
}

/// The backend of the machine in a folder.
///
/// # Panics
/// Where there is none.
pub fn local(folder: &Path, supervisor: &str) -> Local {
    let found = vec![Installation::at(&folder.join("spark")).expect("it was made so")];
    let installations =
        Installations { found, java: Some("/usr/bin/java".into()), ..Installations::default() };
    let supervisor = vec![supervisor.to_owned()];
    Local::new(&folder.join("runs"), folder, installations, supervisor).expect("it can be made")
}

/// A spark-submit for streams: a driver does what its last argument says, and writes what Spark writes of a query that
/// finds nothing to read, or that has the watermark in the file of that name. Two that run at once are told of in `doubled`.
pub const STREAMS: &str = r#"
what="${@: -1}"
for it in "$@"; do
  case "$it" in spark.eventLog.dir=file://*) events="${it#spark.eventLog.dir=file://}" ;; esac
done
exec 9>> alone
flock -n 9 || echo "$what" >> doubled
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

/// Waits for a condition.
///
/// # Panics
/// Where it takes too long.
pub fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there, and not only waited for.
pub fn alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// # Panics
/// Where there is no such process.
pub fn kill(pid: &str, signal: Signal) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).expect("it is a number");
    kill_process(pid, signal).expect("it is there");
}

/// The process that waits for this one.
///
/// # Panics
/// Where there is no such process.
pub fn parent(pid: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has one");
    line.trim().to_owned()
}
