//! `dcp serve runner` with the cluster, in a separate process.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dcp_runner::remote::{Options, Remote};
use dcp_tests::TOKEN;
use tempfile::TempDir;

use super::NAMESPACE;
use crate::runner::{Result, memory_of};

pub(super) struct Process {
    child: Child,
    pub(super) client: Remote,
    _folder: TempDir,
}

impl Process {
    pub(super) fn start(dcp: &Path, kubeconfig: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let clusters = format!(
            "clusters:\n  bench:\n    kind: kubernetes\n    credentials: {{kubeconfig: {}}}\n    \
             namespaces: {{default: {NAMESPACE}}}\n",
            kubeconfig.display()
        );
        std::fs::write(folder.path().join("clusters.yaml"), clusters)?;
        write_token(folder.path())?;
        let mut command = Command::new(dcp.canonicalize()?);
        command
            .current_dir(folder.path())
            .args(["serve", "runner", "--listen", "127.0.0.1:0", "--database", "runs.db"])
            .args(["--clusters", "clusters.yaml", "--quiet"])
            .args(["--max-queued-per-domain", "1000000"])
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("the Runner process has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let url = line.split_whitespace().last().ok_or("the Runner did not start")?;
        let client = Remote::new(Options::new(url.to_owned(), TOKEN))?;
        Ok(Self { child, client, _folder: folder })
    }

    /// Returns the resident memory in MiB.
    pub(super) fn memory(&self) -> Result<f64> {
        memory_of(self.child.id())
    }
}

/// Writes the token that may do everything, where the Runner reads it.
fn write_token(folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(folder.join(".dcp"))?;
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).open(folder.join(".dcp/token"))?;
    Ok(file.write_all(TOKEN.as_bytes())?)
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
