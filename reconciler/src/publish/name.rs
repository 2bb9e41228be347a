//! Names of DAG files and of staged files.

use std::collections::HashSet;

use super::{Error, File, GENERATED_HEADER, Result};

/// The suffix of staged files. Airflow reads `.py` files and zip archives.
const STAGED: &str = ".staged";

/// The longest file name that nearly all file systems support.
const LONGEST: usize = 255;

pub(super) fn staged(name: &str) -> String {
    format!("{name}{STAGED}")
}

/// Ids become the names of folders.
pub(super) fn check_id(id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match (1..=100).contains(&id.len()) && id.bytes().all(plain) {
        true => Ok(()),
        false => Err(Error::Id(id.to_owned())),
    }
}

pub(super) fn check_files(files: &[File]) -> Result<()> {
    check_names(files.iter().map(|file| file.name.as_str()))?;
    match files.iter().find(|file| !is_ours(file.content.as_bytes())) {
        Some(file) => Err(Error::MissingHeader { name: file.name.clone() }),
        None => Ok(()),
    }
}

pub(super) fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        let why = flaw(name).or_else(|| (!seen.insert(name)).then_some("it is given twice"));
        if let Some(why) = why {
            return Err(Error::Name { name: name.to_owned(), why });
        }
    }
    Ok(())
}

pub(super) fn is_valid(name: &str) -> bool {
    flaw(name).is_none()
}

/// Returns whether dcp wrote the file with this beginning.
pub(super) fn is_ours(beginning: &[u8]) -> bool {
    beginning.starts_with(GENERATED_HEADER.as_bytes())
}

fn flaw(name: &str) -> Option<&'static str> {
    if !name.bytes().rev().take(3).eq(*b"yp.") {
        Some("it does not end in `.py`")
    } else if name.starts_with('.') {
        Some("it begins with a dot")
    } else if name.contains(['/', '\\']) {
        Some("it has a separator in it")
    } else if name.contains(char::is_control) {
        Some("it has a control character in it")
    } else if name.len() + STAGED.len() > LONGEST {
        Some("it is too long")
    } else {
        None
    }
}
