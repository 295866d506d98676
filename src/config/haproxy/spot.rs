//! Where something stands in the sources.

use serde::Serialize;

/// Ordered as the files are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Spot {
    /// Index of its source.
    #[serde(skip)]
    pub(crate) file: usize,
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
}

impl Spot {
    /// On the same line.
    pub(super) fn is_beside(self, other: Self) -> bool {
        (self.file, self.line) == (other.file, other.line)
    }
}
