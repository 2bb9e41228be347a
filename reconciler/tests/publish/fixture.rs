//! A DAG folder of each kind, with direct access to its files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dcp_objects::object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};
use dcp_reconciler::publish::{DagFolder, File, GENERATED_HEADER};
use futures_util::TryStreamExt;
use tempfile::TempDir;

/// A name with every special character that names of DAG files may have.
pub(crate) const SPECIAL_NAME: &str = "sales.daily%2Fs%20x.py";

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(future)
}

pub(crate) fn file(name: &str, text: &str) -> File {
    File { name: name.to_owned(), content: format!("{GENERATED_HEADER} And more.\n{text}\n") }
}

pub(crate) fn files(count: usize, text: &str) -> Vec<File> {
    (0..count).map(|number| file(&format!("dag-{number}.py"), text)).collect()
}

pub(crate) struct Fixture {
    pub(crate) folder: DagFolder,
    raw: Raw,
}

enum Raw {
    Disk(TempDir),
    Store(Arc<dyn ObjectStore>, String),
}

impl Fixture {
    pub(crate) fn disk() -> Self {
        let raw = tempfile::tempdir().expect("a folder can be made");
        Self { folder: open(raw.path()), raw: Raw::Disk(raw) }
    }

    pub(crate) fn memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    pub(crate) fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self::of(DagFolder::with_store(Arc::clone(&store), "team/dags"), store, "team/dags")
    }

    pub(crate) fn of(folder: DagFolder, store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { folder, raw: Raw::Store(store, prefix.to_owned()) }
    }

    /// Returns all files of the folder and its subfolders by path.
    pub(crate) async fn all(&self) -> BTreeMap<String, String> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("tests write text");
        let mut all = BTreeMap::new();
        match &self.raw {
            Raw::Disk(root) => {
                let mut folders = vec![root.path().to_owned()];
                while let Some(folder) = folders.pop() {
                    for entry in std::fs::read_dir(folder).expect("it can be listed") {
                        let path = entry.expect("it can be listed").path();
                        if path.is_dir() {
                            folders.push(path);
                            continue;
                        }
                        let name = path.strip_prefix(root.path()).expect("it is below").display().to_string();
                        all.insert(name, text(std::fs::read(path).expect("it can be read")));
                    }
                }
            }
            Raw::Store(store, prefix) => {
                let prefix = dcp_objects::object_store::path::Path::from(prefix.as_str());
                let found =
                    store.list(Some(&prefix)).try_collect::<Vec<_>>().await.expect("it can be listed");
                for object in found {
                    let got = store.get(&object.location).await.expect("it exists");
                    let name = object.location.as_ref().strip_prefix(prefix.as_ref()).expect("it is below");
                    let content = got.bytes().await.expect("it can be read").to_vec();
                    all.insert(name.trim_start_matches('/').to_owned(), text(content));
                }
            }
        }
        all
    }

    /// Returns the files that Airflow reads.
    pub(crate) async fn dags(&self) -> BTreeMap<String, String> {
        let mut all = self.all().await;
        all.retain(|path, _| Path::new(path).extension().is_some_and(|it| it == "py"));
        all
    }

    /// Writes a file directly, like another program.
    pub(crate) async fn write(&self, path: &str, text: &str) {
        match &self.raw {
            Raw::Disk(root) => {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().expect("it is in a folder"))
                    .expect("it can be created");
                std::fs::write(path, text).expect("it can be written");
            }
            Raw::Store(store, prefix) => {
                let path = dcp_objects::object_store::path::Path::parse(format!("{prefix}/{path}"))
                    .expect("it is a path");
                store.put(&path, text.to_owned().into()).await.expect("it can be written");
            }
        }
    }
}

/// Returns contents by name, for comparison.
pub(crate) fn expected(files: &[File]) -> BTreeMap<String, String> {
    files.iter().map(|file| (file.name.clone(), file.content.clone())).collect()
}

/// Returns a command that runs a single test again in a separate process, prefixed by `wrapper`. The test gets `folder`
/// from [`child_folder`], and does its part there instead.
pub(crate) fn rerun(test: &str, wrapper: &[&str], folder: &Path) -> std::process::Command {
    let program = std::env::current_exe().expect("a test has a program");
    let mut words: Vec<_> = wrapper.iter().map(std::ffi::OsString::from).collect();
    words.push(program.into());
    let mut command = std::process::Command::new(&words[0]);
    command.args(&words[1..]).args(["--exact", test, "--nocapture"]).env(FOLDER_VARIABLE, folder);
    command.stdout(std::process::Stdio::null());
    command
}

/// Returns the folder to work in, if [`rerun`] started this process.
pub(crate) fn child_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER_VARIABLE).map(Into::into)
}

const FOLDER_VARIABLE: &str = "DCP_TEST_DAGS_FOLDER";

pub(crate) fn open(folder: &Path) -> DagFolder {
    let location = folder.to_str().expect("its name is text");
    DagFolder::open(location, Path::new("/nowhere")).expect("a folder can be opened")
}
