//! Checks of files that a job uses unchanged: its program and the program's dependencies.

use std::slice;

use dcp_model::manifest::{FileRef, Job, Manifest};

use super::load::unreadable;
use crate::diag::Diagnostic;
use crate::source::SourceLoader;
use crate::yaml::NodeRef;

/// Reports files of the project that can't be read.
pub(super) fn check(
    manifest: &Manifest,
    root: NodeRef<'_>,
    loader: &dyn SourceLoader,
    found: &mut Vec<Diagnostic>,
) {
    for (path, files) in lists(manifest) {
        for (index, file) in files.iter().enumerate() {
            let Some(name) = in_project(file) else { continue };
            let Err(error) = loader.check(name) else { continue };
            let index = index.to_string();
            let path = ["spec"].into_iter().chain(path.iter().copied()).chain([index.as_str()]);
            found.push(unreadable(name, &error, root.nearest(path).span()));
        }
    }
}

/// Returns the files of a job, with the path below `spec` of the field that lists them.
fn lists(manifest: &Manifest) -> Vec<(&'static [&'static str], &[FileRef])> {
    let dependencies = &manifest.spec.dependencies;
    let mut lists: Vec<(&'static [&'static str], &[FileRef])> = vec![
        (&["dependencies", "jars"], &dependencies.jars),
        (&["dependencies", "files"], &dependencies.files),
        (&["dependencies", "archives"], &dependencies.archives),
    ];
    match &manifest.spec.job {
        Job::Pyspark(job) => {
            lists.push((&["job", "pyspark", "main"], slice::from_ref(&job.main)));
            lists.push((&["job", "pyspark", "pyFiles"], &job.py_files));
            lists.push((&["job", "pyspark", "environment", "archive"], job.environment.archive.as_slice()));
        }
        Job::Jar(job) => lists.push((&["job", "jar", "main"], job.main.as_slice())),
        Job::Sql(_) | Job::Stream(_) => {}
    }
    lists
}

/// Returns the path of a file in the project. Other files are on the cluster, or have parameters in their names.
fn in_project(file: &FileRef) -> Option<&str> {
    // In Spark, the text after `#` is the name of the file in the job's working directory.
    let path = file.as_str().split('#').next().unwrap_or_default();
    let elsewhere = path.contains("://") || path.contains("${");
    (!elsewhere && !path.is_empty()).then_some(path)
}
