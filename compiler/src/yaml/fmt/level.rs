//! The block collections around a position, and the assignment of comments to them.

/// Number of columns by which a collection is indented.
pub(super) const STEP: usize = 2;

/// An open block collection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) shape: Shape,
    /// The column in the source.
    pub(super) source: usize,
    /// The column in the output.
    pub(super) indent: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Map,
    Seq,
    /// A sequence whose items have the same indentation as its key. The scanner reports neither its start nor its
    /// end.
    LooseSeq,
    /// The empty content of a key or `-`, which often contains comments.
    Nothing,
}

/// The open collections, and those that ended since the first comment that is not printed yet.
#[derive(Debug, Default)]
pub(super) struct Levels {
    open: Vec<Level>,
    ended: Vec<Level>,
}

impl Levels {
    pub(super) fn top(&self) -> Option<Level> {
        self.open.last().copied()
    }

    /// Returns the indentation of keys or items of the innermost collection.
    pub(super) fn indent(&self) -> usize {
        self.top().map_or(0, |level| level.indent)
    }

    /// Returns the indentation of the content of a key or an item.
    pub(super) fn inner(&self) -> usize {
        self.top().map_or(0, |level| level.indent + STEP)
    }

    pub(super) fn begin(&mut self, shape: Shape, source: usize) {
        let indent = self.inner();
        self.open.push(Level { shape, source, indent });
    }

    pub(super) fn end(&mut self) {
        self.end_loose();
        self.ended.extend(self.open.pop());
    }

    /// Ends the innermost collection, if it is a sequence with the indentation of its key.
    pub(super) fn end_loose(&mut self) {
        let level = self.open.pop_if(|level| level.shape == Shape::LooseSeq);
        self.ended.extend(level);
    }

    /// Records that a key or `-` has no content.
    pub(super) fn nothing(&mut self) {
        let Some(top) = self.top() else { return };
        self.ended.push(Level { shape: Shape::Nothing, source: top.source + 1, indent: self.inner() });
    }

    /// Returns the indentation of a comment at `column` of the source, before a lexeme that is indented by `target`.
    pub(super) fn of_comment(&self, column: usize, target: usize) -> usize {
        let around = self.top().map_or(0, |level| level.source);
        let belongs = |level: &&Level| level.source > around && level.source <= column;
        self.ended.iter().find(belongs).map_or(target, |level| level.indent)
    }

    pub(super) fn forget_ended(&mut self) {
        self.ended.clear();
    }
}
