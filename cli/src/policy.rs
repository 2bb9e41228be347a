//! The policy of a service. The file is read again when it has changed.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_model::policy::{Policy, PolicyFile};
use dcp_workspace::project::Outcome;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::operator_file::{self, CHECK_INTERVAL};
use crate::out::Console;
use crate::render::sanitize;

/// Reads a policy file, and follows its changes in a task of the current runtime. Prints its diagnostics.
pub(crate) fn open(path: &Path, console: &mut Console) -> Result<watch::Receiver<Arc<Policy>>, Failure> {
    let text = operator_file::load(path).map_err(|error| Failure::at(path, "read", &error))?;
    let (declared, outcome) = read(path, &text)?;
    operator_file::print(&outcome, console)?;
    let declared = declared.ok_or_else(|| operator_file::unusable(path))?;
    let (policy, receiver) = watch::channel(Arc::new(declared.policy()));
    tokio::spawn(follow(path.to_owned(), text, policy));
    Ok(receiver)
}

/// Reads the text of a policy file.
pub(crate) fn read(path: &Path, text: &[u8]) -> Result<(Option<PolicyFile>, Outcome), Failure> {
    operator_file::read(path, text, dcp_compiler::policy::read)
}

/// Applies changes of the file until the process ends. A file with errors changes nothing.
async fn follow(path: PathBuf, mut text: Vec<u8>, policy: watch::Sender<Arc<Policy>>) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let changed = match operator_file::load(&path) {
            Ok(changed) if changed != text => changed,
            // An editor may be about to write it.
            _ => continue,
        };
        match read(&path, &changed).and_then(operator_file::changed) {
            Ok(declared) => {
                policy.send_replace(Arc::new(declared.policy()));
                log(&format!("`{}` was read again", path.display()));
            }
            Err(failure) => log(&format!(
                "`{}` has changed, and the old content stays in force: {}",
                path.display(),
                failure.message()
            )),
        }
        text = changed;
    }
}

fn log(text: &str) {
    let line = format!("{:.3} the policy: {}\n", Timestamp::now(), sanitize(text));
    // A failed write to the log does not stop the service.
    let _ = io::stderr().write_all(line.as_bytes());
}
