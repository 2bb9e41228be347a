//! The list of manifests, and the mapping from diagnostics to manifests.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::Diagnostic;
use crate::source::{FileId, Span};

/// The manifests of a compilation, including invalid ones. A file that can't be read, or holds no manifest, counts as
/// one.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The file and the offset of each manifest, in order.
    begins: Vec<(FileId, u32)>,
    /// The files to which manifests refer, with the index of the manifest.
    owners: BTreeMap<FileId, usize>,
}

impl Manifests {
    /// Creates a list with one manifest in each of `count` files. The first file follows the project file.
    pub fn in_files(count: usize) -> Self {
        let begins = (0..count).map(|index| (super::file_of(index), 0)).collect();
        Self { begins, ..Self::default() }
    }

    /// Adds the manifests of a file, and the files to which they refer. The file must follow all files before.
    pub(super) fn add(&mut self, file: FileId, begins: &[u32], files: impl Iterator<Item = (FileId, usize)>) {
        let first = self.begins.len();
        self.begins.extend(begins.iter().map(|start| (file, *start)));
        self.owners.extend(files.map(|(file, index)| (file, first + index)));
    }

    pub fn count(&self) -> usize {
        self.begins.len()
    }

    /// Returns the number of manifests that have one of these diagnostics. Diagnostics of the project file count only
    /// if a label is in a manifest.
    pub fn count_of<'d>(&self, diagnostics: impl IntoIterator<Item = &'d Diagnostic>) -> usize {
        let about = |diagnostic: &Diagnostic| diagnostic.labels.iter().find_map(|it| self.at(it.span));
        let indices: BTreeSet<usize> = diagnostics.into_iter().filter_map(about).collect();
        indices.len()
    }

    /// Returns the file of the manifest that contains a place, directly or in its SQL file.
    pub fn file(&self, span: Span) -> Option<FileId> {
        self.at(span).map(|index| self.begins[index].0)
    }

    /// Returns the index of the manifest that contains a place. Text before the first manifest of a file belongs to
    /// this manifest.
    fn at(&self, span: Span) -> Option<usize> {
        if let Some(owner) = self.owners.get(&span.file) {
            return Some(*owner);
        }
        let first = self.begins.partition_point(|(file, _)| *file < span.file);
        self.begins.get(first).filter(|(file, _)| *file == span.file)?;
        let after = self.begins.partition_point(|begin| *begin <= (span.file, span.start));
        Some(after.saturating_sub(1).max(first))
    }
}
