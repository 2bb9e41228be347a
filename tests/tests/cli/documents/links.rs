//! Checks that the links, headings, files and tests that documents name exist, and that each document names its
//! readers.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the documents that people read, relative to the workspace.
pub(super) fn documents() -> Vec<String> {
    let entries = fs::read_dir(dcp_tests::workspace().join("docs")).expect("the folder exists");
    let paths = entries.map(|entry| entry.expect("the folder can be listed").path());
    let pages = paths.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let name = |path: PathBuf| path.file_name().unwrap_or_default().display().to_string();
    let mut found: Vec<String> = pages.map(|path| format!("docs/{}", name(path))).collect();
    found.extend(["CONTRIBUTING.md", "airflow/README.md", "examples/gitops/README.md"].map(str::to_owned));
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the document exists")
}

/// Returns the text of a document without its fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```") && !line.trim_start().starts_with("````");
        fenced ^= fence;
        !fence && !fenced
    };
    text.lines().filter(outside).fold(String::new(), |text, line| text + line + "\n")
}

/// Returns the anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> HashSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    let slug = |title: &str| {
        let kept = title.trim().to_lowercase();
        let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, '-' | '_' | ' '));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    };
    titles.map(slug).collect()
}

/// Returns the targets of a document's links within the repository.
fn links(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).collect()
}

#[test]
fn documents_name_their_audience() {
    let root = dcp_tests::workspace();
    let silent = documents().into_iter().filter(|path| {
        let text = read(&root.join(path));
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        !first.is_some_and(|line| line.starts_with("For "))
    });
    assert_eq!(silent.collect::<Vec<_>>(), [""; 0], "the first line after the title begins with `For …`");
}

#[test]
fn links_lead_to_existing_files_and_headings() {
    let root = dcp_tests::workspace();
    let mut broken = Vec::new();
    for path in documents().into_iter().chain(["README.md", "CHANGELOG.md"].map(str::to_owned)) {
        let document = root.join(&path);
        for link in links(&prose(&read(&document))) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = document.parent().expect("a document is in a folder");
            let target: PathBuf = if file.is_empty() { document.clone() } else { folder.join(file) };
            let leads =
                target.exists() && (anchor.is_empty() || anchors(&prose(&read(&target))).contains(anchor));
            if !leads {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// Adds the paths of all files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !path.is_dir() {
            found.push(path);
        } else if !name.starts_with('.') && !matches!(&*name, "target" | "__pycache__") {
            files(&path, found);
        }
    }
}

/// Returns the code spans of a document.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn files_named_by_contributing_and_architecture_exist() {
    let root = dcp_tests::workspace();
    let mut found = Vec::new();
    files(&root, &mut found);
    let found: Vec<_> = found.iter().map(|path| path.to_string_lossy()).collect();
    let found = found.join("\n");
    let ends = [".rs", ".py", ".md", ".sql", ".proto", ".hbs", ".yaml", ".json", ".snap", ".txt", "/"];
    let mut missing = Vec::new();
    let mut named = 0;
    for path in ["CONTRIBUTING.md", "docs/architecture.md"] {
        let page = prose(&read(&root.join(path)));
        // `…`, `*` and names in capitals stand for any text.
        let any = |it: char| matches!(it, '…' | '*' | '{' | ' ') || it.is_ascii_uppercase();
        let is_file =
            |span: &&str| ends.iter().any(|end| span.ends_with(end)) && !span.starts_with(['.', '/', '$']);
        for span in spans(&page).filter(|span| span.contains('/')).filter(is_file) {
            named += 1;
            let known = span.split(any).next().unwrap_or_default();
            if !found.contains(known) {
                missing.push(format!("{path}: {span}"));
            }
        }
    }
    assert!(named > 100, "the documents name only {named} files");
    assert_eq!(missing, [""; 0]);
}

#[test]
fn tests_named_by_the_reliability_document_exist() {
    let root = dcp_tests::workspace();
    let mut found = Vec::new();
    files(&root, &mut found);
    let sources = found.iter().filter(|path| path.extension().is_some_and(|it| it == "rs" || it == "py"));
    let functions = |path: &PathBuf| {
        let text = read(path);
        let keyword = if path.extension().is_some_and(|it| it == "py") { "def " } else { "fn " };
        let names = text.split(keyword).skip(1).filter_map(|rest| rest.split(['(', '<']).next());
        names.fold(String::new(), |names, name| names + name + "\n")
    };
    let functions: String = sources.map(functions).collect();
    let page = prose(&read(&root.join("docs/reliability.md")));
    let is_test = |span: &&str| {
        span.matches('_').count() >= 2 && span.bytes().all(|it| it == b'_' || it.is_ascii_lowercase())
    };
    let (named, missing): (Vec<&str>, Vec<&str>) =
        spans(&page).filter(is_test).partition(|name| functions.contains(name));
    assert!(named.len() > 40, "the page names {} tests", named.len());
    assert_eq!(missing, [""; 0]);
}
