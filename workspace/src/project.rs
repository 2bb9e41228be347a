//! Finds, reads and compiles a project.

use std::collections::HashSet;
use std::mem::ManuallyDrop;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use dcp_compiler::compile::{Analysis, Compilation, Compiler, Goal, Manifests, PROJECT_FILE};
use dcp_compiler::diag::{Code, Diagnostic};
use dcp_compiler::project::{FILE_NAME, Project};
use dcp_compiler::schema;
use dcp_compiler::source::{LoadError, SourceFile};
use dcp_model::manifest::FileRef;
use rayon::prelude::*;

use crate::FOLDER;
use crate::cache::{Cache, CachedFiles, FreshAnalysis, Recorder};
use crate::error::{Error, reason};
use crate::files::Tree;
use crate::load::{Entry, EntryLoader, SearchRoot, discover, load};

/// A project on disk.
#[derive(Debug)]
pub struct Workspace {
    /// The project's folder, without links in its path.
    pub root: PathBuf,
    /// The files of that folder.
    pub tree: Tree,
    /// The content of its project file, if it has one.
    file: Option<Result<String, LoadError>>,
}

/// A listener to the progress of a compilation.
pub type OnFile<'a> = &'a (dyn Fn(usize) + Sync);

/// A request to compile.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub paths: &'a [PathBuf],
    pub target: Option<&'a str>,
    pub goal: Goal,
    /// Called for each file that is read, with the number of all files.
    pub on_file: Option<OnFile<'a>>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { paths, target, goal, on_file: _ } = self;
        f.debug_struct("Request")
            .field("paths", paths)
            .field("target", target)
            .field("goal", goal)
            .finish_non_exhaustive()
    }
}

/// The result of a compilation.
#[derive(Debug)]
pub struct Outcome {
    pub compilation: Compilation,
    /// The number of files with manifests.
    pub files: usize,
    /// True if the project file can't be used, so that no manifest was compiled.
    pub stopped: bool,
    pub timings: Timings,
    /// The files that were analyzed, if their analyses can be cached.
    pub fresh: Vec<FreshAnalysis>,
}

/// The duration of each step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    pub discover: Duration,
    pub analyze: Duration,
    pub link: Duration,
}

impl Timings {
    pub fn total(self) -> Duration {
        let Self { discover, analyze, link } = self;
        discover + analyze + link
    }
}

impl Workspace {
    /// Finds the project's folder: `named`; else the nearest one upwards with a project file, from the current
    /// folder and then from the first of `paths`; else the current folder, or that of the first path if it is
    /// elsewhere.
    pub fn find(named: Option<&Path>, paths: &[PathBuf]) -> Result<Self, Error> {
        let current = std::env::current_dir()
            .and_then(|current| current.canonicalize())
            .map_err(|error| Error::new(format!("there is no current folder: {}", reason(&error))))?;
        let root = match named {
            Some(named) => folder(named)?,
            None => nearest_project(&current, paths),
        };
        let tree = Tree::open(&root).map_err(|error| Error::at(&root, "read", &error))?;
        let file = match load(&tree, FILE_NAME) {
            Err(LoadError::NotFound) if root.join(FILE_NAME).symlink_metadata().is_err() => None,
            read => Some(read.map(|content| content.text)),
        };
        Ok(Self { root, tree, file })
    }

