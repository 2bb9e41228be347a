//! Translates an application to a command line of spark-submit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::on_this_machine;
use super::folder::{Folder, SETTINGS_FILE};
use super::installation::{Installation, Installations};
use super::launch::Launch;
use super::log;
use super::prepare::{self, Packages, Work};
use super::secrets::{self, Resolver, Secrets};
use crate::application::{CONNECT, MODULES, PACKAGES, SECRETS, Spec};
use crate::error::{Error, Result};
use crate::fields::{containers, items};
use crate::secrets::SecretValue;
use crate::{SecretKey, SparkApplication, connect, log4j, references};

/// The variable with the path of the stop file, which exists once the application is to stop. A program that
/// watches it creates another file, with `.watched` appended to the name, and gets no signal until the grace
/// period is over.
const STOP_FILE: &str = "DCP_STOP_FILE";

/// Settings that this backend sets, or passes as options of spark-submit.
const RESERVED_SETTINGS: [&str; 2] = ["spark.master", "spark.submit.deployMode"];

/// The context of a launch.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaunchContext<'a> {
    pub(super) folder: &'a Folder,
    pub(super) installations: &'a Installations,
    /// The base of relative paths.
    pub(super) directory: &'a Path,
    pub(super) secrets: &'a Resolver,
    /// The folder of the cache.
    pub(super) cache: &'a Path,
    /// The token of the driver, if it serves Spark Connect for a pool.
    pub(super) token: Option<&'a SecretValue>,
}

pub(super) fn launch(application: &SparkApplication, context: &LaunchContext<'_>) -> Result<Launch> {
    let LaunchContext { folder, installations, directory, .. } = *context;
    let spec = &application.spec;
    let installation = installations.get(&spec.runtime_versions.spark_version)?;
    let mut mounts = Mounts::of(spec, folder.path());
    let mut secrets = hidden_files(&mounts, context.secrets)?;
    let mut conf = conf(spec, folder, installation);
    mounts.files.extend(log_settings(&mut conf, folder)?);
    for list in ["spark.jars", "spark.archives"] {
        if let Some(files) = conf.get_mut(list) {
            *files = absolute(files, directory);
        }
    }
    let python = python(&conf, installations, installation)?;
    let packages = packages(&mut conf, context.cache, installation, &python)?;
    if packages.as_ref().is_some_and(|packages| !packages.is_complete()) {
        secrets.pip = prepare::pip_environment();
    }
    let work = work(spec, &conf, directory)?;
    hide_settings(&mut conf, &mut secrets, installation, context.secrets)?;
    let properties = secrets.files.contains_key(SETTINGS_FILE).then(|| folder.settings());
    let mut args = options(application, properties.as_deref(), &conf, &mounts)?;
    args.extend(program(spec, &mounts, directory)?);
    let mut environment = environment(folder, installations, installation)?;
    variables(spec, &mut environment, &mut secrets, context)?;
    Ok(Launch {
        program: installation.submit(),
        args,
        environment,
        directory: if work.is_empty() { directory.to_owned() } else { folder.work() },
        log_limit: log::DEFAULT_LIMIT,
        cgroups: true,
        event_log: has_own_event_log(&conf, folder),
        python,
        work,
        packages,
        secret_files: secrets.files.keys().cloned().collect(),
        secrets,
        required_programs: required_programs(spec, &mounts, directory),
        files: mounts.files,
    })
}

/// Returns the file that configures the driver's log, if the application has one.
fn log_settings(conf: &mut BTreeMap<String, String>, folder: &Folder) -> Result<Option<(String, String)>> {
    let path = utf8_path(&folder.path().join(log4j::FILE))?;
    let text = log4j::configure(conf, &["driver"], &path);
    Ok(text.map(|text| (log4j::FILE.to_owned(), text)))
}

/// Returns the options of spark-submit before those of the program. `settings` is a file with further settings.
fn options(
    application: &SparkApplication,
    settings: Option<&Path>,
    conf: &BTreeMap<String, String>,
    mounts: &Mounts,
) -> Result<Vec<String>> {
    let SparkApplication { metadata, spec, .. } = application;
    let mut args = vec!["--master".to_owned(), master(spec), "--name".to_owned(), metadata.name.clone()];
    if let Some(settings) = settings {
        args.extend(["--properties-file".to_owned(), utf8_path(settings)?]);
    }
    for (key, value) in conf {
        args.extend(["--conf".to_owned(), format!("{key}={}", mounts.local_path(value))]);
    }
    Ok(args)
}

