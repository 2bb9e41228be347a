//! The block collections around a place, and which of them a comment belongs to.

/// How much deeper a collection stands than the one that it is in.
pub(super) const STEP: usize = 2;

/// A block collection that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) shape: Shape,
    /// The column at which it begins in the source.
    pub(super) source: usize,
    /// The column at which it is printed.
    pub(super) indent: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Map,
    Seq,
    /// A sequence whose items are no deeper than the key that it belongs to. The scanner tells neither its beginning
    /// nor its end.
    LooseSeq,
    /// What would be below a key or `-` that has nothing: often there are comments.
    Nothing,
}

/// The collections around a place, and those which ended since the comments began that are not printed yet.
#[derive(Debug, Default)]
pub(super) struct Levels {
    open: Vec<Level>,
    ended: Vec<Level>,
}

impl Levels {
    pub(super) fn top(&self) -> Option<Level> {
        self.open.last().copied()
    }

    /// Where the keys or items of the innermost collection are.
    pub(super) fn indent(&self) -> usize {
        self.top().map_or(0, |level| level.indent)
    }

    /// Where something is that belongs to a key or an item.
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

    /// Ends a sequence that stands no deeper than its key, if one is the innermost.
    pub(super) fn end_loose(&mut self) {
        let level = self.open.pop_if(|level| level.shape == Shape::LooseSeq);
        self.ended.extend(level);
    }

    /// A key or `-` has nothing.
    pub(super) fn nothing(&mut self) {
        let Some(top) = self.top() else { return };
        self.ended.push(Level { shape: Shape::Nothing, source: top.source + 1, indent: self.inner() });
    }

    /// Where a comment goes that stands at `column` of the source, before something that goes to `target`.
    pub(super) fn of_comment(&self, column: usize, target: usize) -> usize {
        let around = self.top().map_or(0, |level| level.source);
        let belongs = |level: &&Level| level.source > around && level.source <= column;
        self.ended.iter().find(belongs).map_or(target, |level| level.indent)
    }

    pub(super) fn forget_ended(&mut self) {
        self.ended.clear();
    }
}
