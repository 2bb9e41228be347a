//! Source files, and places in them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The id of a file in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub u32);

impl FileId {
    /// Returns a local id, which is valid within one manifest until all files are linked: the `index`th of the
    /// manifest's files.
    pub(crate) fn local(index: usize) -> Self {
        let index = u32::try_from(index).expect("a manifest refers to few files");
        Self(index | LOCAL)
    }

    /// Returns the index of a local file.
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

/// The path and the text of a file.
#[derive(Debug, Clone, Default)]
pub struct SourceFile {
    /// Relative to the folder of the project, with `/` as separator.
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

    /// Returns the line and the column of a position. Both start at 1, and the column counts characters.
    pub fn position(&self, file: FileId, offset: u32) -> (usize, usize) {
        let text = &self.get(file).text;
        let before = text.get(..offset as usize).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// Overwrites the texts at these places, so that they are not displayed.
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

/// Loads the text of files. It is the compiler's only access to the outside.
pub trait SourceLoader: Sync {
    /// Returns the text of a file, by its path relative to the folder of the project.
    fn load(&self, path: &str) -> Result<String, LoadError>;

    /// Checks that a file exists that the job uses unchanged. Loaders that have texts only can't check this.
    fn check(&self, _path: &str) -> Result<(), LoadError> {
        Ok(())
    }
}

/// The reason why a file can't be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    NotFound,
    /// The file is a link without a target.
    Dangling,
    Directory,
    /// The offset of the first bytes that are not UTF-8.
    NotUtf8(usize),
    /// The size of the file, and the limit.
    TooLarge {
        size: u64,
        limit: u64,
    },
    /// The file is outside the project, possibly through a link.
    Outside,
    /// An error of the operating system.
    Other(String),
}

/// Loads files from memory.
impl SourceLoader for std::collections::BTreeMap<String, String> {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        self.get(path).cloned().ok_or(LoadError::NotFound)
    }
}