/// Returns the environment of every driver.
fn environment(
    folder: &Folder,
    installations: &Installations,
    installation: &Installation,
) -> Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::from([
        ("SPARK_HOME".to_owned(), utf8_path(&installation.home)?),
        // Drivers listen on this machine only.
        ("SPARK_LOCAL_IP".to_owned(), "127.0.0.1".to_owned()),
        (STOP_FILE.to_owned(), utf8_path(&folder.stop_file())?),
    ]);
    if let Some(python) = default_python(installations, installation) {
        environment.insert("PYSPARK_PYTHON".to_owned(), utf8_path(&python)?);
    }
    Ok(environment)
}

/// Returns the programs that must exist on this machine. Files of config maps exist once the application is created,
/// so they are not checked.
fn required_programs(spec: &Spec, mounts: &Mounts, directory: &Path) -> Vec<PathBuf> {
    let own = spec.jars.iter().chain(&spec.py_files).flat_map(|files| files.split(','));
    let own = own.filter(|file| mounts.local_path(file) == *file).filter_map(on_this_machine);
    own.map(|path| directory.join(path)).collect()
}

/// Returns true if Spark writes its event log into the application's folder.
fn has_own_event_log(conf: &BTreeMap<String, String>, folder: &Folder) -> bool {
    let is = |key: &str, value: &str| conf.get(key).is_some_and(|it| it == value);
    is("spark.eventLog.enabled", "true") && is("spark.eventLog.dir", &folder.event_log_url())
}

/// The argument of spark-submit in place of a jar, for main classes on Spark's class path.
const NO_RESOURCE: &str = "spark-internal";

/// Returns the program and its arguments, with the options of spark-submit that belong to them.
fn program(spec: &Spec, mounts: &Mounts, directory: &Path) -> Result<Vec<String>> {
    let resolve = |files: &String| absolute(&mounts.local_paths(files), directory);
    let mut args = Vec::new();
    let mut option = |name: &str, value: Option<String>| {
        args.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    };
    let is_python = spec.jars.is_none() && spec.py_files.is_some();
    option("--class", spec.main_class.clone().filter(|_| !is_python));
    option("--files", spec.files.as_ref().map(resolve));
    let py_files = spec.py_files.as_ref().map(resolve);
    let program = match (&spec.jars, py_files) {
        (Some(jar), more) => {
            option("--py-files", more);
            resolve(jar)
        }
        (None, Some(files)) => match files.split_once(',') {
            Some((program, more)) => {
                let program = program.to_owned();
                option("--py-files", Some(more.to_owned()));
                program
            }
            None => files,
        },
        (None, None) if spec.main_class.is_some() => NO_RESOURCE.to_owned(),
        (None, None) => {
            let message = "the application has neither a jar, nor a Python program, nor a main class";
            return Err(Error::Invalid(message.to_owned()));
        }
    };
    args.push(program);
    for argument in &spec.driver_args {
        references::reject(argument, "job.args", "the command line")?;
        args.push(mounts.local_path(argument));
    }
    Ok(args)
}

/// Makes the relative paths in a list of files absolute, as the driver's working folder may be another one.
fn absolute(files: &str, directory: &Path) -> String {
    let one = |file: &str| match file.is_empty() || file.starts_with('/') || file.contains(':') {
        true => file.to_owned(),
        false => directory.join(file).display().to_string(),
    };
    files.split(',').map(one).collect::<Vec<_>>().join(",")
}

/// Returns the Python that creates environments and unpacks archives.
fn python(
    conf: &BTreeMap<String, String>,
    installations: &Installations,
    installation: &Installation,
) -> Result<PathBuf> {
    let requested = conf.get("spark.pyspark.python").map(PathBuf::from);
    if let Some(missing) = requested.as_ref().filter(|it| it.is_absolute() && !it.is_file()) {
        let missing = missing.display();
        let reason =
            format!("`{missing}` does not exist on this machine; name one that does, or leave it out");
        return Err(Error::field("job.pyspark.environment.python", reason));
    }
    // A Python inside an archive does not exist yet.
    let requested = requested.filter(|it| !it.starts_with("."));
    let default = default_python(installations, installation);
    Ok(requested.or(default).unwrap_or_else(|| PathBuf::from("python3")))
}

/// Returns the Python of an installation, or the one of all installations.
fn default_python(installations: &Installations, installation: &Installation) -> Option<PathBuf> {
    installation.python.clone().or_else(|| installations.python.clone().map(PathBuf::from))
}

