//! Implements `dcp validate DIR` without printing diagnostics: finds the manifests, reads each, and links all.

use std::io;
use std::path::{Path, PathBuf};

use dcp_compiler::compile::{Compilation, Compiler, Goal};
use dcp_compiler::project::{self, Project};
use dcp_compiler::source::{FileId, LoadError, SourceFile, SourceLoader};
use rayon::prelude::*;

/// The files below a folder.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl SourceLoader for Folder {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        let bytes = std::fs::read(self.0.join(path)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LoadError::NotFound,
            io::ErrorKind::IsADirectory => LoadError::Directory,
            _ => LoadError::Other(error.to_string()),
        })?;
        String::from_utf8(bytes).map_err(|error| LoadError::NotUtf8(error.utf8_error().valid_up_to()))
    }
}

/// The number of threads that read files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    One,
    /// One thread per core.
    All,
}

/// Returns the sorted paths of the manifests below a folder, relative to it.
pub fn discover(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in ignore::WalkBuilder::new(root).build() {
        let entry = entry.map_err(io::Error::other)?;
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
            && path != Path::new(project::FILE_NAME)
        {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns the project file's text, or an empty text if there is no project file.
pub fn project_text(root: &Path) -> io::Result<String> {
    match std::fs::read_to_string(root.join(project::FILE_NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// Reads a project file that is known to be valid.
pub fn read_project(text: &str) -> io::Result<Project<'_>> {
    if text.is_empty() {
        return Ok(Project::none());
    }
    let (project, diagnostics) = Project::read(FileId(0), text, None);
    project.ok_or_else(|| io::Error::other(format!("the project file is wrong: {diagnostics:?}")))
}

pub fn compiler<'p>(project: &'p Project<'p>, text: &str) -> Compiler<'p> {
    let source = SourceFile { path: project::FILE_NAME.into(), text: text.into() };
    Compiler { project, project_source: Some(source), project_diagnostics: Vec::new(), goal: Goal::Validate }
}

/// Validates files by their paths.
pub fn run(
    compiler: &Compiler<'_>,
    loader: &dyn SourceLoader,
    paths: &[String],
    threads: Threads,
) -> Compilation {
    let analyze = |(index, path): (usize, &String)| compiler.analyze(index, path, loader);
    let analyses = match threads {
        Threads::One => paths.iter().enumerate().map(analyze).collect(),
        Threads::All => paths.par_iter().enumerate().map(analyze).collect(),
    };
    compiler.link(analyses)
}
