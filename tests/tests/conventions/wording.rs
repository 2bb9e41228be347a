//! Plain words in comments, help and messages: a limit for vague beginnings, and phrases that must not come back.

use std::path::{Path, PathBuf};

use crate::{assert_none, metadata, read};

/// Words at the beginning of a line of a doc comment that show that its subject is missing.
const VAGUE: [&str; 12] =
    ["What", "Who", "How", "Where", "Whether", "That", "Since", "Of", "For", "By", "Nothing", "As"];

/// The share of the lines of doc comments that may begin so, in percent. Sentences that wrap need some.
const VAGUE_LIMIT: usize = 4;

/// Phrases that hide who does what, with better ones.
const PHRASES: &[(&str, &str)] = &[
    ("whoever", "name the caller, the user or the process"),
    ("is told", "reports, returns or logs"),
    ("are told", "report, return or log"),
    ("be told", "report, return or log"),
    ("it is looked", "polls or checks"),
    ("is looked for", "searches or checks"),
    ("left alone for a while", "waits for its backoff"),
    ("what came of it", "the result"),
    ("is not to be had", "is not available"),
];

#[test]
fn doc_comments_name_their_subject() {
    let (mut vague, mut lines) = (Vec::new(), 0);
    for file in files() {
        for (number, text) in doc_comments(&read(&file)) {
            lines += 1;
            if is_vague(text) {
                vague.push(format!("{}:{number}: {text}", shown(&file)));
            }
        }
    }
    let share = format!("{} of {lines} lines of doc comments begin with one of {VAGUE:?}", vague.len());
    assert!(
        vague.len() * 100 <= lines * VAGUE_LIMIT,
        "{share}, more than {VAGUE_LIMIT} %:\n{}",
        vague.join("\n")
    );
}

#[test]
fn comments_and_messages_avoid_phrases_without_a_subject() {
    let mut wrong = Vec::new();
    for file in files().into_iter().filter(|file| !file.ends_with("conventions/wording.rs")) {
        for (index, line) in read(&file).lines().enumerate() {
            let lower = line.to_lowercase();
            let found = PHRASES.iter().filter(|(phrase, _)| lower.contains(phrase));
            wrong.extend(
                found.map(|(phrase, better)| format!("{}:{}: `{phrase}`: {better}", shown(&file), index + 1)),
            );
        }
    }
    assert_none("these phrases are hard to read", &wrong);
}

#[test]
fn vague_lines_are_recognized_by_their_first_word() {
    let source = "/// What runs.\n/// Whatever runs.\n    //! As it is.\nlet it = 1; // Of no account.\n/// Returns it.\n";
    let found: Vec<_> =
        doc_comments(source).filter(|(_, text)| is_vague(text)).map(|(line, _)| line).collect();
    assert_eq!(found, [1, 3]);
}

fn is_vague(text: &str) -> bool {
    let first = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    VAGUE.contains(&first)
}

/// Returns the lines of doc comments without their marks, with the numbers of the lines.
fn doc_comments(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source.lines().enumerate().filter_map(|(index, line)| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
        Some((index + 1, text.trim_start()))
    })
}

/// Returns all Rust sources of the workspace, tests and benchmarks as well.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for member in metadata().workspace_packages() {
        let folder = member.manifest_path.parent().expect("a manifest is in a folder");
        add_sources(folder.as_std_path(), &mut files);
    }
    files
}

fn add_sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the workspace's folders can be listed") {
        let path = entry.expect("the workspace's folders can be listed").path();
        if path.is_dir() && !path.ends_with("target") {
            add_sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn shown(file: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace");
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}