fn packages(
    conf: &mut BTreeMap<String, String>,
    cache: &Path,
    installation: &Installation,
    python: &Path,
) -> Result<Option<Packages>> {
    const FIELD: &str = "job.pyspark.environment.packages";
    let Some(list) = conf.remove(PACKAGES) else { return Ok(None) };
    let requirements: Vec<String> = serde_json::from_str(&list)
        .map_err(|error| Error::field(FIELD, format!("it is not a list of texts: {error}")))?;
    if conf.get("spark.pyspark.python").is_some_and(|it| it.starts_with("./")) {
        let reason =
            "`local` installs no packages into `archive`; put them into the archive, or leave it out";
        return Err(Error::field(FIELD, reason));
    }
    let packages = Packages::new(&cache.join("python"), requirements, &installation.version, python)?;
    conf.insert("spark.pyspark.python".to_owned(), utf8_path(&packages.python())?);
    Ok(Some(packages))
}

fn work(spec: &Spec, conf: &BTreeMap<String, String>, directory: &Path) -> Result<Work> {
    let mut work = Work::default();
    if let Some(files) = &spec.files {
        work.add(files, "dependencies.files", false, directory)?;
    }
    if let Some(archives) = conf.get("spark.archives") {
        work.add(archives, "dependencies.archives", true, directory)?;
    }
    Ok(work)
}

/// Returns the application's own files that contain secrets.
fn hidden_files(mounts: &Mounts, resolver: &Resolver) -> Result<Secrets> {
    let mut secrets = Secrets::default();
    for (name, content) in &mounts.files {
        if let Some(content) = resolver.resolve_json(content, "job")? {
            secrets.files.insert(name.clone(), content);
        }
    }
    Ok(secrets)
}

/// Moves the settings that contain secrets from the command line to a file.
fn hide_settings(
    conf: &mut BTreeMap<String, String>,
    secrets: &mut Secrets,
    installation: &Installation,
    resolver: &Resolver,
) -> Result<()> {
    let keys = references::settings_with_secrets(conf)?;
    references::redact(conf, &keys, &resolver.options());
    if keys.is_empty() {
        return Ok(());
    }
    let mut hidden = BTreeMap::new();
    for key in keys {
        let text = conf.remove(&key).unwrap_or_default();
        let value = resolver.resolve(&text, &format!("spark.conf.{key}"))?;
        hidden.insert(key, value.unwrap_or(text));
    }
    // With `--properties-file`, spark-submit does not read the installation's defaults.
    let folder =
        std::env::var_os("SPARK_CONF_DIR").map_or_else(|| installation.home.join("conf"), PathBuf::from);
    let defaults = std::fs::read_to_string(folder.join("spark-defaults.conf")).unwrap_or_default();
    secrets.files.insert(SETTINGS_FILE.to_owned(), format!("{defaults}\n{}", secrets::properties(&hidden)));
    Ok(())
}

