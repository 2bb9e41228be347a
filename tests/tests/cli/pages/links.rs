//! Holds what documents refer to: links, headings, names of tests; and that each says whom it is for.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The documents that people read, relative to the workspace.
pub(super) fn documents() -> Vec<String> {
    let entries = fs::read_dir(dcp_tests::workspace().join("docs")).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let pages = paths.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let name = |path: PathBuf| path.file_name().unwrap_or_default().display().to_string();
    let mut found: Vec<String> = pages.map(|path| format!("docs/{}", name(path))).collect();
    found.extend(["CONTRIBUTING.md", "airflow/README.md", "examples/gitops/README.md"].map(str::to_owned));
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the document is there")
}

/// The text of a document without its fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```") && !line.trim_start().starts_with("````");
        fenced ^= fence;
        !fence && !fenced
    };
    text.lines().filter(outside).fold(String::new(), |text, line| text + line + "\n")
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> HashSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    let slug = |title: &str| {
        let kept = title.trim().to_lowercase();
        let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, '-' | '_' | ' '));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    };
    titles.map(slug).collect()
}

/// The targets of a document's links within the repository.
fn links(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).collect()
}

#[test]
fn documents_say_whom_they_are_for() {
    let root = dcp_tests::workspace();
    let silent = documents().into_iter().filter(|path| {
        let text = read(&root.join(path));
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        !first.is_some_and(|line| line.starts_with("For "))
    });
    assert_eq!(silent.collect::<Vec<_>>(), [""; 0], "the first line after the title begins with `For …`");
}

#[test]
fn links_of_documents_lead_to_files_and_headings() {
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

/// Adds the names of the functions in all sources below a folder.
fn functions(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            functions(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = read(&path);
            let named = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(named.flat_map(|name| [name, "\n"]));
        }
    }
}

#[test]
fn tests_named_by_the_page_of_reliability_exist() {
    let root = dcp_tests::workspace();
    let mut found = String::new();
    functions(&root, &mut found);
    let page = prose(&read(&root.join("docs/reliability.md")));
    let spans = page.split('`').skip(1).step_by(2);
    let is_test = |span: &&str| {
        span.matches('_').count() >= 2 && span.bytes().all(|it| it == b'_' || it.is_ascii_lowercase())
    };
    let (named, missing): (Vec<&str>, Vec<&str>) =
        spans.filter(is_test).partition(|name| found.contains(name));
    assert!(named.len() > 40, "the page names {} tests", named.len());
    assert_eq!(missing, [""; 0]);
}
