//! Weight: a server's share of the new sessions.

use std::fmt;

/// 0 to 256, as in HAProxy; 0: no new sessions. Default 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    pub(crate) const MAX: u16 = 256;

    /// `None`: larger than [`Weight::MAX`].
    pub fn new(share: u16) -> Option<Self> {
        (share <= Self::MAX).then_some(Self(share))
    }

    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