fn utf8_path(path: &Path) -> Result<String> {
    let refused = || Error::Invalid(format!("the path `{}` is not UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(refused)
}

/// Returns a master with as many threads as the executors would have cores, limited to the cores of this machine.
fn master(spec: &Spec) -> String {
    if let Some(own) = spec.spark_conf.get("spark.master").filter(|master| master.starts_with("local")) {
        return own.clone();
    }
    let number = |key: &str| spec.spark_conf.get(key).and_then(|value| value.parse::<usize>().ok());
    let dynamic = number("spark.dynamicAllocation.maxExecutors");
    let executors = number("spark.executor.instances").or(dynamic).unwrap_or(1);
    let requested_cores = executors.saturating_mul(number("spark.executor.cores").unwrap_or(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("local[{}]", requested_cores.clamp(1, cores))
}

/// Returns the configuration, with the settings that `local` adds.
fn conf(spec: &Spec, folder: &Folder, installation: &Installation) -> BTreeMap<String, String> {
    let mut conf = spec.spark_conf.clone();
    let local = !conf.get("spark.master").is_some_and(|master| master.starts_with("local-cluster"));
    // One process is driver and executor, and has the heap of both.
    let heaps = ["spark.driver.memory", "spark.executor.memory"]
        .map(|key| conf.get(key).and_then(|it| mebibytes(it)));
    if let (true, [Some(driver), Some(executor)]) = (local, heaps) {
        conf.insert("spark.driver.memory".to_owned(), format!("{}m", driver.saturating_add(executor)));
    }
    let defaults = [
        ("spark.eventLog.enabled", "true".to_owned()),
        ("spark.eventLog.dir", folder.event_log_url()),
        ("spark.sql.warehouse.dir", format!("file://{}", folder.warehouse().display())),
        ("spark.ui.port", "0".to_owned()),
        ("spark.ui.showConsoleProgress", "false".to_owned()),
    ];
    for (key, value) in defaults {
        conf.entry(key.to_owned()).or_insert(value);
    }
    if let Some(modules) = conf.remove(MODULES) {
        let requested = conf.get("spark.jars.packages").cloned();
        let is_named =
            |module: &str| requested.as_ref().is_some_and(|it| it.contains(&format!(":spark-{module}_")));
        let missing = modules.split(',').filter(|module| !installation.has(module) && !is_named(module));
        let packages: Vec<String> = missing.map(|module| installation.module(module)).collect();
        let all: Vec<String> = requested.into_iter().chain(packages).collect();
        if !all.is_empty() {
            conf.insert("spark.jars.packages".to_owned(), all.join(","));
        }
    }
    if conf.remove(CONNECT).is_some_and(|value| value == "true") {
        // Other machines can't reach the driver, and drivers do not conflict.
        conf.insert(connect::BINDING_ADDRESS.to_owned(), "127.0.0.1".to_owned());
        conf.insert(connect::BINDING_PORT.to_owned(), "0".to_owned());
    }
    conf.retain(|key, _| key != SECRETS && !RESERVED_SETTINGS.contains(&key.as_str()));
    conf
}

/// Parses Spark's format of memory sizes: a number, and `k`, `m`, `g` or `t`, optionally with a `b`.
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

/// Collects the environment of the driver's container.
fn variables(
    spec: &Spec,
    plain: &mut BTreeMap<String, String>,
    secrets: &mut Secrets,
    context: &LaunchContext<'_>,
) -> Result<()> {
    let resolver = context.secrets;
    for variable in containers(spec).flat_map(|container| items(container, "env")) {
        let Some(name) = variable["name"].as_str() else { continue };
        let field = format!("pods.driver.env.{name}");
        let from = &variable["valueFrom"];
        if let Some(value) = variable["value"].as_str() {
            match resolver.resolve(value, &field)? {
                Some(secret) => secrets.environment.insert(name.to_owned(), secret),
                None => plain.insert(name.to_owned(), value.to_owned()),
            };
        } else if let (Some(secret), Some(key)) =
            (from["secretKeyRef"]["name"].as_str(), from["secretKeyRef"]["key"].as_str())
        {
            let secret = SecretKey::new(secret, key, &field)?;
            secrets.environment.insert(name.to_owned(), resolver.get(&secret, &field)?);
        } else if !from.is_null() {
            let reason =
                "it comes from a config map or a pod, which `local` does not have; give a value, or a secret";
            return Err(Error::field(field, reason));
        }
    }
    // All references are resolved by now.
    secrets.values = resolver.used_values();
    if let Some(token) = context.token {
        secrets.environment.insert(connect::TOKEN_VARIABLE.to_owned(), token.expose().to_owned());
        secrets.values.insert(token.expose().to_owned());
    }
    Ok(())
}

/// Config maps of the application: their mount paths in the driver's pod, and their paths on this machine.
struct Mounts {
    mappings: Vec<(String, String)>,
    files: BTreeMap<String, String>,
}

impl Mounts {
    fn of(spec: &Spec, folder: &Path) -> Self {
        let mut mounts = Self { mappings: Vec::new(), files: BTreeMap::new() };
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
            let local = format!("config/{number}");
            mounts
                .mappings
                .push((mount.trim_end_matches('/').to_owned(), folder.join(&local).display().to_string()));
            // The names are dcp's own, and a name is no path.
            let plain = map.data.iter().filter(|(name, _)| !name.contains('/') && !name.starts_with('.'));
            mounts.files.extend(plain.map(|(name, text)| (format!("{local}/{name}"), text.clone())));
        }
        mounts
    }

    /// Maps a path in the driver's pod to one on this machine; other texts are unchanged.
    fn local_path(&self, text: &str) -> String {
        let path = text.strip_prefix("local://").unwrap_or(text);
        for (mount_path, local) in &self.mappings {
            match path.strip_prefix(mount_path.as_str()) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => return format!("{local}{rest}"),
                _ => {}
            }
        }
        text.to_owned()
    }

    fn local_paths(&self, texts: &str) -> String {
        texts.split(',').map(|text| self.local_path(text)).collect::<Vec<_>>().join(",")
    }
}
