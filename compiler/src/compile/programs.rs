//! The files that a job takes as they are: its program, and what that depends on.

use std::slice;

use dcp_model::manifest::{FileRef, Job, Manifest};

use super::unreadable;
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

/// The files of a job, with the path below `spec` of what they stand in.
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

/// The path of a file in the project. Others are where the job runs, or known only when it does.
fn in_project(file: &FileRef) -> Option<&str> {
    // Spark takes what follows `#` for the name that the file gets where the job runs.
    let path = file.as_str().split('#').next().unwrap_or_default();
    let elsewhere = path.contains("://") || path.contains("${");
    (!elsewhere && !path.is_empty()).then_some(path)
}
