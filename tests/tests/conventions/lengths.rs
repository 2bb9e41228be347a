//! A limit for the length of Rust files. `too_many_lines` of `clippy.toml` limits functions.

use std::path::Path;
use std::process::Command;

use crate::{assert_none, read};

/// Maximum number of lines of a file.
const MAX_LINES: usize = 450;

/// Longer files, each with the reason to keep it in one piece.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn files_have_a_limited_length() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace");
    let files = tracked_files(root).into_iter().map(|file| (read(&root.join(&file)).lines().count(), file));
    let wrong = wrong_lengths(files, EXCEPTIONS);
    assert_none("move a coherent part of these files into a file of its own", &wrong);
}

#[test]
fn long_files_and_superfluous_exceptions_are_detected() {
    let files = [(450, "a/short.rs"), (451, "a/long.rs"), (900, "a/table.rs"), (9, "a/shortened.rs")];
    let files = files.map(|(lines, file)| (lines, file.to_owned()));
    let exceptions = [("a/table.rs", "one table"), ("a/shortened.rs", "was long"), ("a/gone.rs", "was long")];
    assert_eq!(
        wrong_lengths(files, &exceptions),
        [
            "a/long.rs has 451 lines, and may have 450",
            "a/shortened.rs needs no exception",
            "a/gone.rs needs no exception"
        ]
    );
}

/// Returns the Rust files that Git tracks.
fn tracked_files(root: &Path) -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "-z", "--", "*.rs"]).current_dir(root).output();
    let listed = listed.expect("git can be run");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("the paths are UTF-8");
    // A file that was removed is tracked until the removal is committed.
    let exists = |path: &&str| !path.is_empty() && root.join(path).is_file();
    paths.split('\0').filter(exists).map(str::to_owned).collect()
}

/// Returns the files that are longer than allowed, and the exceptions that no file needs.
fn wrong_lengths(
    files: impl IntoIterator<Item = (usize, String)>,
    exceptions: &[(&str, &str)],
) -> Vec<String> {
    let long: Vec<_> = files.into_iter().filter(|(lines, _)| *lines > MAX_LINES).collect();
    let is_exception = |file: &str| exceptions.iter().any(|(exception, _)| *exception == file);
    let too_long = long.iter().filter(|(_, file)| !is_exception(file));
    let too_long =
        too_long.map(|(lines, file)| format!("{file} has {lines} lines, and may have {MAX_LINES}"));
    let superfluous =
        exceptions.iter().filter(|(exception, _)| long.iter().all(|(_, file)| file != exception));
    too_long.chain(superfluous.map(|(file, _)| format!("{file} needs no exception"))).collect()
}
