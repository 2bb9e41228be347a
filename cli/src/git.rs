//! What the repository around a project says of it, where there is one.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;

fn git(root: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(args).stdin(Stdio::null());
    // What is asked here is never for a person to answer, and changes nothing.
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// The commit that is checked out, with `-dirty` where files of the project differ from it.
pub(crate) fn commit(root: &Path) -> Option<String> {
    let head = git(root, &["rev-parse", "--verify", "--quiet", "HEAD"]).ok()?;
    let changed = git(root, &["status", "--porcelain", "--", "."]).ok()?;
    let dirty = if changed.is_empty() { "" } else { "-dirty" };
    Some(format!("{}{dirty}", head.trim()))
}

/// The files that differ from a revision, relative to the project's folder; those that are new and not added as well.
pub(crate) fn changed_since(root: &Path, revision: &str) -> Result<BTreeSet<String>, Failure> {
    let failed = |why: String| {
        Failure::new(format!("git can't say what changed since `{revision}`: {why}"))
            .help("name a commit, branch or tag that is there; in CI, fetch its history (`fetch-depth: 0`)")
    };
    let revision = git(
        root,
        &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")],
    )
    .map_err(|why| failed(if why.is_empty() { "there is no such revision".to_owned() } else { why }))?;
    let tracked = git(root, &["diff", "--name-only", "--relative", "-z", revision.trim(), "--", "."]);
    let fresh = git(root, &["ls-files", "--others", "--exclude-standard", "-z", "--", "."]);
    let all = tracked.map_err(failed)? + &fresh.map_err(failed)?;
    Ok(all.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}
