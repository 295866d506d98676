//! The addresses of host names that the engine which serves has last reported: an engine that replaces it after a crash
//! starts with them, whatever the name servers answer then. They are not looked into here.

use crate::handoff::control::NamesPart;

#[derive(Debug, Default)]
pub(crate) struct KeptNames(Vec<NamesPart>);

impl KeptNames {
    /// Those that the program before this one kept.
    pub(crate) fn restore(parts: Vec<NamesPart>) -> Self {
        Self(parts)
    }

    /// Keeps a part. The first one replaces what was kept before.
    pub(crate) fn keep(&mut self, part: NamesPart) {
        if part.part == 0 {
            self.0.clear();
        }
        if self.0.len() < MOST_PARTS {
            self.0.push(part);
        }
    }

    pub(crate) fn parts(&self) -> &[NamesPart] {
        &self.0
    }
}

/// 10,000 names; with ever so many bytes each, 16 MB.
const MOST_PARTS: usize = 256;
