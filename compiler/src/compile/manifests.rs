//! Which manifests there are, and which of them a diagnostic is about.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::Diagnostic;
use crate::source::{FileId, Span};

/// The manifests of a compilation, good and bad. A file that can't be read, or holds none, counts as one.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The file of each, and where it begins there. In order.
    begins: Vec<(FileId, u32)>,
    /// The files that manifests refer to, each with the index of the manifest.
    owners: BTreeMap<FileId, usize>,
}

impl Manifests {
    /// One in each of so many files, the first of which comes after the project file.
    pub fn in_files(count: usize) -> Self {
        let begins = (0..count).map(|index| (super::file_of(index), 0)).collect();
        Self { begins, ..Self::default() }
    }

    /// Adds those of a file, which comes after all of those before, and the files that they refer to.
    pub(super) fn add(&mut self, file: FileId, begins: &[u32], files: impl Iterator<Item = (FileId, usize)>) {
        let first = self.begins.len();
        self.begins.extend(begins.iter().map(|start| (file, *start)));
        self.owners.extend(files.map(|(file, index)| (file, first + index)));
    }

    pub fn count(&self) -> usize {
        self.begins.len()
    }

    /// How many manifests some diagnostics are about. Those of the project file are about none, unless they point to
    /// one as well.
    pub fn count_of<'d>(&self, diagnostics: impl IntoIterator<Item = &'d Diagnostic>) -> usize {
        let about = |diagnostic: &Diagnostic| diagnostic.labels.iter().find_map(|it| self.at(it.span));
        let indices: BTreeSet<usize> = diagnostics.into_iter().filter_map(about).collect();
        indices.len()
    }

    /// Returns the file of the manifest that a place is in, or whose SQL it is in.
    pub fn file(&self, span: Span) -> Option<FileId> {
        self.at(span).map(|index| self.begins[index].0)
    }

    /// The index of the manifest that a place is in. What stands before the first of a file belongs to that one.
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
