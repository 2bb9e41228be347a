//! The Spark, Java and Python of this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// An installation of Spark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    pub home: PathBuf,
    /// The version, such as `4.3.0`.
    pub version: String,
    /// The Scala version of its jars, such as `2.13`.
    pub scala: String,
    /// The Python of the environment that contains it.
    pub python: Option<PathBuf>,
}

impl Installation {
    /// Returns the Spark in a folder, if there is one.
    pub fn at(home: &Path) -> Option<Self> {
        let jars = std::fs::read_dir(home.join("jars")).ok()?;
        let core = jars.flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (scala, version) = name.strip_prefix("spark-core_")?.strip_suffix(".jar")?.split_once('-')?;
            Some((scala.to_owned(), version.to_owned()))
        });
        let (scala, version) = core?;
        if !home.join("bin/spark-submit").is_file() {
            return None;
        }
        // `pip install pyspark` puts it below ENVIRONMENT/lib/python3.N/site-packages/pyspark.
        let environment = home.ancestors().nth(4);
        let python = environment.map(|it| it.join("bin/python")).filter(|python| python.exists());
        Some(Self { home: home.to_owned(), version, scala, python })
    }

    pub fn submit(&self) -> PathBuf {
        self.home.join("bin/spark-submit")
    }

    /// Returns true if a module of Spark is among its jars.
    pub fn has(&self, module: &str) -> bool {
        self.home.join(format!("jars/spark-{module}_{}-{}.jar", self.scala, self.version)).exists()
    }

    /// Returns the Maven coordinates of a module that is not among the jars.
    pub fn module(&self, name: &str) -> String {
        format!("org.apache.spark:spark-{name}_{}:{}", self.scala, self.version)
    }

    /// Returns true if the version matches a requested one: `4.3` matches any `4.3.x`.
    fn satisfies(&self, requested: &str) -> bool {
        self.version == requested
            || self.version.strip_prefix(requested).is_some_and(|rest| rest.starts_with(['.', '-']))
    }
}

/// The installations of Spark on this machine.
#[derive(Debug, Clone, Default)]
pub struct Installations {
    /// In the order of preference.
    pub found: Vec<Installation>,
    /// The places that were searched, for messages.
    pub searched: Vec<String>,
    pub java: Option<PathBuf>,
    /// The Python that the environment names, for a Spark outside of a Python environment.
    pub python: Option<OsString>,
    /// The folder of the cache that all projects share.
    pub cache: Option<PathBuf>,
}

impl Installations {
    /// Searches `SPARK_HOME`, then `$DCP_CACHE/spark`, where `make spark` installs.
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut found = Vec::new();
        let mut searched = Vec::new();
        if let Some(home) = variable("SPARK_HOME").filter(|it| !it.is_empty()) {
            searched.push(format!("SPARK_HOME, {}", Path::new(&home).display()));
            found.extend(Installation::at(Path::new(&home)));
        } else {
            searched.push("SPARK_HOME, which is not set".to_owned());
        }
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".cache/dcp"));
        let cache = variable("DCP_CACHE").map(PathBuf::from).or_else(home);
        if let Some(cache) = &cache {
            let folder = cache.join("spark");
            searched.push(folder.display().to_string());
            // `SPARK_HOME` may be one of these.
            let known = found.clone();
            found.extend(installed(&folder).into_iter().filter(|it| !known.contains(it)));
        }
        let executable = |path: PathBuf| path.is_file().then_some(path);
        let of_home = variable("JAVA_HOME").and_then(|home| executable(Path::new(&home).join("bin/java")));
        let of_path = || {
            let path = variable("PATH")?;
            std::env::split_paths(&path).find_map(|folder| executable(folder.join("java")))
        };
        let java = of_home.or_else(of_path);
        Self { found, searched, java, python: variable("PYSPARK_PYTHON"), cache }
    }

    /// Returns the Spark of a version, or an error with a remedy.
    pub fn get(&self, requested: &str) -> Result<&Installation> {
        if self.java.is_none() {
            let message = "there is no Java: install Java 17 or newer, or say in JAVA_HOME where it is";
            return Err(Error::Invalid(message.to_owned()));
        }
        if let Some(installation) = self.found.iter().find(|it| it.satisfies(requested)) {
            return Ok(installation);
        }
        let available: Vec<&str> = self.found.iter().map(|it| it.version.as_str()).collect();
        let available = match available.as_slice() {
            [] => format!("there is no Spark on this machine; looked at {}", self.searched.join("; ")),
            available => {
                format!("Spark {requested} is not on this machine, which has {}", available.join(", "))
            }
        };
        Err(Error::Invalid(format!("{available}; `dcp doctor` says how to get it")))
    }
}

/// Returns the Sparks in private environments, newest first.
fn installed(folder: &Path) -> Vec<Installation> {
    let environments = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let libraries = environments
        .flat_map(|entry| std::fs::read_dir(entry.path().join("lib")).into_iter().flatten().flatten());
    let homes = libraries.map(|python| python.path().join("site-packages/pyspark"));
    let mut all: Vec<Installation> = homes.filter_map(|home| Installation::at(&home)).collect();
    let numbers = |it: &Installation| -> Vec<u32> {
        it.version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
    };
    all.sort_by_key(|it| std::cmp::Reverse(numbers(it)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(folder: &Path, version: &str) {
        let home = folder.join(version).join("lib/python3.11/site-packages/pyspark");
        std::fs::create_dir_all(home.join("jars")).expect("it can be created");
        std::fs::create_dir_all(home.join("bin")).expect("it can be created");
        std::fs::write(home.join(format!("jars/spark-core_2.13-{version}.jar")), "")
            .expect("it can be written");
        std::fs::write(home.join("bin/spark-submit"), "").expect("it can be written");
    }

    #[test]
    fn version_is_found_or_the_installed_ones_are_named() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let java = folder.path().join("bin/java");
        std::fs::create_dir_all(folder.path().join("bin")).expect("it can be created");
        std::fs::write(&java, "").expect("it can be written");
        install(&folder.path().join("spark"), "4.3.0");
        install(&folder.path().join("spark"), "4.1.4");
        install(&folder.path().join("spark"), "4.10.0");
        let variable = |name: &str| match name {
            "DCP_CACHE" | "JAVA_HOME" => Some(folder.path().into()),
            _ => None,
        };
        let all = Installations::find(variable);
        assert_eq!(all.java, Some(java));
        assert_eq!(all.get("4.1").expect("it exists").version, "4.1.4");
        assert_eq!(all.get("4.3.0").expect("it exists").version, "4.3.0");
        let refused = all.get("4").map(|it| it.version.clone());
        assert_eq!(refused, Ok("4.10.0".to_owned()));
        let Err(Error::Invalid(said)) = all.get("3.5") else { panic!("it is not there") };
        assert!(said.contains("which has 4.10.0, 4.3.0, 4.1.4"), "{said}");
        let Err(Error::Invalid(said)) = all.get("4.11") else { panic!("it is not there") };
        assert!(said.contains("Spark 4.11"), "{said}");
        let none = Installations::find(|_| None);
        let Err(Error::Invalid(said)) = none.get("4.3") else { panic!("there is none") };
        assert!(said.contains("Java"), "{said}");
    }
}