    /// Returns the text of the project file.
    pub fn text(&self) -> Option<&str> {
        self.file.as_ref()?.as_deref().ok()
    }

    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Returns the project for a target, as it was compiled with.
    pub fn project(&self, target: Option<&str>) -> Project<'_> {
        let text = self.file.as_ref().and_then(|file| file.as_ref().ok());
        text.and_then(|text| Project::read(PROJECT_FILE, text, target).0).unwrap_or_else(Project::none)
    }

    /// Returns the project for commands that need no manifests. An unusable project file is an error.
    pub fn target(&self, target: Option<&str>) -> Result<Project<'_>, Error> {
        let see = || "`dcp validate` says what is wrong with it";
        match (&self.file, target) {
            (None, Some(target)) => Err(no_target(target)),
            (None, None) => Ok(Project::none()),
            (Some(Err(_)), _) => Err(Error::new(format!("`{FILE_NAME}` can't be read")).help(see())),
            (Some(Ok(text)), target) => match Project::read(PROJECT_FILE, text, target) {
                (Some(project), found) if !found.iter().any(Diagnostic::is_error) => Ok(project),
                (_, found) => {
                    let first = found.iter().find(|it| it.is_error()).map(|it| it.message.clone());
                    let why = first.map(|message| format!(": {message}")).unwrap_or_default();
                    Err(Error::new(format!("`{FILE_NAME}` can't be used{why}")).help(see()))
                }
            },
        }
    }

    /// Compiles the project.
    pub fn compile(&self, request: Request<'_>) -> Result<Outcome, Error> {
        self.compile_except(request, &CachedFiles::default())
    }

    /// Validates all manifests of the project, using the cache for unchanged files.
    pub fn validate_cached(&self, request: Request<'_>) -> Result<Outcome, Error> {
        let start = Instant::now();
        let find = || self.entries(request.paths);
        let (cache, entries) = rayon::join(|| Cache::load(&self.tree, self.text(), request.target), find);
        let mut cache = ManuallyDrop::new(cache);
        let Some(cache) = cache.as_mut().filter(|_| request.paths.is_empty()) else {
            return self.compile_except(request, &CachedFiles::none(entries));
        };
        let discovered = Instant::now();
        let known = ManuallyDrop::new(cache.unchanged_files(&self.tree, entries));
        if known.complete {
            cache.store_stamps(&self.tree, &known);
            let compilation =
                Compilation { manifests: Manifests::in_files(known.manifests()), ..Compilation::default() };
            let (discover, analyze) = (discovered - start, discovered.elapsed());
            let timings = Timings { discover, analyze, link: Duration::ZERO };
            let (files, fresh) = (known.files.len(), Vec::new());
            return Ok(Outcome { compilation, files, stopped: false, timings, fresh });
        }
        let outcome = match self.validate_changed(request, cache, &known) {
            Some(fresh) => {
                let changed: usize = fresh.iter().filter_map(FreshAnalysis::manifests).sum();
                let manifests = Manifests::in_files(known.manifests() + changed);
                let (discover, analyze) = (discovered - start, discovered.elapsed());
                let timings = Timings { discover, analyze, link: Duration::ZERO };
                let files = known.files.len() + fresh.len();
                let compilation = Compilation { manifests, ..Compilation::default() };
                Outcome { compilation, files, stopped: false, timings, fresh }
            }
            None => self.compile_except(request, &known)?,
        };
        if !outcome.stopped {
            cache.store(&self.tree, &known, &outcome.compilation, &outcome.fresh);
        }
        Ok(outcome)
    }

    /// Validates only the files that changed, if that is sufficient.
    fn validate_changed(
        &self,
        request: Request<'_>,
        cache: &Cache,
        known: &CachedFiles,
    ) -> Option<Vec<FreshAnalysis>> {
        let (project, project_diagnostics) = Project::read(PROJECT_FILE, self.text()?, request.target);
        let project = &project?;
        let compiler = Compiler { project, project_source: None, project_diagnostics, goal: Goal::Validate };
        cache.analyze_if_links_unchanged(known, |index, entry| {
            let recorder = Recorder::new(EntryLoader { tree: &self.tree, entry });
            let analysis = compiler.analyze(index, &entry.path, &recorder);
            FreshAnalysis::new(index, recorder, &analysis)
        })
    }

    /// Compiles the project without the known files: these are not analyzed again, and get no primitives.
    pub fn compile_except(&self, request: Request<'_>, known: &CachedFiles) -> Result<Outcome, Error> {
        match (&self.file, request.target) {
            (None, Some(target)) => Err(no_target(target)),
            (None, None) => {
                if request.paths.is_empty() {
                    self.require_project_or_manifest()?;
                }
                Ok(self.compile_manifests(&Project::none(), (None, Vec::new()), request, known))
            }
            (Some(Err(error)), _) => Ok(self.unreadable(error)),
            (Some(Ok(text)), target) => {
                let source = SourceFile { path: FILE_NAME.into(), text: text.as_str().into() };
                match Project::read(PROJECT_FILE, text, target) {
                    (Some(project), found) => {
                        Ok(self.compile_manifests(&project, (Some(source), found), request, known))
                    }
                    (None, found) => Ok(stopped(Compilation::of_project(source, found))),
                }
            }
        }
    }

    fn compile_manifests(
        &self,
        project: &Project<'_>,
        (project_source, project_diagnostics): (Option<SourceFile>, Vec<Diagnostic>),
        request: Request<'_>,
        known: &CachedFiles,
    ) -> Outcome {
        let start = Instant::now();
        let search_roots = self.search_roots(project, request.paths);
        // Building the validator takes about as long as finding the files of a small project, so both run in
        // parallel.
        let warm_up = || {
            LazyLock::force(&schema::CORE_ETL);
        };
        let found;
        let entries = match &known.entries {
            Some(entries) => entries,
            None => {
                ((), found) = rayon::join(warm_up, || discover(&self.tree, search_roots).entries);
                &found
            }
        };
        let discovered = Instant::now();
        let compiler = Compiler { project, project_source, project_diagnostics, goal: request.goal };
        // Files with problems that only linking finds are analyzed again, so that the problems can quote their
        // text.
        let mut problems = HashSet::new();
        let (mut compilation, fresh, analyzed) = loop {
            let (analyses, fresh) = self.analyses(&compiler, entries, known, &problems, request.on_file);
            let analyzed = Instant::now();
            let compilation = compiler.link(analyses);
            let labels = compilation.diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels);
            let files = labels.filter_map(|label| compilation.manifests.file(label.span));
            let paths = files.map(|file| compilation.sources.get(file).path.to_string());
            let restored = paths.filter(|path| known.files.contains_key(path) && !problems.contains(path));
            let restored: Vec<String> = restored.collect();
            if restored.is_empty() {
                break (compilation, fresh, analyzed);
            }
            problems.extend(restored);
        };
        if self.has_file() && !request.paths.is_empty() {
            // A part of the project can't show that a producer or a use of an overlay is missing.
            let absent = [Code::NO_PRODUCER, Code::UNUSED_OVERLAY];
            compilation.diagnostics.retain(|diagnostic| !absent.contains(&diagnostic.code));
        }
        let timings = Timings {
            discover: discovered - start,
            analyze: analyzed - discovered,
            link: analyzed.elapsed(),
        };
        Outcome { compilation, files: entries.len(), stopped: false, timings, fresh }
    }

    /// Analyzes each file, except known files without problems.
    fn analyses(
        &self,
        compiler: &Compiler<'_>,
        entries: &[Entry],
        known: &CachedFiles,
        problems: &HashSet<String>,
        on_file: Option<OnFile<'_>>,
    ) -> (Vec<Analysis>, Vec<FreshAnalysis>) {
        let only_checked = Compiler {
            project: compiler.project,
            project_source: compiler.project_source.clone(),
            project_diagnostics: Vec::new(),
            goal: Goal::Validate,
        };
        let one = |(index, entry): (usize, &Entry)| {
            let cached = known.files.get(&entry.path);
            // The primitives of known files are already applied, so these files are only validated.
            let compiler = if cached.is_some() { &only_checked } else { compiler };
            let cached = cached.filter(|_| !problems.contains(&entry.path));
            let restored = cached.and_then(|file| file.analysis(index, &entry.path));
            let done = match restored {
                Some(analysis) => (analysis, None),
                None => {
                    let recorder = Recorder::new(EntryLoader { tree: &self.tree, entry });
                    let analysis = compiler.analyze(index, &entry.path, &recorder);
                    let fresh = FreshAnalysis::new(index, recorder, &analysis);
                    (analysis, Some(fresh))
                }
            };
            if let Some(on_file) = on_file {
                on_file(entries.len());
            }
            done
        };
        let (analyses, fresh): (Vec<Analysis>, Vec<_>) = entries.par_iter().enumerate().map(one).unzip();
        (analyses, fresh.into_iter().flatten().collect())
    }

    /// Returns the files and folders in `paths`, or else those that the project names.
    fn search_roots(&self, project: &Project<'_>, paths: &[PathBuf]) -> Vec<SearchRoot> {
        // Paths in `paths` are relative to the current folder, those of the project to its own folder.
        let full = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let asked =
            paths.iter().map(|path| SearchRoot { display_name: self.display_path(path), path: full(path) });
        let mut search_roots: Vec<SearchRoot> = asked.collect();
        if search_roots.is_empty() && self.has_file() {
            let named = project.file.manifests.iter().map(FileRef::as_str);
            search_roots.extend(
                named.map(|path| SearchRoot { display_name: path.to_owned(), path: self.root.join(path) }),
            );
        } else if search_roots.is_empty() {
            search_roots.push(SearchRoot { display_name: ".".to_owned(), path: self.root.clone() });
        }
        search_roots
    }

    /// Returns all files with manifests.
    pub fn entries(&self, paths: &[PathBuf]) -> Vec<Entry> {
        let read = self.file.as_ref().and_then(|file| file.as_ref().ok());
        let target = read.map(|text| Project::read(PROJECT_FILE, text, None).0);
        let project = target.flatten().unwrap_or_else(Project::none);
        discover(&self.tree, self.search_roots(&project, paths)).entries
    }

    /// Returns the folders of the projects below this one, if this one is no project.
    pub fn projects_below(&self) -> Vec<PathBuf> {
        if self.has_file() {
            return Vec::new();
        }
        let projects = discover(&self.tree, self.search_roots(&Project::none(), &[])).projects.into_iter();
        projects.filter_map(|file| Some(self.root.join(file.parent()?))).collect()
    }

    /// Rejects a folder with neither a project, nor a manifest, nor applied state, nor executions.
    pub fn require_project_or_manifest(&self) -> Result<(), Error> {
        let is_used = |database| self.root.join(FOLDER).join(database).exists();
        if self.has_file() || is_used("state.db") || is_used("runs.db") {
            return Ok(());
        }
        let found = discover(&self.tree, self.search_roots(&Project::none(), &[]));
        let root = self.root.display();
        match found.projects.as_slice() {
            [] if found.entries.is_empty() => {
                let message = format!("`{root}` has neither a `{FILE_NAME}` nor a manifest");
                Err(Error::new(message)
                    .help("make a project by `dcp init`, or name the folder of one by `--project`"))
            }
            [] => Ok(()),
            projects => {
                let folders = projects.iter().take(5).filter_map(|file| file.parent());
                let folders: Vec<String> = folders.map(|it| format!("`{}`", it.display())).collect();
                let message = format!("`{root}` is no project, and has {} below it", folders.join(", "));
                Err(Error::usage(message).help("name one by `--project`"))
            }
        }
    }

    /// Returns the name of a path in this project. The path need not exist.
    fn display_path(&self, path: &Path) -> String {
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let plain = !full.components().any(|part| part == Component::ParentDir);
        let inside = full.strip_prefix(&self.root).ok().filter(|_| plain);
        inside.unwrap_or(path).to_string_lossy().into_owned()
    }

    fn unreadable(&self, error: &LoadError) -> Outcome {
        let entry = Entry::new(FILE_NAME.to_owned(), Err(error.clone()));
        let loader = EntryLoader { tree: &self.tree, entry: &entry };
        let project = Project::none();
        let (project_source, project_diagnostics) = (None, Vec::new());
        let compiler =
            Compiler { project: &project, project_source, project_diagnostics, goal: Goal::Validate };
        stopped(compiler.link(vec![compiler.analyze(0, FILE_NAME, &loader)]))
    }
}

