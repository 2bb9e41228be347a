//! Checks that the engine version exists, and that packages match it.

use dcp_model::manifest::{EngineVersion, Maven};

use super::Subject;
use crate::diag::{Code, Diagnostic, Severity, list};

pub(super) fn check(subject: &mut Subject<'_>) {
    let version = &subject.manifest.spec.engine.version;
    let Some(entry) = subject.engines.get(version) else {
        let at = subject.at(&["spec", "engine", "version"]);
        let versions = list(subject.engines.versions(), "and");
        let diagnostic =
            Diagnostic::new(Code::UNKNOWN_ENGINE, format!("the platform has no engine `{version}`"));
        let known = |minor: &&str| subject.engines.versions().any(|known| known == *minor);
        let meant = major_minor(version.as_str()).filter(known);
        let diagnostic = match meant {
            Some(meant) => diagnostic.at(at, format!("did you mean \"{meant}\"?")),
            None => diagnostic.at(at, "not in the platform's table"),
        };
        let help = format!("it has {versions}; others are added under `engines` in `dcp.yaml`");
        return subject.report(diagnostic.help(help));
    };
    let scala = entry.scala.clone();
    packages(subject, &scala, version);
}

fn major_minor(version: &str) -> Option<&str> {
    let (at, _) = version.match_indices('.').nth(1)?;
    Some(&version[..at])
}

/// Reports jars for another version of Scala or Spark. At run time, they fail only when their first class is loaded.
fn packages(subject: &mut Subject<'_>, scala: &str, engine: &EngineVersion) {
    for (at, package) in subject.manifest.spec.dependencies.packages.iter().enumerate() {
        if let Some(diagnostic) = mismatch(package, scala, engine) {
            let place = subject.at(&["spec", "dependencies", "packages", &at.to_string()]);
            subject.report(diagnostic.at(place, ""));
        }
    }
}

fn mismatch(package: &Maven, scala: &str, engine: &EngineVersion) -> Option<Diagnostic> {
    let mut parts = package.as_str().split(':');
    let (group, artifact, version) = (parts.next()?, parts.next()?, parts.next()?);
    let suffix = artifact.rsplit_once('_').map(|(_, suffix)| suffix);
    let is_scala = |suffix: &&str| *suffix == "3" || suffix.starts_with("2.1");
    if let Some(other) = suffix.filter(|suffix| is_scala(suffix) && *suffix != scala) {
        let right = artifact.replace(&format!("_{other}"), &format!("_{scala}"));
        let message = format!("`{artifact}` is made for Scala {other}, and the engine {engine} has {scala}");
        let help = format!("take `{group}:{right}:{version}`");
        return Some(Diagnostic::new(Code::BAD_MAVEN, message).help(help));
    }
    let release = major_minor(engine.as_str()).unwrap_or(engine.as_str());
    if group == "org.apache.spark" && !version.starts_with(&format!("{release}.")) {
        let message = format!("`{artifact}` is of Spark {version}, and the engine is {engine}");
        let help = format!("take the version of it that belongs to {engine}");
        return Some(Diagnostic::new(Code::BAD_MAVEN, message).help(help));
    }
    let (major, minor) = spark_version_of(artifact).or_else(|| spark_version_of(version))?;
    let own = engine.spark().filter(|own| *own != (major, minor))?;
    let message =
        format!("`{package}` is made for Spark {major}.{minor}, and the engine is {}.{}", own.0, own.1);
    let help = format!("take the one that is made for Spark {}.{}, if there is one", own.0, own.1);
    let mut diagnostic = Diagnostic::new(Code::BAD_MAVEN, message).help(help);
    // Packages for the next minor version often work.
    if major == own.0 {
        diagnostic.severity = Severity::Warning;
    }
    Some(diagnostic)
}

/// Returns the version of Spark in the name or the version of an artifact: `iceberg-spark-runtime-3.5_2.13`,
/// `2.0.7-spark-3.5`.
fn spark_version_of(name: &str) -> Option<(u32, u32)> {
    let (_, after) = name.split_once("spark")?;
    after.split(['-', '_']).find_map(|part| {
        let mut numbers = part.split('.').map(|number| number.parse().ok());
        match (numbers.next()??, numbers.next()??) {
            // The suffix is a version of Scala, not of Spark.
            (2, 10..) => None,
            version => Some(version),
        }
    })
}
