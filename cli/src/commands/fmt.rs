//! `dcp fmt`

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use dcp_compiler::compile::{Compiler, Goal, Manifests};
use dcp_compiler::diag::{Code, Diagnostic};
use dcp_compiler::project::{FILE_NAME, Project};
use dcp_compiler::source::{FileId, LoadError, SourceFile, SourceLoader as _, Span};
use dcp_workspace::files::{self, Tree};
use dcp_workspace::load::{Entry, EntryLoader};
use dcp_workspace::project::{Outcome, Timings, Workspace};

use crate::args::Fmt;
use crate::failure::{Failure, Verdict};
use crate::out::{Console, ERROR, GOOD};
use crate::render::{self, Report, format_count};

/// The file of a diagnostic before its file has an id.
const UNPLACED: FileId = FileId(0);

fn formatted(text: &str) -> Result<String, Vec<Diagnostic>> {
    dcp_compiler::yaml::fmt::format(UNPLACED, text)
}

pub(super) fn run(args: &Fmt, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let Fmt { paths, check } = args;
    if paths.iter().any(|path| path.as_os_str() == "-") {
        return match paths.as_slice() {
            [_] => stdin(*check, console),
            _ => Err(Failure::usage("`-` is stdin, and can't be formatted together with files")),
        };
    }
    let home = Workspace::find(project, paths)?;
    let entries = entries(&home, paths);
    let mut tally = Tally::default();
    let (files, mut problems) = (entries.len(), Vec::new());
    for entry in entries {
        match format_file(&entry, &home.tree, *check) {
            Ok(false) => tally.unchanged += 1,
            Ok(true) => {
                tally.changed += 1;
                if *check || !console.quiet {
                    writeln!(
                        console.out,
                        "{}{}",
                        if *check { "would change " } else { "formatted " },
                        entry.path
                    )?;
                }
            }
            Err(problem) => problems.push((entry, problem)),
        }
    }
    tally.failed = problems.len();
    if tally.failed > 0 {
        print_report(&outcome(problems, &home.tree, files), &home.root, console)?;
    }
    tally.print(*check, console)?;
    Ok(if tally.failed > 0 || (*check && tally.changed > 0) { Verdict::Errors } else { Verdict::Success })
}

/// Returns the files to format: manifests and project files.
fn entries(home: &Workspace, paths: &[PathBuf]) -> Vec<Entry> {
    let mut entries = home.entries(paths);
    if paths.is_empty() && home.has_file() {
        entries.push(Entry::new(FILE_NAME.to_owned(), Ok(FILE_NAME.into())));
    }
    // A project file is no manifest, but can be formatted if it is named.
    entries.extend(paths.iter().filter(|path| path.ends_with(FILE_NAME)).map(|path| {
        let full = std::path::absolute(path).map_err(|_| LoadError::NotFound);
        Entry::new(path.to_string_lossy().into_owned(), full.and_then(|path| home.tree.canonical(&path)))
    }));
    entries
}

fn print_report(outcome: &Outcome, root: &Path, console: &mut Console) -> Result<(), Failure> {
    let report = Report { outcome, root, quiet: console.quiet, deny_warnings: false };
    render::write_found(&report, console.err.look, &mut console.err)?;
    Ok(())
}

#[derive(Default)]
struct Tally {
    changed: usize,
    unchanged: usize,
    failed: usize,
}

impl Tally {
    fn print(&self, check: bool, console: &mut Console) -> Result<(), Failure> {
        let Self { changed, unchanged, failed } = *self;
        if console.quiet {
            return Ok(());
        }
        let line = match (changed, check) {
            (0, _) => format!("{} formatted already", format_count(unchanged, "file")),
            (_, true) => format!("{} would change, {unchanged} would not", format_count(changed, "file")),
            (_, false) => format!("{} formatted, {unchanged} unchanged", format_count(changed, "file")),
        };
        let line = if failed > 0 { format!("{line}, {failed} failed") } else { line };
        let style = if failed > 0 || (check && changed > 0) { ERROR } else { GOOD };
        let look = console.out.look;
        writeln!(console.out, "{}", look.paint(style, line))?;
        Ok(())
    }
}

/// The reason why a file was not formatted.
enum Problem {
    Load,
    /// The text, and its diagnostics.
    Found(String, Vec<Diagnostic>),
    Write(LoadError),
}

/// Formats a file; returns true if that changes it.
fn format_file(entry: &Entry, tree: &Tree, check: bool) -> Result<bool, Problem> {
    let text = EntryLoader { tree, entry }.load(&entry.path).map_err(|_| Problem::Load)?;
    let formatted = match formatted(&text) {
        Ok(formatted) => formatted,
        Err(found) => return Err(Problem::Found(text, found)),
    };
    if formatted == text {
        return Ok(false);
    }
    if let (false, Ok(path)) = (check, &entry.file) {
        tree.replace(path, formatted.as_bytes()).map_err(Problem::Write)?;
    }
    Ok(true)
}

/// Returns all problems as diagnostics with their sources.
fn outcome(problems: Vec<(Entry, Problem)>, tree: &Tree, files: usize) -> Outcome {
    let project = Project::none();
    let (project_source, project_diagnostics) = (None, Vec::new());
    let compiler = Compiler { project: &project, project_source, project_diagnostics, goal: Goal::Validate };
    let (unloaded, others): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|(_, problem)| matches!(problem, Problem::Load));
    let analyze = |(index, (entry, _)): (usize, &(Entry, Problem))| {
        compiler.analyze(index, &entry.path, &EntryLoader { tree, entry })
    };
    let mut compilation = compiler.link(unloaded.iter().enumerate().map(analyze).collect());
    for (entry, problem) in others {
        let (text, mut found) = match problem {
            Problem::Load => continue,
            Problem::Found(text, found) => (text, found),
            Problem::Write(error) => {
                let message = format!("`{}` can't be written: {}", entry.path, files::describe(error));
                let at = Span::new(UNPLACED, 0, 0);
                (String::new(), vec![Diagnostic::new(Code::UNREADABLE, message).at(at, "")])
            }
        };
        let file = compilation.sources.add(SourceFile { path: entry.path.into(), text: text.into() });
        found.iter_mut().flat_map(|found| &mut found.labels).for_each(|label| label.span.file = file);
        compilation.diagnostics.extend(found);
    }
    compilation.manifests = Manifests::in_files(files);
    let timings = Timings::default();
    Outcome { compilation, files, stopped: false, timings, fresh: Vec::new() }
}

fn stdin(check: bool, console: &mut Console) -> Result<Verdict, Failure> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(|error| {
        Failure::new(format!("stdin can't be read: {}", dcp_workspace::error::reason(&error)))
    })?;
    let formatted = match formatted(&text) {
        Ok(formatted) => formatted,
        Err(found) => {
            let entry = Entry::new("stdin".to_owned(), Err(LoadError::NotFound));
            let here = Path::new(".");
            let tree = Tree::open(here).map_err(|error| Failure::at(here, "read", &error))?;
            let outcome = outcome(vec![(entry, Problem::Found(text, found))], &tree, 1);
            print_report(&outcome, Path::new(""), console)?;
            return Ok(Verdict::Errors);
        }
    };
    if check {
        return Ok(if formatted == text { Verdict::Success } else { Verdict::Errors });
    }
    console.out.write_all(formatted.as_bytes())?;
    Ok(Verdict::Success)
}