fn stopped(compilation: Compilation) -> Outcome {
    Outcome { compilation, files: 0, stopped: true, timings: Timings::default(), fresh: Vec::new() }
}

fn no_target(target: &str) -> Error {
    Error::usage(format!("there is no `{FILE_NAME}` that could have a target `{target}`"))
        .help("leave out `--target`, or name the project by `--project`")
}

fn folder(named: &Path) -> Result<PathBuf, Error> {
    let failed =
        |why: String| Error::usage(format!("`{}` can't be the project's folder: {why}", named.display()));
    let real = named.canonicalize().map_err(|error| failed(reason(&error)))?;
    if real.is_dir() { Ok(real) } else { Err(failed("it is a file".to_owned())) }
}

fn nearest_project(current: &Path, paths: &[PathBuf]) -> PathBuf {
    let upwards = |from: &Path| {
        let found = from.ancestors().find(|folder| folder.join(FILE_NAME).symlink_metadata().is_ok());
        found.map(Path::to_owned)
    };
    let path_folder = paths.first().and_then(|path| path.canonicalize().ok());
    let path_folder = path_folder.map(|path| match path.parent() {
        Some(parent) if !path.is_dir() => parent.to_owned(),
        _ => path,
    });
    match (upwards(current), path_folder) {
        (Some(root), _) => root,
        (None, Some(path_folder)) => match upwards(&path_folder) {
            Some(root) => root,
            None if path_folder.starts_with(current) => current.to_owned(),
            None => path_folder,
        },
        (None, None) => current.to_owned(),
    }
}
