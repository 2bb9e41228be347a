//! Checks that the engine version exists, and that packages match it.

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
    packages(subject, &scala, version.as_str());
}

fn major_minor(version: &str) -> Option<&str> {
    let (at, _) = version.match_indices('.').nth(1)?;
    Some(&version[..at])
}

/// Reports jars for another version of Scala or Spark. At run time, they fail only when their first class is loaded.
fn packages(subject: &mut Subject<'_>, scala: &str, engine: &str) {
    for (at, package) in subject.manifest.spec.dependencies.packages.iter().enumerate() {
        let mut parts = package.as_str().split(':');
        let (Some(group), Some(artifact), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let place = || subject.at(&["spec", "dependencies", "packages", &at.to_string()]);
        let suffix = artifact.rsplit_once('_').map(|(_, suffix)| suffix);
        let is_scala = |suffix: &&str| *suffix == "3" || suffix.starts_with("2.1");
        let other = suffix.filter(|suffix| is_scala(suffix) && *suffix != scala);
        let spark = spark_version_of(artifact).or_else(|| spark_version_of(version));
        let diagnostic = if let Some(other) = other {
            let right = artifact.replace(&format!("_{other}"), &format!("_{scala}"));
            Diagnostic::new(
                Code::BAD_MAVEN,
                format!("`{artifact}` is made for Scala {other}, and the engine {engine} has {scala}"),
            )
            .at(place(), "")
            .help(format!("take `{group}:{right}:{version}`"))
        } else if group == "org.apache.spark" && !version.starts_with(&format!("{}.", major_minor_of(engine)))
        {
            Diagnostic::new(
                Code::BAD_MAVEN,
                format!("`{artifact}` is of Spark {version}, and the engine is {engine}"),
            )
            .at(place(), "")
            .help(format!("take the version of it that belongs to {engine}"))
        } else if let (Some(spark), Some(own)) = (spark, subject.manifest.spec.engine.version.spark())
            && spark != own
        {
            let (major, minor) = spark;
            let message = format!(
                "`{package}` is made for Spark {major}.{minor}, and the engine is {}.{}",
                own.0, own.1
            );
            let mut diagnostic = Diagnostic::new(Code::BAD_MAVEN, message)
                .at(place(), "")
                .help(format!("take the one that is made for Spark {}.{}, if there is one", own.0, own.1));
            // Packages for the next minor version often work.
            if major == own.0 {
                diagnostic.severity = Severity::Warning;
            }
            diagnostic
        } else {
            continue;
        };
        subject.report(diagnostic);
    }
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

fn major_minor_of(engine: &str) -> &str {
    major_minor(engine).unwrap_or(engine)
}
