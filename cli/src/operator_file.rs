//! Files that the operator of a service writes, `clusters.yaml` and `policy.yaml`: their reading and their diagnostics.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use dcp_compiler::compile::{Compilation, PROJECT_FILE};
use dcp_compiler::diag::Diagnostic;
use dcp_compiler::source::{FileId, SourceFile};
use dcp_workspace::project::Outcome;

use crate::failure::Failure;
use crate::out::Console;
use crate::render::{self, Report};

/// Interval at which a file is checked for changes.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum size of a file; a longer one ends in the middle, and is rejected.
const MAX_BYTES: u64 = 16 << 20;

pub(crate) fn load(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads the text of a file by the reader of its kind.
pub(crate) fn read<T>(
    path: &Path,
    text: &[u8],
    reader: impl FnOnce(FileId, &str, &str) -> (Option<T>, Vec<Diagnostic>),
) -> Result<(Option<T>, Outcome), Failure> {
    let shown = path.display().to_string();
    let text = std::str::from_utf8(text).map_err(|_| Failure::new(format!("`{shown}` is not UTF-8")))?;
    let (declared, diagnostics) = reader(PROJECT_FILE, &shown, text);
    let source = SourceFile { path: shown.into(), text: text.into() };
    let compilation = Compilation::of_project(source, diagnostics);
    let outcome = Outcome {
        compilation,
        files: 0,
        stopped: declared.is_none(),
        timings: dcp_workspace::project::Timings::default(),
        fresh: Vec::new(),
    };
    Ok((declared, outcome))
}

/// Prints the diagnostics of a file.
pub(crate) fn print(outcome: &Outcome, console: &mut Console) -> Result<(), Failure> {
    let report = Report { outcome, root: Path::new("."), quiet: console.quiet, deny_warnings: false };
    let look = console.err.look;
    render::write_diagnostics(&report, look, &mut console.err)?;
    Ok(())
}

/// Returns the first error of a changed file, or what it declares.
pub(crate) fn changed<T>((declared, outcome): (Option<T>, Outcome)) -> Result<T, Failure> {
    let first = outcome.compilation.diagnostics.iter().find(|it| it.is_error());
    declared.ok_or_else(|| Failure::new(first.map_or("it can't be used".to_owned(), |it| it.message.clone())))
}

pub(crate) fn unusable(path: &Path) -> Failure {
    Failure::new(format!("`{}` can't be used", path.display()))
}
