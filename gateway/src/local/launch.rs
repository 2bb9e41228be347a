//! The command of a driver, as the supervisor starts it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::prepare::{Packages, Work};
use super::secrets::Secrets;
use crate::error::{Error, Result};

/// The command of a driver with all that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// The base of relative paths.
    pub(super) directory: PathBuf,
    /// Maximum number of bytes of the driver's log.
    pub(super) log_limit: u64,
    /// Use a control group if one can be created.
    pub(super) cgroups: bool,
    /// The Python that unpacks archives and installs packages.
    pub(super) python: PathBuf,
    /// Files and archives for the driver's working folder.
    pub(super) work: Work,
    pub(super) packages: Option<Packages>,
    /// True if Spark writes its event log into the application's folder.
    #[serde(default)]
    pub(super) event_log: bool,
    /// The files in the application's folder that contain secrets.
    pub(super) secret_files: Vec<String>,
    /// Secrets, which must not be written to `launch.json`.
    #[serde(skip)]
    pub(super) secrets: Secrets,
    /// Files of the command in the application's folder; in a cluster, a pod mounts them.
    #[serde(skip)]
    pub(super) files: BTreeMap<String, String>,
    /// Programs that must exist on this machine.
    #[serde(skip)]
    pub(super) required_programs: Vec<PathBuf>,
}

impl Launch {
    /// Checks that the programs exist. Spark would report a missing one only after it has started.
    pub(super) fn check(&self) -> Result<()> {
        match self.required_programs.iter().find(|path| !path.is_file()) {
            None => Ok(()),
            Some(path) => {
                let message = format!(
                    "the program `{}` does not exist: paths in a manifest begin at its project's folder",
                    path.display()
                );
                Err(Error::Invalid(message))
            }
        }
    }
}
