//! From an application to spark-submit's command line: `local`'s own dialect.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::Folder;
use super::installation::{Installation, Installations};
use super::log;
use crate::SparkApplication;
use crate::application::{MODULES, Spec};
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
    /// What must not be in this file.
    #[serde(skip)]
    pub(super) secrets: Secrets,
    /// Files that the command finds in the application's folder: what a pod has mounted.
    #[serde(skip)]
    pub(super) files: BTreeMap<String, String>,
    /// Programs that have to be on this machine.
    #[serde(skip)]
    pub(super) needs: Vec<String>,
}

/// Values that are in no file but one of their own, which is removed before the driver starts.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secrets {
    pub(super) environment: BTreeMap<String, String>,
}

impl Secrets {
    pub(super) fn is_empty(&self) -> bool {
        self.environment.is_empty()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.environment.keys()).finish()
    }
}

impl Launch {
    /// What is missing would be told by Spark too, once it had started.
    pub(super) fn check(&self) -> Result<()> {
        let missing = self.needs.iter().map(|path| self.directory.join(path)).find(|path| !path.is_file());
        match missing {
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

/// The path of a file that is to be on this machine.
fn on_this_machine(file: &str) -> Option<String> {
    match file.split_once(':') {
        None => Some(file.to_owned()),
        Some(("file" | "local", path)) => Some(path.trim_start_matches("//").to_owned()),
        Some(_) => None,
    }
}

/// The variable that names a file that is there once the application is to stop. A program that looks for it creates
/// another one, with `.watched` behind the name, and gets no signal until the grace period is over.
const STOP_FILE: &str = "DCP_STOP_FILE";

/// What spark-submit is told by its own options, or what is this backend's to say.
const OWN: [&str; 2] = ["spark.master", "spark.submit.deployMode"];

pub(super) fn launch(
    application: &SparkApplication,
    folder: &Folder,
    installations: &Installations,
    directory: &Path,
) -> Result<Launch> {
    let spec = &application.spec;
    let installation = installations.get(&spec.runtime_versions.spark_version)?;
    refuse_secrets(spec)?;
    let mounts = Mounts::of(spec, folder.path());
    let conf = conf(spec, folder, installation);
    let mut args =
        vec!["--master".to_owned(), master(spec), "--name".to_owned(), application.metadata.name.clone()];
    for (key, value) in &conf {
        args.extend(["--conf".to_owned(), format!("{key}={}", mounts.here(value))]);
    }
    let mut option = |name: &str, value: Option<String>| {
        args.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    };
    option("--class", spec.main_class.clone().filter(|_| spec.jars.is_some()));
    option("--files", spec.files.as_deref().map(|files| mounts.all_here(files)));
    let py_files = spec.py_files.as_deref().map(|files| mounts.all_here(files));
    let program = match (&spec.jars, py_files) {
        (Some(jar), more) => {
            option("--py-files", more);
            mounts.all_here(jar)
        }
        (None, Some(files)) => match files.split_once(',') {
            Some((program, more)) => {
                let program = program.to_owned();
                option("--py-files", Some(more.to_owned()));
                program
            }
            None => files,
        },
        (None, None) => {
            return Err(Error::Invalid("the application has neither a jar nor a Python program".to_owned()));
        }
    };
    // What the application brings along is there once it is created.
    let own = spec.jars.iter().chain(&spec.py_files).flat_map(|files| files.split(','));
    let needs = own.filter(|file| mounts.here(file) == *file).filter_map(on_this_machine).collect();
    // spark-submit would take it for an option of its own.
    args.push(if program.starts_with('-') { format!("./{program}") } else { program });
    args.extend(spec.driver_args.iter().map(|argument| mounts.here(argument)));
    let mut environment = BTreeMap::from([
        ("SPARK_HOME".to_owned(), text(&installation.home)?),
        // What is run here is for nobody else on the network.
        ("SPARK_LOCAL_IP".to_owned(), "127.0.0.1".to_owned()),
        (STOP_FILE.to_owned(), text(&folder.stop_file())?),
    ]);
    let python = installation.python.clone().or_else(|| installations.python.clone().map(PathBuf::from));
    if let Some(python) = python {
        environment.insert("PYSPARK_PYTHON".to_owned(), text(&python)?);
    }
    let mut secrets = Secrets::default();
    variables(spec, &mut environment, &mut secrets)?;
    Ok(Launch {
        program: installation.submit(),
        args,
        environment,
        directory: directory.to_owned(),
        log_limit: log::LIMIT,
        cgroups: true,
        secrets,
        files: mounts.files,
        needs,
    })
}

/// Secrets are the cluster's: what refers to one would go on with the reference in its place.
fn refuse_secrets(spec: &Spec) -> Result<()> {
    let data = spec.config_map_specs.iter().flat_map(|map| map.data.values());
    let texts = spec.spark_conf.values().chain(&spec.driver_args).chain(data);
    let name = |text: &String| {
        let (_, from) = text.split_once("${secret.")?;
        Some(from.split_once('}').map_or(from, |(name, _)| name).to_owned())
    };
    match texts.into_iter().find_map(name) {
        Some(name) => {
            let message =
                format!("the job needs the secret `{name}`, and this machine has no secrets of a cluster");
            Err(Error::Invalid(message))
        }
        None => Ok(()),
    }
}

fn text(path: &Path) -> Result<String> {
    let refused = || Error::Invalid(format!("the path `{}` is not UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(refused)
}

/// As many threads as the executors would have cores, and no more than there are here.
fn master(spec: &Spec) -> String {
    if let Some(own) = spec.spark_conf.get("spark.master").filter(|master| master.starts_with("local")) {
        return own.clone();
    }
    let number = |key: &str| spec.spark_conf.get(key).and_then(|value| value.parse::<usize>().ok());
    let dynamic = number("spark.dynamicAllocation.maxExecutors");
    let executors = number("spark.executor.instances").or(dynamic).unwrap_or(1);
    let wanted = executors.saturating_mul(number("spark.executor.cores").unwrap_or(1));
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    format!("local[{}]", wanted.clamp(1, here))
}

/// The configuration, with what only makes sense here.
fn conf(spec: &Spec, folder: &Folder, installation: &Installation) -> BTreeMap<String, String> {
    let mut conf = spec.spark_conf.clone();
    let local = !conf.get("spark.master").is_some_and(|master| master.starts_with("local-cluster"));
    // One process is the driver and an executor, and has the heap of both.
    let heaps = ["spark.driver.memory", "spark.executor.memory"]
        .map(|key| conf.get(key).and_then(|it| mebibytes(it)));
    if let (true, [Some(driver), Some(executor)]) = (local, heaps) {
        conf.insert("spark.driver.memory".to_owned(), format!("{}m", driver.saturating_add(executor)));
    }
    let defaults = [
        ("spark.eventLog.enabled", "true".to_owned()),
        ("spark.eventLog.dir", format!("file://{}", folder.events().display())),
        ("spark.sql.warehouse.dir", format!("file://{}", folder.warehouse().display())),
        ("spark.ui.port", "0".to_owned()),
        ("spark.ui.showConsoleProgress", "false".to_owned()),
    ];
    for (key, value) in defaults {
        conf.entry(key.to_owned()).or_insert(value);
    }
    if let Some(modules) = conf.remove(MODULES) {
        let packages = modules.split(',').map(|module| installation.module(module));
        let asked = conf.get("spark.jars.packages").cloned();
        let all: Vec<String> = asked.into_iter().chain(packages).collect();
        conf.insert("spark.jars.packages".to_owned(), all.join(","));
    }
    conf.retain(|key, _| !OWN.contains(&key.as_str()));
    conf
}

/// An amount of memory as Spark writes it: a number, and `k`, `m`, `g` or `t`, perhaps with a `b` behind it.
fn mebibytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "k" => Some(number / 1024),
        "" | "m" => Some(number),
        "g" => number.checked_mul(1024),
        "t" => number.checked_mul(1024 * 1024),
        _ => None,
    }
}

/// The environment that the driver's container would have.
fn variables(spec: &Spec, plain: &mut BTreeMap<String, String>, secrets: &mut Secrets) -> Result<()> {
    for variable in containers(spec).flat_map(|container| items(container, "env")) {
        let Some(name) = variable["name"].as_str() else { continue };
        if let Some(value) = variable["value"].as_str() {
            plain.insert(name.to_owned(), value.to_owned());
        } else if variable.get("valueFrom").is_some() {
            // The secret itself is the cluster's; on this machine the variable is its owner's to set.
            let value = std::env::var(name).map_err(|_| {
                Error::Invalid(format!(
                    "the variable `{name}` comes from a secret or a config map of a cluster, and this machine has \
                     none: set it in the environment of dcp"
                ))
            })?;
            secrets.environment.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

fn containers(spec: &Spec) -> impl Iterator<Item = &Value> {
    items(&spec.driver_spec.pod_template_spec["spec"], "containers")
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Config maps that the application brings along, where its driver has them mounted, and where they are here.
struct Mounts {
    places: Vec<(String, String)>,
    files: BTreeMap<String, String>,
}

impl Mounts {
    fn of(spec: &Spec, folder: &Path) -> Self {
        let mut mounts = Self { places: Vec::new(), files: BTreeMap::new() };
        let volumes = || items(&spec.driver_spec.pod_template_spec["spec"], "volumes");
        for (number, map) in spec.config_map_specs.iter().enumerate() {
            let named = |volume: &&Value| volume["configMap"]["name"].as_str() == Some(&map.name);
            let Some(volume) = volumes().find(named).and_then(|volume| volume["name"].as_str()) else {
                continue;
            };
            let mount = containers(spec)
                .flat_map(|container| items(container, "volumeMounts"))
                .find(|mount| mount["name"].as_str() == Some(volume))
                .and_then(|mount| mount["mountPath"].as_str());
            let Some(mount) = mount else { continue };
            let here = format!("config/{number}");
            mounts
                .places
                .push((mount.trim_end_matches('/').to_owned(), folder.join(&here).display().to_string()));
            // The names are dcp's own, and a name is no path.
            let plain = map.data.iter().filter(|(name, _)| !name.contains('/') && !name.starts_with('.'));
            mounts.files.extend(plain.map(|(name, text)| (format!("{here}/{name}"), text.clone())));
        }
        mounts
    }

    /// A path in the driver's pod as one on this machine; anything else as it is.
    fn here(&self, text: &str) -> String {
        let path = text.strip_prefix("local://").unwrap_or(text);
        for (there, here) in &self.places {
            match path.strip_prefix(there.as_str()) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => return format!("{here}{rest}"),
                _ => {}
            }
        }
        text.to_owned()
    }

    fn all_here(&self, texts: &str) -> String {
        texts.split(',').map(|text| self.here(text)).collect::<Vec<_>>().join(",")
    }
}
