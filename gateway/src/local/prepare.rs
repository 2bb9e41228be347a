//! Preparation of a driver's start: its files and archives in a working folder, and its Python packages.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{failed, make_private, on_this_machine};
use crate::error::{Error, Result};
use crate::hash;

/// Python's program to unpack an archive. It writes no entry outside of the folder, and keeps the owner's modes.
const UNPACK_SCRIPT: &str = "\
import os, sys, tarfile, zipfile
source, target = sys.argv[1:]
if zipfile.is_zipfile(source):
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            path = archive.extract(entry, target)
            mode = entry.external_attr >> 16 & 0o700
            if mode:
                os.chmod(path, mode | 0o600)
else:
    with tarfile.open(source) as archive:
        archive.extractall(target, filter='tar')
";

/// A command that has to succeed before the driver starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its failure, for messages.
    pub(super) failure: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    /// True if it uses a package index, for which the service may have settings.
    pub(super) uses_package_index: bool,
}

/// Files and archives of an application, by their names in the driver's working folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) files: BTreeMap<String, PathBuf>,
    pub(super) archives: BTreeMap<String, PathBuf>,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.archives.is_empty()
    }

    /// Adds the files of a list `path#name,…`; `field` is the manifest's, for messages.
    pub(super) fn add(&mut self, list: &str, field: &str, archives: bool, directory: &Path) -> Result<()> {
        for item in list.split(',').filter(|item| !item.is_empty()) {
            let (path, name) = item.split_once('#').map_or((item, None), |(path, name)| (path, Some(name)));
            let Some(path) = on_this_machine(path) else {
                let reason = format!(
                    "`local` puts only files of this machine into the driver's folder, and `{item}` is elsewhere"
                );
                return Err(Error::field(field, reason));
            };
            let path = directory.join(path);
            let name = name.map(str::to_owned).or_else(|| Some(path.file_name()?.to_str()?.to_owned()));
            let Some(name) = name.filter(|it| !it.is_empty() && !it.contains('/') && !it.starts_with('.'))
            else {
                return Err(Error::field(field, format!("`{item}` has no name that a file can have")));
            };
            if !path.is_file() {
                let path = path.display();
                return Err(Error::field(field, format!("the file `{path}` does not exist")));
            }
            let taken = self.files.contains_key(&name) || self.archives.contains_key(&name);
            let into = if archives { &mut self.archives } else { &mut self.files };
            if taken {
                return Err(Error::field(field, format!("two files are called `{name}`; add `#other-name`")));
            }
            into.insert(name, path);
        }
        Ok(())
    }

    /// Copies the files into the folder, and returns the remaining commands.
    pub(super) fn fill(&self, folder: &Path, python: &Path) -> Result<Vec<Step>> {
        make_private(folder).map_err(|error| failed(folder, "made", &error))?;
        for (name, source) in &self.files {
            fs::copy(source, folder.join(name)).map_err(|error| failed(source, "copied", &error))?;
        }
        let unpack = |(name, source): (&String, &PathBuf)| Step {
            failure: format!("`{}` can't be unpacked", source.display()),
            program: python.to_owned(),
            args: vec!["-c".into(), UNPACK_SCRIPT.into(), source.into(), folder.join(name).into()],
            uses_package_index: false,
        };
        Ok(self.archives.iter().map(unpack).collect())
    }
}

/// A Python environment with packages, shared by all applications that need the same ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packages {
    /// The folder of the environment.
    pub(super) folder: PathBuf,
    requirements: Vec<String>,
}

impl Packages {
    /// `engine` is the version of Spark, and `python` the program that creates the environment.
    pub(super) fn new(
        cache: &Path,
        mut requirements: Vec<String>,
        engine: &str,
        python: &Path,
    ) -> Result<Self> {
        let odd = |it: &&String| {
            it.trim_start().starts_with('-') || it.contains(['\n', '\r']) || it.trim().is_empty()
        };
        if let Some(odd) = requirements.iter().find(odd) {
            let reason = format!("{odd:?} is not a requirement as pip writes them");
            return Err(Error::field("job.pyspark.environment.packages", reason));
        }
        requirements.sort();
        requirements.dedup();
        let python = python.to_string_lossy();
        let key = serde_json::json!([engine, python, requirements]).to_string();
        Ok(Self { folder: cache.join(hash::digits(key.as_bytes())), requirements })
    }

