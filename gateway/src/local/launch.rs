//! The command of a driver, as the supervisor starts it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::prepare::{Packages, Work};
use super::secrets::Secrets;
use crate::compute::{Error, Result};

/// A command, as a supervisor starts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// Where relative paths begin.
    pub(super) directory: PathBuf,
    /// How many bytes of the driver's log are kept.
    pub(super) log_limit: u64,
    /// Whether a control group is used where one can be had.
    pub(super) cgroups: bool,
    /// The Python that the driver's folder and packages are made with.
    pub(super) python: PathBuf,
    /// What is put into the folder that the driver works in.
    pub(super) work: Work,
    pub(super) packages: Option<Packages>,
    /// The files in the application's folder that have secrets in them.
    pub(super) secret_files: Vec<String>,
    /// What must not be in this file.
    #[serde(skip)]
    pub(super) secrets: Secrets,
    /// Files that the command finds in the application's folder: what a pod has mounted.
    #[serde(skip)]
    pub(super) files: BTreeMap<String, String>,
    /// Programs that have to be on this machine.
    #[serde(skip)]
    pub(super) needs: Vec<PathBuf>,
}

impl Launch {
    /// What is missing would be told by Spark too, once it had started.
    pub(super) fn check(&self) -> Result<()> {
        match self.needs.iter().find(|path| !path.is_file()) {
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
