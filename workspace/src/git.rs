//! The state of the git repository around a project, if there is one.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use dcp_compiler::source::LoadError;

use crate::error::Error;
use crate::files::{self, LARGE_FILE_LIMIT, Tree};

/// Timeout of a git command.
const GIT_TIMEOUT: Duration = Duration::from_mins(1);

/// Files of a repository that git opens first. It would wait for ever at a FIFO.
const READ_FIRST: [&str; 5] = ["HEAD", "config", "index", "packed-refs", "info/exclude"];

/// Runs git with a timeout and without hooks, as it reads untrusted files.
fn git(root: &Path, args: &[&str]) -> Result<String, String> {
    check_readable(root)?;
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(["-c", "core.fsmonitor=false"]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // No command here needs a person's answer, or changes anything.
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    let deadline = Instant::now() + GIT_TIMEOUT;
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let left = || deadline.saturating_duration_since(Instant::now());
    let read = stdout.recv_timeout(left()).and_then(|out| Ok((out, stderr.recv_timeout(left())?)));
    let Ok((out, err)) = read else {
        _ = child.kill();
        _ = child.wait();
        return Err(format!("it did not answer within {} s", GIT_TIMEOUT.as_secs()));
    };
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(out) } else { Err(err.trim().to_owned()) }
}

/// Reads a pipe on a thread of its own, which ends when the pipe is closed.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // Incomplete output is not sent, which the receiver sees as an error.
        if pipe.is_some_and(|pipe| pipe.take(LARGE_FILE_LIMIT).read_to_end(&mut bytes).is_ok()) {
            _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        }
    });
    receiver
}

/// Checks that the files that git reads first are regular ones.
fn check_readable(root: &Path) -> Result<(), String> {
    let Some(folder) = root.ancestors().map(|above| above.join(".git")).find(|folder| folder.is_dir()) else {
        // There is no repository, or it is elsewhere: git finds out.
        return Ok(());
    };
    let tree = Tree::open(&folder).map_err(|error| crate::error::reason(&error))?;
    for name in READ_FIRST {
        match tree.check(Path::new(name)) {
            // Some of these may be links to other places, which git follows.
            Ok(_) | Err(LoadError::NotFound | LoadError::Outside) => {}
            Err(error) => return Err(format!("`.git/{name}`: {}", files::describe(error))),
        }
    }
    Ok(())
}

/// Returns the commit that is checked out, with `-dirty` if files of the project differ from it.
pub fn commit(root: &Path) -> Option<String> {
    let head = git(root, &["rev-parse", "--verify", "--quiet", "HEAD"]).ok()?;
    let changed = git(root, &["status", "--porcelain", "--", "."]).ok()?;
    let dirty = if changed.is_empty() { "" } else { "-dirty" };
    Some(format!("{}{dirty}", head.trim()))
}

/// Returns the branch that is checked out; none outside of a repository, or for a commit without a branch.
pub fn branch(root: &Path) -> Option<String> {
    let name = git(root, &["symbolic-ref", "--short", "--quiet", "HEAD"]).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Returns the files that differ from a revision, relative to the project's folder, including untracked ones.
pub fn changed_since(root: &Path, revision: &str) -> Result<BTreeSet<String>, Error> {
    let failed = |why: String| {
        Error::new(format!("git can't say what changed since `{revision}`: {why}"))
            .help("name a commit, branch or tag that is there; in CI, fetch its history (`fetch-depth: 0`)")
    };
    let revision = git(
        root,
        &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")],
    )
    .map_err(|why| failed(if why.is_empty() { "there is no such revision".to_owned() } else { why }))?;
    let tracked = git(root, &["diff", "--name-only", "--relative", "-z", revision.trim(), "--", "."]);
    let untracked = git(root, &["ls-files", "--others", "--exclude-standard", "-z", "--", "."]);
    let all = tracked.map_err(failed)? + &untracked.map_err(failed)?;
    Ok(all.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}