    pub(super) fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    fn complete(&self) -> PathBuf {
        self.folder.join("complete")
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete().exists()
    }

    /// Takes the lock for creating the environment; none while another process has it.
    pub(super) fn lock(&self) -> Result<Option<File>> {
        let path = self.folder.with_extension("lock");
        let open = || -> std::io::Result<Option<File>> {
            make_private(self.folder.parent().unwrap_or(&self.folder))?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(file)),
                Err(fs::TryLockError::WouldBlock) => Ok(None),
                Err(fs::TryLockError::Error(error)) => Err(error),
            }
        };
        open().map_err(|error| failed(&path, "locked", &error))
    }

    pub(super) fn steps(&self, python: &Path) -> [Step; 2] {
        let named = self.requirements.join(", ");
        let install = [
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar",
            "off",
            "--",
        ];
        [
            Step {
                failure: "the Python environment can't be made".to_owned(),
                program: python.to_owned(),
                args: vec!["-m".into(), "venv".into(), "--clear".into(), self.folder.clone().into()],
                uses_package_index: false,
            },
            Step {
                failure: format!("the Python packages {named} can't be installed"),
                program: self.python(),
                args: install
                    .iter()
                    .map(OsString::from)
                    .chain(self.requirements.iter().map(OsString::from))
                    .collect(),
                uses_package_index: true,
            },
        ]
    }

    /// Marks the environment as complete. An incomplete one is created anew.
    pub(super) fn finish(&self) -> Result<()> {
        let path = self.complete();
        File::create(&path).and_then(|file| file.sync_all()).map_err(|error| failed(&path, "written", &error))
    }
}

/// Returns the service's variables for pip: its settings, and proxies.
pub(super) fn pip_environment() -> BTreeMap<String, String> {
    const PROXIES: [&str; 7] = [
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
    ];
    let all = std::env::vars_os();
    let texts = all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| name.starts_with("PIP_") || PROXIES.contains(&name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_depends_on_its_packages_and_not_on_their_order() {
        let of = |requirements: &[&str], engine| {
            let requirements = requirements.iter().map(|&it| it.to_owned()).collect();
            Packages::new(Path::new("/cache"), requirements, engine, Path::new("/usr/bin/python3"))
        };
        let folder = |requirements: &[&str], engine| of(requirements, engine).expect("they are sound").folder;
        assert_eq!(folder(&["a==1", "b"], "4.1"), folder(&["b", "a==1", "b"], "4.1"));
        assert_ne!(folder(&["a==1"], "4.1"), folder(&["a==2"], "4.1"));
        assert_ne!(folder(&["a==1"], "4.1"), folder(&["a==1"], "4.0"));
        for odd in ["--index-url=http://x", " -r /etc/passwd", "a\nb", ""] {
            assert!(
                matches!(of(&[odd], "4.1"), Err(Error::Field { field, .. }) if field.ends_with("packages")),
                "{odd:?}"
            );
        }
    }

    #[test]
    fn files_and_archives_have_unique_names() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        for name in ["a.txt", "b.zip"] {
            fs::write(folder.path().join(name), name).expect("the temporary folder is writable");
        }
        let mut work = Work::default();
        work.add("a.txt,a.txt#other.txt", "dependencies.files", false, folder.path())
            .expect("they are there");
        work.add("b.zip#lib", "dependencies.archives", true, folder.path()).expect("it exists");
        assert_eq!(work.files.keys().collect::<Vec<_>>(), ["a.txt", "other.txt"]);
        assert_eq!(work.archives.keys().collect::<Vec<_>>(), ["lib"]);
        for (list, expected) in [
            ("a.txt", "two files are called `a.txt`"),
            ("a.txt#../up", "has no name"),
            ("none", "does not exist"),
            ("s3://b/a", "is elsewhere"),
        ] {
            let refused = work.add(list, "dependencies.files", false, folder.path());
            let error = refused.expect_err(list).to_string();
            assert!(error.starts_with("`dependencies.files`: ") && error.contains(expected), "{error}");
        }
    }
}
