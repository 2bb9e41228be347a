//! Where text comes from, and how a place in it is named.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A file of a [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub u32);

impl FileId {
    /// A file that only one manifest knows, until all of them are put together: the `index`th of its own files.
    pub(crate) fn local(index: usize) -> Self {
        let index = u32::try_from(index).expect("a manifest refers to few files");
        Self(index | LOCAL)
    }

    /// The index of a local file.
    pub(crate) fn local_index(self) -> Option<usize> {
        (self.0 & LOCAL != 0).then_some((self.0 & !LOCAL) as usize)
    }
}

const LOCAL: u32 = 1 << 31;

/// A range of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(file: FileId, start: u32, end: u32) -> Self {
        Self { file, start, end }
    }

    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A file and what stands in it.
#[derive(Debug, Clone, Default)]
pub struct SourceFile {
    /// Relative to the project's folder, with `/` between its parts.
    pub path: Arc<str>,
    pub text: Arc<str>,
}

/// The files of a compilation.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    pub fn add(&mut self, file: SourceFile) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).expect("there are fewer than four billion files"));
        self.files.push(file);
        id
    }

    pub fn get(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Line and column of a place, both from 1; the column counts characters.
    pub fn position(&self, file: FileId, offset: u32) -> (usize, usize) {
        let text = &self.get(file).text;
        let before = text.get(..offset as usize).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// Overwrites a place, so that nothing that is printed shows what stood there.
    pub(crate) fn redact(&mut self, spans: &[Span]) {
        for span in spans {
            let file = &mut self.files[span.file.0 as usize];
            let text = &file.text;
            if let (Some(before), Some(after)) =
                (text.get(..span.start as usize), text.get(span.end as usize..))
            {
                let stars: String =
                    text[span.range()].bytes().map(|b| if b == b'\n' { '\n' } else { '*' }).collect();
                file.text = [before, &stars, after].concat().into();
            }
        }
    }
}

/// Gives the compiler the text of files: the only way by which anything from outside gets in.
pub trait SourceLoader: Sync {
    /// The text of a file, by its path relative to the project's folder.
    fn load(&self, path: &str) -> Result<String, LoadError>;

    /// Checks that a file is there that a job takes as it is. Loaders that know texts alone can't tell.
    fn check(&self, _path: &str) -> Result<(), LoadError> {
        Ok(())
    }
}

/// Why a file has no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    NotFound,
    /// It is a link, and what it should lead to is not there.
    Dangling,
    Directory,
    /// The first bytes that are not UTF-8 stand at this offset.
    NotUtf8(usize),
    /// It has this many bytes; so many are allowed.
    TooLarge {
        size: u64,
        limit: u64,
    },
    /// It lies, perhaps by way of a link, outside of the project.
    Outside,
    /// What the operating system says.
    Other(String),
}

/// Files in memory.
impl SourceLoader for std::collections::BTreeMap<String, String> {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        self.get(path).cloned().ok_or(LoadError::NotFound)
    }
}
